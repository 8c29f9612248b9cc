"""Directions of few images: components that say nothing have no say."""

import numpy as np
import pytest

from iin_jax.concepts.closed_form import LinearView
from iin_jax.concepts.pair_forms import ClassPairs, GivenPairs
from iin_jax.concepts.reliability import reliability

CLASSES, TOLD = 10, 12  # classes, and components that tell them apart


def latents(count, dim, seed=0, signal=1.5):
    """Classes differ in the first components alone; all else is noise."""
    rng = np.random.default_rng(seed)
    means = np.zeros((CLASSES, dim))
    means[:, :TOLD] = signal * rng.standard_normal((CLASSES, TOLD))
    classes = rng.integers(CLASSES, size=count)
    return means[classes] + rng.standard_normal((count, dim)), classes, means


def view(z, classes):
    image = np.arange(len(z))
    return LinearView.of(z, {"class": ClassPairs(classes, image)}, image)


def moved(z_view, means):
    """Share of the differences of class means that a swap of the factor moves."""
    size = CLASSES - 1
    turn = z_view.trial({"class": size}).constants["turn"]
    axes = z_view.whitening.axes @ turn[:, :size]
    w = z_view.whitening(means)
    w -= w.mean(axis=0)
    return np.square(w @ axes).sum() / np.square(w).sum()


@pytest.mark.parametrize(("count", "dim"), [(300, 128), (600, 256)])
def test_few_images_of_many_dimensions_find_more_of_the_concept(count, dim):
    z, classes, means = latents(count, dim)
    weighted, plain = view(z, classes), view(z, classes)
    plain.__dict__["_reliabilities"] = {"class": np.ones(dim)}
    weights = weighted._reliability("class")
    assert weights[:TOLD].mean() > 3 * weights[TOLD:].mean()
    assert moved(weighted, means) > moved(plain, means) + 0.1
    assert moved(weighted, means) > 0.75


def test_similarities_are_correlations_of_the_pairs_in_their_directions():
    z, classes, _ = latents(300, 128)
    both = view(z, classes)
    start = both.trial({"class": 9})
    turn = both.whitening.axes @ start.constants["turn"][:, :9]
    expected = both.pairs["class"].form().diagonal(both.w @ turn).mean()
    assert start.sigma["class"] == pytest.approx(expected, rel=1e-9)


def test_many_images_trust_all_components_alike():
    z, classes, _ = latents(4000, TOLD)
    np.testing.assert_array_equal(view(z, classes)._reliability("class"), 1.0)


def test_other_units_change_nothing():
    z, classes, _ = latents(300, 64)
    scale = np.random.default_rng(1).uniform(1e-3, 1e3, 64)
    first, second = view(z, classes), view(z * scale + 5.0, classes)
    weights = (each._reliability("class") for each in (first, second))
    np.testing.assert_allclose(*weights, atol=1e-6)


def test_pairs_that_differ_or_are_too_few_are_not_weighted():
    rng = np.random.default_rng(0)
    w, halves = rng.standard_normal((40, 6)), np.arange(40).reshape(2, 20)
    for differs in (True, False):
        pairs = GivenPairs(*halves, np.full(20, 0.05), np.arange(40), differs)
        np.testing.assert_array_equal(reliability(w, pairs), 1.0)
    few = ClassPairs(np.array([0, 0, 1, 1]), np.arange(4))
    np.testing.assert_array_equal(reliability(w[:4], few), 1.0)
