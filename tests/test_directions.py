"""Directions, axes and plausibility against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import iin_jax
from iin_jax.directions import principal_axes, tail_probabilities
from tests.conftest import normal

LAYOUT = iin_jax.FactorLayout({"a": 3, "empty": 0, "residual": 5})


def test_a_direction_is_a_mean_difference_within_its_factors(interpreter, images):
    z_tilde = np.asarray(interpreter.translate(interpreter.encode(images)))
    way = np.asarray(interpreter.direction(images[:3], images[3:]))
    difference = z_tilde[:3].mean(0) - z_tilde[3:].mean(0)
    np.testing.assert_allclose(way, difference, atol=1e-5)
    within = np.asarray(interpreter.direction(images[:3], images[3:], ["color"]))
    mask = interpreter.layout.mask(["color"])
    np.testing.assert_allclose(within, np.where(mask, difference, 0), atol=1e-5)


def test_a_move_of_the_whole_difference_brings_the_means_together(interpreter, images):
    way = interpreter.direction(images[:4], images[4:])
    moved = interpreter.move(images[4:], way, [0.0, 1.0, -2.0])
    assert moved.shape == (3, 4, 8, 8, 3)
    plain = interpreter.decode(interpreter.encode(images[4:]))
    np.testing.assert_allclose(moved[0], plain, atol=1e-4)
    z_tilde = interpreter.translate(interpreter.encode(images[4:]))
    by_hand = interpreter.decode(interpreter.untranslate(z_tilde - 2.0 * way))
    np.testing.assert_allclose(moved[2], by_hand, atol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda it, x: it.direction(x[:0], x), "got 0 and 8"),
        (lambda it, x: it.direction(x, x[:0]), "got 8 and 0"),
        (lambda it, x: it.direction(x, x, ["colour"]), "no factor 'colour'"),
        (lambda it, x: it.move(x, np.zeros(7), [1.0]), "a direction has 8 numbers"),
        (
            lambda it, x: it.move(x, np.zeros(8), 1.0),
            r"steps are finite numbers \(S,\)",
        ),
        (lambda it, x: it.move(x, np.zeros(8), [np.nan]), "finite"),
        (lambda it, x: it.axes("color", x, count=3), "has 1 to 2 axes in 8 images"),
        (lambda it, x: it.axes("color", x[:1], count=1), "1 to 0 axes in 1 images"),
    ],
)
def test_what_cannot_be_is_one_line(interpreter, images, call, message):
    with pytest.raises(ValueError, match=message) as error:
        call(interpreter, np.asarray(images))
    assert "\n" not in str(error.value)


def test_axes_are_principal_components_of_their_factor():
    rng = np.random.default_rng(0)
    spread = np.array([5.0, 0.1, 1.0])
    z_tilde = rng.standard_normal((400, 8)).astype(np.float32)
    z_tilde[:, :3] = z_tilde[:, :3] * spread + 7.0
    axes = principal_axes(z_tilde, LAYOUT, "a", 2)
    assert axes.directions.shape == (2, 8)
    gram = np.asarray(axes.directions @ axes.directions.T)
    np.testing.assert_allclose(gram, np.eye(2), atol=1e-5)
    assert np.abs(axes.directions[0, 0]) > 0.99
    assert np.abs(axes.directions[1, 2]) > 0.99
    expected = spread[[0, 2]] ** 2 / (spread**2).sum()
    np.testing.assert_allclose(axes.explained, expected, atol=0.02)
    with pytest.raises(ValueError, match="the same in all"):
        principal_axes(np.ones((5, 8), np.float32), LAYOUT, "a", 1)


def test_tail_probabilities_are_those_of_a_chi_square():
    z_tilde = np.asarray(normal((6, 8))) * np.linspace(0.05, 4.0, 6)[:, None]
    found = tail_probabilities(jnp.asarray(z_tilde), LAYOUT)
    for name, size in LAYOUT.as_dict().items():
        if not size:
            assert (np.asarray(found[name]) == 1.0).all()
            continue
        squared = (z_tilde[:, LAYOUT.slice(name)] ** 2).sum(-1)
        below = scipy.stats.chi2.cdf(squared, size)
        expected = 2 * np.minimum(below, 1 - below)
        np.testing.assert_allclose(found[name], expected, atol=1e-5)


@pytest.mark.thorough
def test_plausible_points_are_uniform_and_distant_ones_are_not(interpreter, tmp_path):
    known = interpreter.with_held_out(interpreter.untranslate(normal((2000, 8))))
    z_tilde = normal((2000, 8), 1)
    found = known.plausibility(z_tilde)
    assert list(found) == ["digit", "color", "residual", "z"]
    for name, values in found.items():
        assert scipy.stats.kstest(np.asarray(values), "uniform").pvalue > 1e-3, name
    far = known.plausibility(6.0 * z_tilde[:20].reshape(2, 10, 8))
    assert far["z"].shape == (2, 10)
    assert np.asarray(far["z"]).max() < 0.01
    assert "z" not in interpreter.plausibility(z_tilde)
    known.save(tmp_path / "it")
    loaded = iin_jax.load(tmp_path / "it")
    again = loaded.plausibility(z_tilde[:50])
    np.testing.assert_allclose(again["z"], found["z"][:50], atol=1e-5)


@pytest.mark.thorough
def test_edits_can_say_how_plausible_they_are(interpreter, images):
    known = interpreter.with_held_out(interpreter.encode(images))
    edited = known.swap(images[:4], images[4:], ["digit"], plausibility=True)
    plain = known.swap(images[:4], images[4:], ["digit"])
    np.testing.assert_allclose(edited.output, plain, atol=1e-5)
    assert edited.plausibility["z"].shape == (4,)
    own = known.plausibility(known.translate(known.encode(images[4:])))
    np.testing.assert_allclose(edited.plausibility["digit"], own["digit"], atol=1e-5)
    key = jax.random.key(0)
    drawn = known.sample(images, ["color"], key, count=3, plausibility=True)
    same = known.sample(images, ["color"], key, count=3)
    np.testing.assert_allclose(drawn.output, same, atol=1e-5)
    assert drawn.plausibility["color"].shape == (3, 8)
    way = known.direction(images[:4], images[4:])
    moved = known.move(images, way, [0.0, 50.0], plausibility=True)
    assert moved.output.shape == (2, 8, 8, 8, 3)
    assert np.asarray(moved.plausibility["z"][1]).max() < 0.01
