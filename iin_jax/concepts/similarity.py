"""How similar pairs are in each factor, given T: the estimate after a training."""

import numpy as np

from iin_jax.factors import FactorLayout
from iin_jax.types import Latents, Shared

ROUNDS = 100  # most rounds of expectation and maximisation
CLOSE = 1e-5  # largest change of a similarity at which the rounds end
LEAST_SIMILARITY = 1e-3  # lowest estimated similarity
MAX_SIMILARITY = 0.9995  # highest similarity: at 1 the likelihood has no bound


def pair_similarities(
    z_tilde_a: Latents,
    z_tilde_b: Latents,
    shared: Shared,
    layout: FactorLayout,
    *,
    wrong: float = 0.0,
    otherwise: np.ndarray | float = 0.9,
) -> tuple[float, ...]:
    """Similarities of greatest likelihood, one per factor, for a T that is given.

    A factor's similarity is the correlation of its halves, of one common variance, over
    the pairs that share it. Where a share of the pairs is wrong, a pair counts by the
    probability that it is right, which follows from the similarities in turn
    (expectation and maximisation of the mixture, see ``losses.mixture_loss``).

    Args:
      z_tilde_a, z_tilde_b: (n, N), columns in layout order.
      shared: bool (n, K+1).
      layout: names and sizes.
      wrong: share of wrong pairs, in [0, 1).
      otherwise: similarity, in (0, 1), where no pair shares a factor, and where the
        rounds begin if some pairs are wrong; one or (K+1,).

    Returns:
      K+1 similarities, from 0.001 to 0.9995.

    Raises:
      ValueError: a share outside [0, 1).
    """
    if not 0.0 <= wrong < 1.0:
        raise ValueError(f"wrong is a share of the pairs in [0, 1); got {wrong}")
    a, b = (np.asarray(x, np.float64) for x in (z_tilde_a, z_tilde_b))
    shared = np.asarray(shared)
    products, squares = _per_factor(a * b, layout), _per_factor(a * a + b * b, layout)
    sizes = np.array([layout[name] for name in layout.names])
    sigma = np.broadcast_to(np.asarray(otherwise, np.float64), (len(layout),))
    right = np.ones(len(a))
    for _ in range(ROUNDS if wrong else 1):
        if wrong:
            right = _probably_right(products, squares, shared, sizes, sigma, wrong)
        weight = right[:, None] * shared
        norm = 0.5 * (weight * squares).sum(0)
        estimate = (weight * products).sum(0) / np.maximum(norm, 1e-300)
        bounded = np.clip(estimate, LEAST_SIMILARITY, MAX_SIMILARITY)
        previous, sigma = sigma, np.where(norm > 0, bounded, sigma)
        if np.abs(sigma - previous).max() < CLOSE:
            break
    return tuple(float(x) for x in sigma)


def _per_factor(values: np.ndarray, layout: FactorLayout) -> np.ndarray:
    """Sums over the components of each factor, (n, K+1)."""
    parts = (values[:, layout.slice(name)].sum(1) for name in layout.names)
    return np.stack(list(parts), axis=1)


def _probably_right(
    products: np.ndarray,
    squares: np.ndarray,
    shared: np.ndarray,
    sizes: np.ndarray,
    sigma: np.ndarray,
    wrong: float,
) -> np.ndarray:
    """The probability of each pair that it is right, (n,).

    ``log N(b | s a, 1 - s^2) - log N(b | 0, 1)``, summed over shared components, is
    ``(s a b - s^2 (a^2 + b^2) / 2) / (1 - s^2) - log(1 - s^2) / 2``.
    """
    rest = 1.0 - np.square(sigma)
    ratio = (sigma * products - 0.5 * np.square(sigma) * squares) / rest
    ratio = np.where(shared, ratio - 0.5 * sizes * np.log(rest), 0.0).sum(1)
    odds = np.clip(ratio + np.log1p(-wrong) - np.log(wrong), -700.0, 700.0)
    return 1.0 / (1.0 + np.exp(-odds))
