"""What each concept contributes to pairs that share several at once."""

import warnings
from collections.abc import Sequence

import numpy as np

from iin_jax.concepts.pair_forms import GivenPairs, PairForm

COLLINEAR = 1e-6  # relative eigenvalue below which masks do not tell concepts apart


def masked_pairs(
    halves: tuple[np.ndarray, np.ndarray],
    shared: np.ndarray,
    names: Sequence[str],
    image: np.ndarray,
    sigma: np.ndarray,
) -> dict[str, PairForm]:
    """Concept -> its pairs, where masks say what each pair shares.

    Where pairs share several factors, what each contributes is fitted by least squares:
    ``E w_a w_b^T = sum_j shared_j sigma_j C_j``. A concept that no pair shares, and in
    which alone some pairs differ, is taken from their differences. Warns where the
    masks do not tell concepts apart.

    Args:
      halves: (p,) each, the entries of the two halves.
      shared: bool (p, K+1), the residual's column last.
      names: the K concepts.
      image: (n,), which image each entry is of.
      sigma: (p, K+1), graded similarity where it counts, else 1.
    """
    count = len(shared)
    first, second = halves
    regressors = (shared * sigma).astype(np.float64)
    used = np.asarray(regressors.any(axis=0))
    gram = regressors.T @ regressors / count
    coefficients = regressors @ np.linalg.pinv(gram, rcond=COLLINEAR) / count
    _warn_of_collinear(gram, used, names)
    result: dict[str, PairForm] = {}
    for index, name in enumerate(names):
        all_others_shared = np.delete(shared, index, axis=1).all(axis=1)
        only_difference = np.asarray(~shared[:, index] & all_others_shared)
        if used[index]:
            values = coefficients[:, index]
            result[name] = GivenPairs(first, second, values, image)
        elif only_difference.any():
            values = only_difference / only_difference.sum()
            result[name] = GivenPairs(first, second, values, image, differs=True)
        else:
            warnings.warn(
                f"no pair shares {name!r} and none differs in it alone, so nothing "
                "says where it lies",
                stacklevel=3,
            )
            result[name] = GivenPairs(first, second, np.zeros(count), image)
    return result


def _warn_of_collinear(
    gram: np.ndarray, used: np.ndarray, names: Sequence[str]
) -> None:
    labels = [*names, "residual"]
    places = np.flatnonzero(used)
    values, vectors = np.linalg.eigh(gram[np.ix_(places, places)])
    for value, vector in zip(values, vectors.T, strict=True):
        if value <= COLLINEAR * values[-1]:
            alike = [labels[places[i]] for i in np.flatnonzero(np.abs(vector) > 0.1)]
            warnings.warn(
                f"the pairs' masks do not tell {alike} apart: they are shared by the "
                "same pairs",
                stacklevel=4,
            )
