"""Linear starts of maps: densities, pairs of equal positions, whole channels."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from iin_jax.concepts.map_view import MapView
from iin_jax.concepts.pair_forms import ClassPairs, GivenPairs
from iin_jax.concepts.position_pairs import PositionPairs
from iin_jax.flows.map_start import start_of
from iin_jax.linen import apply
from iin_jax.losses import bits_per_dim, gaussian_nll

MAPS, POSITIONS, CHANNELS = 120, 6, 3


def maps(seed=0):
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((CHANNELS, CHANNELS))
    means = 2.0 * rng.standard_normal((POSITIONS, CHANNELS))
    z = rng.standard_normal((MAPS, POSITIONS, CHANNELS)) @ mixing + means
    return z.reshape(MAPS, -1)


def class_pairs(seed=1):
    codes = np.random.default_rng(seed).integers(-1, 4, MAPS)
    return ClassPairs(codes, np.arange(MAPS))


def given_pairs(seed=2):
    a, b = np.random.default_rng(seed).permutation(MAPS)[:80].reshape(2, 40)
    return GivenPairs(a, b, np.full(40, 1 / 40), np.arange(MAPS))


@pytest.mark.parametrize("pairs", [class_pairs(), given_pairs()])
def test_pairs_of_maps_are_a_mean_over_equal_positions(pairs):
    w = maps().reshape(MAPS, POSITIONS, CHANNELS)
    spread = PositionPairs(pairs, POSITIONS)
    entries = w.reshape(-1, CHANNELS)
    by_position = [pairs.form().matrix(w[:, p]) for p in range(POSITIONS)]
    expected = np.mean(by_position, axis=0)
    np.testing.assert_allclose(spread.form().matrix(entries), expected, atol=1e-12)
    one, other = np.random.default_rng(3), np.random.default_rng(3)
    null = pairs.null(one)
    by_position = [null.matrix(w[:, p]) for p in range(POSITIONS)]
    expected = np.mean(by_position, axis=0)
    found = spread.null(other).matrix(entries)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_part_of_the_entries_is_all_positions_of_some_maps():
    spread = PositionPairs(class_pairs(), POSITIONS)
    rows = spread.sampled_rows(50 * POSITIONS, 0)
    chosen = rows.reshape(-1, POSITIONS)
    np.testing.assert_array_equal(chosen % POSITIONS, [range(POSITIONS)] * 50)
    part = spread.subset(rows)
    assert isinstance(part.maps, ClassPairs)
    np.testing.assert_array_equal(
        part.maps.codes, class_pairs().codes[chosen[:, 0] // POSITIONS]
    )
    np.testing.assert_array_equal(part.image, np.repeat(np.arange(50), POSITIONS))


def test_the_density_of_a_start_is_a_gaussian_at_every_position():
    z = maps()
    pairs = {"kind": class_pairs()}
    view = MapView.of(z, pairs, np.arange(MAPS), None, POSITIONS, 0)
    start = view.start({"kind": 2 * POSITIONS})
    y, log_det = apply(start_of(start.constants), {"constants": start.constants}, z)
    whitening = view.whitening.channels
    root = whitening.axes * np.sqrt(whitening.variances) * whitening.scale[:, None]
    by_position = z.reshape(MAPS, POSITIONS, CHANNELS)
    density = sum(
        multivariate_normal(by_position[:, p].mean(0), root @ root.T).logpdf(
            by_position[:, p]
        )
        for p in range(POSITIONS)
    )
    nll = gaussian_nll(y, log_det)
    np.testing.assert_allclose(nll, -density, rtol=1e-4)
    expected = bits_per_dim(-density.mean(), z.shape[1])
    assert view.whitening.bits_per_dim(z) == pytest.approx(float(expected))


def test_a_concept_at_all_positions_is_found_in_one_channel():
    """Brute force: a class moves one direction, at every position alike."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, MAPS)
    direction = np.array([1.0, -2.0, 0.5])
    z = maps().reshape(MAPS, POSITIONS, CHANNELS)
    z = z + 4.0 * (codes - 1.0)[:, None, None] * direction
    pairs = {"kind": ClassPairs(codes, np.arange(MAPS))}
    view = MapView.of(z.reshape(MAPS, -1), pairs, np.arange(MAPS), None, POSITIONS, 0)
    assert view.counted(0)["kind"].rank == 1
    constants = view.start({"kind": POSITIONS}).constants
    variables = {"constants": constants}
    y = apply(start_of(constants), variables, z.reshape(MAPS, -1))[0]
    first = np.asarray(y).reshape(MAPS, CHANNELS, POSITIONS)
    correlation = [
        abs(np.corrcoef(first[:, c].mean(1), codes)[0, 1]) for c in range(CHANNELS)
    ]
    assert correlation[0] > 0.95 and max(correlation[1:]) < 0.3


def test_large_maps_are_seen_at_sixteen_positions():
    z = np.random.default_rng(0).standard_normal((30, 25 * 2))
    view = MapView.of(z, {}, np.arange(30), None, 25, 0)
    assert view.channels.z.shape == (30 * 16, 2)
    entries = z.reshape(30, 25, 2)[:, view.chosen] - view.mean[view.chosen]
    np.testing.assert_allclose(view.channels.z, entries.reshape(-1, 2))
    assert start_of(view.start({}).constants).dim == 50
