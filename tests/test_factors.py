"""Factor layouts: names, slices, swaps."""

import numpy as np
import pytest

from iin_jax import FactorLayout
from tests.conftest import normal

LAYOUT = FactorLayout({"digit": 3, "empty": 0, "color": 2, "residual": 4})


def test_split_and_merge_are_inverse_and_in_order():
    z = normal((5, 9))
    parts = LAYOUT.split(z)
    assert list(parts) == ["digit", "empty", "color", "residual"]
    assert [part.shape[1] for part in parts.values()] == [3, 0, 2, 4]
    np.testing.assert_array_equal(parts["color"], z[:, 3:5])
    np.testing.assert_array_equal(LAYOUT.merge(dict(reversed(parts.items()))), z)


def test_swap_takes_only_the_named_factors():
    a, b = normal((5, 9)), normal((5, 9), 1)
    swapped = np.asarray(LAYOUT.swap(a, b, ["color"]))
    np.testing.assert_array_equal(swapped[:, 3:5], b[:, 3:5])
    np.testing.assert_array_equal(
        np.delete(swapped, [3, 4], 1), np.delete(a, [3, 4], 1)
    )
    np.testing.assert_array_equal(LAYOUT.swap(a, b, []), a)
    np.testing.assert_array_equal(LAYOUT.swap(a, b, LAYOUT.names), b)


def test_merge_takes_lists_and_one_vector_for_all():
    parts = LAYOUT.split(normal((5, 9)))
    listed = {name: np.asarray(x).tolist() for name, x in parts.items()}
    np.testing.assert_array_equal(LAYOUT.merge(listed), normal((5, 9)))
    merged = LAYOUT.merge(parts | {"color": [0.5, -0.5]})
    np.testing.assert_array_equal(merged[:, LAYOUT.slice("color")], [[0.5, -0.5]] * 5)


def test_interpolation_moves_one_factor_in_a_straight_line():
    a, b = normal((5, 9)), normal((5, 9), 1)
    path = np.asarray(LAYOUT.interpolate(a, b, ["digit"], steps=5))
    assert path.shape == (5, 5, 9)
    np.testing.assert_allclose(path[0], a)
    np.testing.assert_allclose(path[-1], LAYOUT.swap(a, b, ["digit"]))
    np.testing.assert_allclose(path[2, :, :3], (a + b)[:, :3] / 2, atol=1e-6)
    np.testing.assert_allclose(path[2, :, 3:], a[:, 3:])


def test_an_arc_turns_each_factor_and_keeps_its_norm():
    a, b = normal((5, 9)), normal((5, 9), 1)
    digit, residual = LAYOUT.slice("digit"), LAYOUT.slice("residual")
    a = a / np.linalg.norm(a[:, digit], axis=1, keepdims=True)
    b = b / np.linalg.norm(b[:, digit], axis=1, keepdims=True)
    path = LAYOUT.interpolate(a, b, ["digit", "color"], steps=4, path="arc")
    path = np.asarray(path)
    np.testing.assert_allclose(np.linalg.norm(path[..., digit], axis=-1), 1, atol=1e-5)
    cosines = (path[1:, :, digit] * path[:-1, :, digit]).sum(-1)
    np.testing.assert_allclose(cosines, cosines[:1].repeat(3, 0), atol=1e-5)
    np.testing.assert_allclose(path[0], a, atol=1e-6)
    end = LAYOUT.swap(a, b, ["digit", "color"])
    np.testing.assert_allclose(path[-1], end, atol=1e-5)
    np.testing.assert_array_equal(path[..., residual], [a[:, residual]] * 4)


def test_an_arc_between_opposite_or_equal_values_is_a_line():
    a = np.asarray(normal((5, 9)))
    for end in (-a, a, 0 * a):
        arc, line = (
            LAYOUT.interpolate(a, end, LAYOUT.names, steps=3, path=path)
            for path in ("arc", "line")
        )
        np.testing.assert_allclose(arc, line, atol=1e-6)


def test_layouts_compare_hash_and_rebuild():
    assert FactorLayout(LAYOUT.as_dict()) == LAYOUT
    assert hash(FactorLayout(LAYOUT.as_dict())) == hash(LAYOUT)
    assert FactorLayout({"a": 1, "b": 2}) != FactorLayout({"b": 2, "a": 1})
    assert LAYOUT.dim == 9 and LAYOUT["residual"] == 4 and len(LAYOUT) == 4
    assert LAYOUT.concepts == ("digit", "empty", "color")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FactorLayout({}), "at least one factor"),
        (lambda: FactorLayout({"a": -1}), "integer >= 0; got -1"),
        (lambda: FactorLayout({"a": 1.5}), "integer >= 0; got 1.5"),
        (lambda: FactorLayout({"a": None}), "integer >= 0; got None"),
        (lambda: FactorLayout({"a": float("inf")}), "integer >= 0; got inf"),
        (lambda: FactorLayout({"a": 0}), "sum to 0"),
        (lambda: FactorLayout({3: 4}), "non-empty string"),
        (lambda: LAYOUT.split(normal((5, 8))), r"sum to 9, but .* \(5, 8\)"),
        (lambda: LAYOUT.index("colour"), "did you mean 'color'"),
        (lambda: LAYOUT.mask("color"), "list of factors"),
        (lambda: LAYOUT.merge({"digit": normal((5, 3))}), "missing"),
        (
            lambda: LAYOUT.merge(LAYOUT.split(normal((5, 9))) | {"x": 1}),
            "no factor 'x'",
        ),
        (
            lambda: LAYOUT.merge(
                LAYOUT.split(normal((5, 9))) | {"color": normal((5, 3))}
            ),
            "'color' has 2 dimensions",
        ),
        (
            lambda: LAYOUT.merge(
                LAYOUT.split(normal((5, 9))) | {"color": normal((3, 2))}
            ),
            "as many vectors, or one for all",
        ),
        (
            lambda: LAYOUT.interpolate(
                normal((5, 9)), normal((5, 9)), ["color"], steps=1
            ),
            "steps >= 2",
        ),
        (
            lambda: LAYOUT.interpolate(
                normal((5, 9)), normal((5, 8)), ["color"], steps=3
            ),
            "sum to 9",
        ),
        (
            lambda: LAYOUT.interpolate(
                normal((5, 9)),
                normal((5, 9)),
                ["color"],
                steps=3,
                path="curve",  # pyright: ignore[reportArgumentType]
            ),
            "a path is one of .*'arc'.*; got 'curve'",
        ),
    ],
)
def test_mistakes_are_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
