"""Directions of few images: components that say nothing have no say."""

import numpy as np
import pytest

from iin_jax.concepts.closed_form import LinearView
from iin_jax.concepts.pair_forms import ClassPairs, GivenPairs
from iin_jax.concepts.reliability import FOLDS, _correlations, reliability
from iin_jax.concepts.shared_directions import leading_directions

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


@pytest.mark.parametrize(("count", "dim"), [(300, 128), (400, 160)])
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


def test_more_images_give_components_with_a_signal_more_trust():
    trust = []
    for count in (100, 500, 2_500):
        z, classes, _ = latents(count, 32)
        trust.append(view(z, classes)._reliability("class")[:TOLD].mean())
    assert trust == sorted(trust)
    assert trust[-1] > 0.85


def test_other_units_change_nothing():
    z, classes, _ = latents(300, 64)
    scale = np.random.default_rng(1).uniform(1e-3, 1e3, 64)
    first, second = view(z, classes), view(z * scale + 5.0, classes)
    weights = (each._reliability("class") for each in (first, second))
    np.testing.assert_allclose(*weights, atol=1e-6)


def test_where_nothing_can_be_held_out_the_filter_is_the_usual_one():
    z = np.random.default_rng(0).standard_normal((2 * FOLDS - 1, 6))
    pairs = ClassPairs(np.arange(len(z)) % 3, np.arange(len(z)))
    weights = reliability(z, pairs)
    correlation, noise = _correlations(z, pairs)
    positive = np.maximum(correlation, 0.0)
    assert positive.any()
    np.testing.assert_allclose(weights, positive / (positive + noise))


def test_noise_alone_is_damped_and_signal_alone_is_not():
    rng = np.random.default_rng(0)
    classes = rng.integers(CLASSES, size=2_000)
    means = 3.0 * rng.standard_normal((CLASSES, TOLD))
    z = means[classes] + rng.standard_normal((2_000, TOLD))
    assert view(z, classes)._reliability("class").min() > 0.95
    noise = rng.standard_normal((2_000, TOLD))
    assert view(noise, classes)._reliability("class").mean() < 0.8


def test_pairs_that_differ_or_have_nothing_in_common_are_not_weighted():
    rng = np.random.default_rng(0)
    w, halves = rng.standard_normal((40, 6)), np.arange(40).reshape(2, 20)
    image, coefficient = np.arange(40), np.full(20, 0.05)
    differing = GivenPairs(*halves, coefficient, image, differs=True)
    np.testing.assert_array_equal(reliability(w, differing), 1.0)
    w[20:] = -w[:20]
    opposite = GivenPairs(*halves, coefficient, image)
    np.testing.assert_array_equal(reliability(w, opposite), 1.0)


@pytest.mark.parametrize("images", [40, 80])
def test_fewer_latents_than_dimensions_above_512(images):
    """The same directions as of the written-out form, zeros between the signs."""
    z, classes, _ = latents(images, 520)
    form = ClassPairs(classes, np.arange(images)).form()
    values, vectors = leading_directions(z, form, 60)
    expected = np.linalg.eigvalsh(form.matrix(z))[::-1]
    np.testing.assert_allclose(values, expected[: len(values)], atol=1e-9)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(len(values)), atol=1e-9)
    turned = vectors.T @ form.matrix(z) @ vectors
    np.testing.assert_allclose(turned, np.diag(values), atol=1e-8)


def test_few_images_of_more_than_512_dimensions_are_weighted():
    z, classes, means = latents(200, 520)
    weighted, plain = view(z, classes), view(z, classes)
    plain.__dict__["_reliabilities"] = {"class": np.ones(520)}
    assert moved(weighted, means) > moved(plain, means) + 0.2
