"""Similarities of greatest likelihood, with and without wrong pairs."""

import numpy as np
import pytest

from iin_jax.concepts.similarity import pair_similarities
from iin_jax.factors import FactorLayout

LAYOUT = FactorLayout({"close": 2, "loose": 3, "alone": 1, "residual": 2})
TRUE = (0.95, 0.7)


def drawn(count=20_000, wrong=0.0, seed=0):
    """Normal pairs that share one of two factors; some share nothing."""
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, count, LAYOUT.dim))
    shared = np.zeros((count, len(LAYOUT)), bool)
    shared[np.arange(count), rng.integers(0, 2, count)] = True
    alike = shared & (rng.random((count, 1)) >= wrong)
    rho = np.where(alike, (*TRUE, 0.5, 0.5), 0.0)[:, LAYOUT.factor_of_dim]
    return a, rho * a + np.sqrt(1 - rho**2) * b, shared


def test_each_factor_has_the_correlation_of_its_pairs():
    estimated = pair_similarities(*drawn(), LAYOUT, otherwise=0.4)
    np.testing.assert_allclose(estimated[:2], TRUE, atol=0.01)
    assert estimated[2:] == (0.4, 0.4)


@pytest.mark.parametrize("wrong", [0.2, 0.5])
def test_wrong_pairs_lower_no_similarity_that_allows_for_them(wrong):
    pairs = drawn(wrong=wrong)
    allowing = pair_similarities(*pairs, LAYOUT, wrong=wrong)
    np.testing.assert_allclose(allowing[:2], TRUE, atol=0.02)
    plain = pair_similarities(*pairs, LAYOUT)
    np.testing.assert_allclose(plain[:2], (1 - wrong) * np.array(TRUE), atol=0.02)


def test_the_estimate_is_where_the_mixture_likelihood_is_highest():
    a, b, shared = drawn(4000, wrong=0.2, seed=1)
    scale = np.sqrt(0.5 * (np.square(a).mean() + np.square(b).mean()))
    estimated = np.array(pair_similarities(a, b, shared, LAYOUT, wrong=0.2))

    def likelihood(sigma):
        rho = np.where(shared, sigma, 0.0)[:, LAYOUT.factor_of_dim]
        rest = 1 - rho**2
        ratio = -0.5 * ((b - rho * a) ** 2 / rest + np.log(rest) - b**2).sum(1)
        return np.log(0.8 * np.exp(ratio) + 0.2).mean()

    assert scale == pytest.approx(1.0, abs=0.01)
    best = likelihood(estimated)
    for index in range(2):
        for step in (-0.03, 0.03):
            moved = estimated.copy()
            moved[index] += step
            assert likelihood(moved) < best


def test_identical_halves_stay_below_one():
    a, _, shared = drawn(100)
    assert pair_similarities(a, a, shared, LAYOUT)[0] == 0.9995


@pytest.mark.parametrize("wrong", [-0.1, 1.0, np.nan])
def test_a_share_outside_its_range_is_named(wrong):
    with pytest.raises(ValueError, match=r"wrong is a share of the pairs in \[0, 1\)"):
        pair_similarities(*drawn(10), LAYOUT, wrong=wrong)
