"""Permutation tests of what answers have to do with values, and false discoveries."""

from collections.abc import Sequence

import numpy as np

from iin_jax.data.values import class_codes, is_class, plain

FALSE_DISCOVERIES = 0.01  # share of false verdicts among the positive ones
ROUNDING = 1e-9  # relative difference between sums that are equal


def p_value(value: float, under_null: np.ndarray) -> float:
    """Share of draws under the null that reach a value, which counts as one of them."""
    reached = under_null >= value * (1.0 - ROUNDING)
    return float((1 + reached.sum()) / (1 + len(under_null)))


def corrected(p_values: Sequence[float]) -> np.ndarray:
    """The least false-discovery rate at which each test is positive, (n,).

    Benjamini and Hochberg, J. R. Stat. Soc. B 57 (1995) 289.
    """
    from scipy.stats import false_discovery_control

    return false_discovery_control(np.asarray(p_values, np.float64))


def explained_by(
    values: np.ndarray, answers: np.ndarray, permutations: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """How much of the variance of answers the values explain, and by chance.

    Values explain what a linear regression on them and their squares does, or for
    classes their means.

    Args:
      values: classes or real numbers, (n,) or (n, d), all known.
      answers: (n, m), each of variance 1 or constant.
      permutations: number of times that the values are dealt out anew.
      rng: of these.

    Returns:
      Explained sums of squares per answer, (m,), and the same for every permutation,
      (permutations, m).
    """
    design = _orthonormal(_features(values))
    answers = answers - answers.mean(axis=0)

    def explained(rows: np.ndarray | slice) -> np.ndarray:
        return np.square(design[rows].T @ answers).sum(axis=0)

    orders = [rng.permutation(len(design)) for _ in range(permutations)]
    by_chance = np.reshape([explained(x) for x in orders], (-1, answers.shape[1]))
    return explained(slice(None)), by_chance


def _features(values: np.ndarray) -> np.ndarray:
    """Values as columns of a regression, (n, k)."""
    if is_class(values):
        codes, distinct = class_codes(values)
        return np.eye(len(distinct))[codes]
    columns = plain(values).reshape(len(values), -1).astype(np.float64)
    columns = columns - columns.mean(axis=0)
    return np.concatenate([columns, np.square(columns)], axis=1)


def _orthonormal(columns: np.ndarray) -> np.ndarray:
    """An orthonormal basis of centred columns (n, k), (n, rank)."""
    centred = columns - columns.mean(axis=0)
    basis, spread, _ = np.linalg.svd(centred, full_matrices=False)
    return basis[:, spread > 1e-9 * max(float(spread.max(initial=0.0)), 1.0)]
