"""T_0: concepts in their places, in any units, from few latents and from masks."""

import warnings

import numpy as np
import pytest

from iin_jax.concepts.closed_form import LinearView
from iin_jax.concepts.masked_pairs import masked_pairs
from iin_jax.concepts.pair_forms import ClassPairs
from iin_jax.concepts.whitening import fit_whitening
from iin_jax.flows.linear_start import start_product

DIM = 6


def labelled(count=600, seed=0):
    """Two labels on directions of their own, mixed; the rest is noise."""
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 4, count), rng.integers(0, 2, count)
    hidden = rng.standard_normal((count, DIM))
    angle = 2 * np.pi * first / 4
    hidden[:, 0] = 2.0 * np.cos(angle) + 0.3 * hidden[:, 0]
    hidden[:, 1] = 2.0 * np.sin(angle) + 0.3 * hidden[:, 1]
    hidden[:, 2] = 2.0 * second + 0.3 * hidden[:, 2]
    mixing = np.linalg.qr(rng.standard_normal((DIM, DIM)))[0]
    return hidden @ mixing + 1.0, first, second


def view_of(z, first, second):
    image = np.arange(len(z))
    pairs = {"first": ClassPairs(first, image), "second": ClassPairs(second, image)}
    return LinearView.of(z, pairs, image)


def explained(codes, y):
    """Share of the variance of y (n, d) between classes, per component."""
    means = np.array([y[codes == code].mean(axis=0) for code in np.unique(codes)])
    weights = np.bincount(codes) / len(codes)
    return (weights[:, None] * np.square(means - y.mean(axis=0))).sum(0) / y.var(0)


def test_each_factor_holds_its_concept_and_the_residual_neither():
    z, first, second = labelled()
    start = view_of(z, first, second).start({"first": 2, "second": 1})
    y = start_product(start.constants, z)
    np.testing.assert_allclose(np.cov(y.T), np.eye(DIM), atol=0.15)
    assert explained(first, y)[:2].min() > 0.9
    assert explained(second, y)[2] > 0.9
    assert explained(first, y)[2:].max() < 0.05
    assert np.delete(explained(second, y), 2).max() < 0.05
    assert min(start.sigma.values()) > 0.85
    turn = start.constants["turn"]
    np.testing.assert_allclose(turn.T @ turn, np.eye(DIM), atol=1e-10)


@pytest.mark.parametrize("scale", [1e-4, 10.0 ** -np.arange(DIM)])
def test_other_units_give_the_same_start(scale):
    z, first, second = labelled()
    sizes = {"first": 2, "second": 1}
    plain = view_of(z, first, second).start(sizes)
    scaled = view_of(z * scale, first, second).start(sizes)
    np.testing.assert_allclose(
        start_product(plain.constants, z),
        start_product(scaled.constants, z * scale),
        atol=1e-6,
    )


def test_dead_and_copied_components_are_harmless():
    z, first, second = labelled()
    z = np.hstack([z, np.full((len(z), 1), 7.0), z[:, :1]])
    start = view_of(z, first, second).start({"first": 2, "second": 1})
    y = start_product(start.constants, z)
    assert np.isfinite(y).all() and np.abs(y).max() < 20
    assert explained(first, y)[:2].min() > 0.9
    # concepts may ask for all that varies, and T_0 still goes back
    for sizes in ({"first": 2, "second": 1}, {"first": 4, "second": DIM - 4}):
        turn = view_of(z, first, second).start(sizes).constants["turn"]
        np.testing.assert_allclose(turn.T @ turn, np.eye(len(turn)), atol=1e-8)


def test_fewer_latents_than_dimensions_are_whitened_by_shrinkage():
    rng = np.random.default_rng(0)
    z = rng.standard_normal((20, 50))
    w = fit_whitening(z)(rng.standard_normal((500, 50)))
    assert 0.3 < w.var(axis=0).mean() < 3.0  # unseen latents are no outliers
    with pytest.raises(ValueError, match="latents of one image"):
        fit_whitening(z[:1])


def test_a_posterior_counts_with_its_spread():
    rng = np.random.default_rng(0)
    mean = rng.standard_normal((2000, 3))
    spread = np.array([0.0, 1.0, 3.0]) * np.ones((2000, 3))
    w = fit_whitening(mean, spread=spread)(mean)
    np.testing.assert_allclose(w.var(axis=0), [1, 1 / 2, 1 / 4], atol=0.06)


