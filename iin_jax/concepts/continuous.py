"""Continuous attributes: classes of equal size, or how similar two values are."""

import jax.numpy as jnp
import numpy as np

from iin_jax.data.values import label_column
from iin_jax.types import Array

MIN_SIMILARITY = 1e-3  # similarity of unrelated values


def quantile_classes(
    values: np.ndarray, bins: int = 10, what: str = "the attribute"
) -> np.ma.MaskedArray:
    """Codes of classes that hold about equally many values, as labels for pairs.

    Equal values are in one class. Where there are no more different values than
    ``bins``, each is a class of its own.

    Args:
      values: (n,), numbers; NaN or masked ones are missing.
      bins: number of classes at most, >= 2.
      what: name of the values, for messages.

    Returns:
      int32 (n,), 0 for the lowest class, without gaps; missing values are masked.

    Raises:
      ValueError: fewer than two bins or two different values, infinite values, or
        anything but one number per entry.
    """
    if bins < 2:
        raise ValueError(f"quantile classes need bins >= 2; got {bins}")
    numbers, known = known_numbers(values, what)
    _, code, counts = np.unique(numbers[known], return_inverse=True, return_counts=True)
    if len(counts) > bins:
        middle = (np.cumsum(counts) - 0.5 * counts) / counts.sum()
        code = np.unique(np.floor(bins * middle), return_inverse=True)[1][code]
    classes = np.zeros(len(numbers), np.int32)
    classes[known] = code
    return np.ma.array(classes, mask=~known)


def normal_scores(values: np.ndarray, name: str) -> np.ndarray:
    """Values as standard normal numbers of the same order, (n,); NaN where missing.

    The normal quantiles of the ranks, standardised; equal values share their mean rank.

    Args:
      values: (n,), numbers; NaN or masked ones are missing.
      name: of the attribute, for messages.

    Raises:
      ValueError: as ``quantile_classes``.

    Source: van der Waerden, 1952.
    """
    numbers, known = known_numbers(values, f"concept {name!r}")
    from scipy.special import ndtri
    from scipy.stats import rankdata

    quantiles = ndtri((rankdata(numbers[known]) - 0.5) / known.sum())
    scores = np.full(len(numbers), np.nan)
    scores[known] = (quantiles - quantiles.mean()) / quantiles.std()
    return scores


def graded_similarity(score_a: Array, score_b: Array) -> Array:
    """The correlation at which two standard normals differ as much in the mean square.

    ``E (g_a - g_b)^2 = 2 (1 - sigma)``, so ``sigma = 1 - (g_a - g_b)^2 / 2``, but at
    least ``MIN_SIMILARITY``: a density of pairs has no use for negative ones. Jittable.
    """
    similarity = 1.0 - 0.5 * jnp.square(score_a - score_b)
    return jnp.maximum(similarity, MIN_SIMILARITY)


def known_numbers(values: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Values as float64 (n,), and which of them are known, bool (n,).

    Args:
      values: (n,), numbers; NaN or masked ones are missing.
      what: name of the values, for messages.

    Raises:
      ValueError: no row of numbers, infinite ones, or fewer than two different ones.
    """
    array = np.ma.asarray(label_column(values, what))
    if array.ndim != 1 or array.dtype.kind not in "fiub":
        raise ValueError(
            f"{what} must be numbers, (n,), to be graded or cut into quantiles; got "
            f"{array.dtype} of shape {array.shape}"
        )
    numbers = np.ma.filled(array.astype(np.float64), np.nan)
    known = ~np.isnan(numbers)
    if np.isinf(numbers).any():
        raise ValueError(f"{what} has infinite values; NaN stands for missing ones")
    distinct = np.unique(numbers[known])
    if len(distinct) < 2:
        content = f"only the value {distinct[0]:g}" if len(distinct) else "no value"
        raise ValueError(
            f"{what} has {content}, so it tells no entries apart; leave it out"
        )
    return numbers, known
