"""How many dimensions each concept gets."""

import warnings
from collections.abc import Mapping

import numpy as np

from iin_jax.concepts.scores import FactorScores
from iin_jax.factors import RESIDUAL, FactorLayout

RESIDUAL_SCORE = 1.0  # highest score of a concept by a published estimator


def factor_sizes(scores: Mapping[str, float], dim: int) -> FactorLayout:
    """Sizes from scores; the residual takes the rest.

    Published scores (``"pooled"``, ``"correlation"``, plain numbers) go through
    ``floor(N softmax(scores))``, in which the residual has a score of 1. That estimate
    is weak: of 64 dimensions a concept of score 0 still gets 13 beside one other.
    ``"shared_rank"`` scores are the sizes. ``"calibrated"`` scores are shares of N,
    rounded so that the largest remainders get what is left. Where the concepts ask for
    more than N, all get less in proportion. Warns of every concept that gets nothing.

    Args:
      scores: concept -> score, from ``factor_scores`` or any mapping.
      dim: N, number of dimensions of the latent.

    Raises:
      ValueError: no scores, a score that is not finite, or a dimension below 1.
    """
    if not scores or dim < 1:
        raise ValueError(f"sizes need scores and dim >= 1; got {dict(scores)}, {dim}")
    if RESIDUAL in scores:
        raise ValueError(f"{RESIDUAL!r} is no concept: the rest is its own")
    values = np.array([*scores.values()], np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"scores must be finite; got {dict(scores)}")
    estimator = scores.estimator if isinstance(scores, FactorScores) else "pooled"
    if estimator == "shared_rank":
        sizes = fitting(values, dim)
    elif estimator == "calibrated":
        sizes = fitting(np.maximum(values, 0.0) * dim, dim)
    else:
        exponents = np.append(values, RESIDUAL_SCORE)
        weights = np.exp(exponents - exponents.max())
        sizes = np.floor(dim * weights / weights.sum())[:-1].astype(int)
    layout = dict(zip(scores, sizes.tolist(), strict=True))
    _warn_of_empty(layout, scores, dim)
    if estimator == "shared_rank" and values.sum() > dim:
        warnings.warn(
            f"the concepts ask for {values.sum():.0f} of {dim} dimensions, so all got "
            f"less, in proportion: {layout}",
            stacklevel=2,
        )
    return FactorLayout({**layout, RESIDUAL: dim - int(sizes.sum())})


def fitting(requested: np.ndarray, dim: int) -> np.ndarray:
    """Whole numbers near those requested (K,) that sum to N at most, (K,).

    The largest remainders are rounded up. Where too much is requested, every concept
    that requests one dimension at least keeps one as long as there are enough.
    """
    requested = np.asarray(requested, np.float64)
    quota = requested * min(1.0, dim / max(requested.sum(), 1e-300))
    quota = np.append(quota, dim - quota.sum())
    sizes = np.floor(quota + 1e-9).astype(int)
    remaining = dim - int(sizes.sum())
    for place in np.argsort(-(quota - sizes), kind="stable")[:remaining]:
        sizes[place] += 1
    sizes, residual = sizes[:-1], int(sizes[-1])
    for place in np.flatnonzero((sizes == 0) & (requested >= 1.0)):
        if residual > 0:
            residual -= 1
        elif sizes.max(initial=0) > 1:
            sizes[sizes.argmax()] -= 1
        else:
            break
        sizes[place] = 1
    return sizes


def _warn_of_empty(
    sizes: Mapping[str, int], scores: Mapping[str, float], dim: int
) -> None:
    empty = [name for name, size in sizes.items() if not size]
    if not empty:
        return
    shown = ", ".join(f"{name!r} (score {scores[name]:.3g})" for name in empty[:8])
    more = f" and {len(empty) - 8} more" if len(empty) > 8 else ""
    warnings.warn(
        f"no dimension of {dim} for {shown}{more}: its swaps will change nothing; give "
        "the sizes yourself, or leave the concept out",
        stacklevel=3,
    )