def given_pairs(shared, seed=0):
    """Halves that agree along component k wherever they share concept k."""
    rng = np.random.default_rng(seed)
    count, concepts = len(shared), shared.shape[1] - 1
    za, zb = rng.standard_normal((2, count, DIM))
    for k in range(concepts):
        zb[shared[:, k], k] = za[shared[:, k], k]
    zb[shared[:, -1], concepts:] = za[shared[:, -1], concepts:]
    return np.concatenate([za, zb])


def mask_pairs(shared, names, image):
    """Pairs whose first halves are the first half of the latents."""
    count = len(shared)
    halves = np.arange(count), count + np.arange(count)
    return masked_pairs(halves, shared, names, image, np.ones(shared.shape))


def own_directions(shared, names):
    """concept -> share of its leading direction in its own component, squared."""
    z = given_pairs(shared)
    image = np.arange(len(z))
    pairs = mask_pairs(shared, names, image)
    view = LinearView.of(z, pairs, image)
    start = view.start(dict.fromkeys(names, 1))
    y = start_product(start.constants, z)
    return [np.corrcoef(y[:, k], z[:, k])[0, 1] ** 2 for k in range(len(names))]


def test_pairs_that_share_several_concepts_are_taken_apart():
    rng = np.random.default_rng(1)
    shared = rng.random((4000, 3)) < 0.5
    shared[:, 2] = False
    assert min(own_directions(shared, ("x", "y"))) > 0.9


def test_a_concept_that_pairs_only_differ_in_is_found():
    shared = np.ones((1000, 3), bool)
    shared[::2, 0], shared[1::2, 1] = False, False
    shared[::2, 1], shared[1::2, 0] = True, False  # x is never shared
    found = own_directions(shared, ("x", "y"))
    assert found[0] > 0.9


def test_masks_that_tell_nothing_apart_are_named():
    shared = np.tile([True, True, False], (200, 1))
    with pytest.warns(UserWarning, match=r"do not tell \['x', 'y'\] apart"):
        mask_pairs(shared, ("x", "y"), np.arange(400))
    shared[:, 1] = False
    with pytest.warns(UserWarning, match="nothing says where it lies"):
        mask_pairs(shared, ("x", "y"), np.arange(400))


def test_concepts_on_the_same_directions_are_named():
    z, first, _ = labelled()
    with pytest.warns(UserWarning, match="'first' and 'second' overlap"):
        view_of(z, first, first // 2).start({"first": 2, "second": 1})


def test_many_dimensions_go_by_their_leading_directions():
    rng = np.random.default_rng(0)
    count, dim = 300, 600
    codes = rng.integers(0, 3, count)
    z = rng.standard_normal((count, dim)) + 3.0 * np.eye(dim)[codes]
    image = np.arange(count)
    view = LinearView.of(z, {"x": ClassPairs(codes, image)}, image)
    start = view.start({"x": 2})
    y = start_product(start.constants, z)
    assert y.shape == (count, dim)
    assert explained(codes, y)[:2].min() > 0.7
    found = view.counted(0)["x"]
    assert found.rank == 2


@pytest.mark.thorough
def test_more_directions_than_are_looked_at_can_be_asked_for():
    rng = np.random.default_rng(0)
    shared = np.tile([[True, False, False], [False, False, False]], (150, 1))
    z = rng.standard_normal((600, 560))
    image = np.arange(600)
    with pytest.warns(UserWarning, match="'y' and none differs in it alone"):
        pairs = mask_pairs(shared, ("x", "y"), image)
    start = LinearView.of(z, pairs, image).start({"x": 100, "y": 3})
    turn = start.constants["turn"]
    np.testing.assert_allclose(turn.T @ turn, np.eye(560), atol=1e-8)


def test_without_concepts_the_axes_are_principal():
    rng = np.random.default_rng(0)
    z = rng.standard_normal((500, 4)) @ rng.standard_normal((4, 4))
    start = LinearView.of(z, {}, np.arange(500)).start({})
    y = start_product(start.constants, z)
    np.testing.assert_allclose(np.cov(y.T), np.eye(4), atol=0.15)
    assert not start.sigma


def test_starts_warn_of_nothing_when_all_is_well():
    z, first, second = labelled()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        view_of(z, first, second).start({"first": 2, "second": 1})
