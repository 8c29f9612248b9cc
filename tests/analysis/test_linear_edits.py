"""Linear edits of synthetic latents, whose moves are known exactly."""

import numpy as np
import pytest

from iin_jax.analysis import LinearEdits


def test_class_edits_shift_by_the_difference_of_class_means():
    rng = np.random.default_rng(0)
    classes = np.ma.array(rng.choice(["cat", "dog", "owl"], 300))
    classes[:40] = np.ma.masked
    z = rng.standard_normal((300, 2, 3)).astype(np.float32)
    z[:40] += 100.0  # latents without a class must not count
    edits = LinearEdits.fit(z, {"animal": classes})
    assert edits.counts == {"animal": 260}
    flat, known = z[40:].reshape(260, 6).astype(float), np.asarray(classes[40:])
    mean = {name: flat[known == name].mean(axis=0) for name in ("cat", "dog", "owl")}
    moved = edits.edit(z[:2], "animal", np.array(["cat", "owl"]), np.array(["dog"] * 2))
    expected = np.stack([mean["dog"] - mean["cat"], mean["dog"] - mean["owl"]])
    assert moved.shape == (2, 2, 3) and moved.dtype == np.float32
    np.testing.assert_allclose(
        (moved - z[:2]).reshape(2, 6), expected, rtol=1e-3, atol=2e-5
    )


def test_real_edits_change_the_value_by_the_shortest_standardised_move():
    rng = np.random.default_rng(1)
    scales = np.array([1.0, 10.0, 0.1, 3.0, 1.0])
    z = rng.standard_normal((4000, 5)) * scales + 2.0
    directions = rng.standard_normal((2, 5))  # directions of standardised z
    standard = (z - z.mean(axis=0)) / z.std(axis=0)
    values = standard @ directions.T + 7.0
    values[:10] = np.nan
    edits = LinearEdits.fit(z, {"color": values, "size": values[:, 0]})
    value_a, value_b = values[10:13], values[20:23]
    moved = edits.edit(z[10:13], "color", value_a, value_b)
    move = (moved - z[10:13]) / z.std(axis=0)
    expected, *_ = np.linalg.lstsq(
        directions, (value_b - value_a).T
    )  # the shortest move
    np.testing.assert_allclose(move, expected.T, rtol=2e-3, atol=2e-3)
    moved = edits.edit(z[10:13], "size", value_a[:, 0], value_b[:, 0])
    move = (moved - z[10:13]) / z.std(axis=0)
    single = directions[0] / (directions[0] @ directions[0])
    expected = (value_b - value_a)[:, :1] * single
    np.testing.assert_allclose(move, expected, rtol=2e-3, atol=2e-3)


def test_a_latent_that_never_varies_is_left_alone():
    rng = np.random.default_rng(2)
    z = rng.standard_normal((200, 3))
    z[:, 1] = 5.0
    edits = LinearEdits.fit(z, {"size": z[:, 0]})
    moved = edits.edit(z[:1], "size", np.array([0.0]), np.array([1.0]))
    np.testing.assert_allclose(moved - z[:1], [[1.0, 0.0, 0.0]], atol=0.02)


def test_bad_input_is_one_line():
    z = np.zeros((4, 3))
    with pytest.raises(ValueError, match="4 latents need as many values of 'color'"):
        LinearEdits.fit(z, {"color": np.zeros(3)})
    with pytest.raises(ValueError, match="needs two latents whose value is known"):
        LinearEdits.fit(z, {"color": np.array([0.0, np.nan, np.nan, np.nan])})
    edits = LinearEdits.fit(z, {"digit": np.arange(4)})
    two, nine = np.array([2]), np.array([9])
    with pytest.raises(ValueError, match="no linear edit of 'digits' was fitted; did"):
        edits.edit(z[:1], "digits", two, two)
    with pytest.raises(ValueError, match=r"the class 9; known: 0, 1, 2, 3"):
        edits.edit(z[:1], "digit", two, nine)
