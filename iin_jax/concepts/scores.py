"""How strongly a latent encodes each concept, and how many dimensions it gets."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from iin_jax.factors import RESIDUAL, FactorLayout

RESAMPLES = 200  # of the bootstrap and of the null distribution
RESIDUAL_SCORE = 1.0  # the highest that a concept can reach


@dataclasses.dataclass(frozen=True)
class FactorScores(Mapping[str, float]):
    """Concept -> similarity of its pairs' latents, at most 1.

    Attributes:
      values_by_name: concept -> score.
      estimator: ``"pooled"`` or ``"correlation"``.
      intervals: concept -> 95 % bootstrap interval over the pairs.
      null: concept -> 95 % interval of the score of randomly re-matched pairs; a score
        inside says nothing about the concept.
    """

    values_by_name: dict[str, float]
    estimator: str
    intervals: dict[str, tuple[float, float]]
    null: dict[str, tuple[float, float]]

    def __getitem__(self, name: str) -> float:
        return self.values_by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_name)

    def __len__(self) -> int:
        return len(self.values_by_name)


def factor_scores(
    za: np.ndarray,
    zb: np.ndarray,
    concept: np.ndarray,
    names: Sequence[str],
    estimator: str = "pooled",
    *,
    seed: int = 0,
) -> FactorScores:
    """Scores each concept by the similarity of the latents of its pairs.

    ``"pooled"`` (the authors' code): covariance of a and b about their common mean over
    the pairs of the concept, summed over components, over the summed variance of all
    latents given. ``"correlation"`` (paper, eq. 12): Pearson's correlation per
    component, then the mean over components; the paper sums them, which through the
    softmax of ``factor_sizes`` would give the residual nearly every dimension.
    Components without variance carry nothing and are left out of both.

    Args:
      za, zb: (n, N), latents of the two halves of each pair.
      concept: int (n,), index into ``names`` of the concept that the pair agrees in.
      names: concepts, in layout order.
      estimator: ``"pooled"`` or ``"correlation"``.
      seed: of the resampling behind intervals and null.

    Raises:
      ValueError: shapes disagree, an array is empty or not finite, no component
        varies, a concept has fewer than two pairs, or an unknown estimator.
    """
    za, zb = np.asarray(za, np.float64), np.asarray(zb, np.float64)
    concept = np.asarray(concept)
    _check_latent_pairs(za, zb, concept, names)
    if estimator not in _ESTIMATORS:
        raise ValueError(f"estimator is one of {list(_ESTIMATORS)}; got {estimator!r}")
    variance = np.concatenate([za, zb]).var(axis=0)
    varies = variance > 1e-12 * max(variance.max(), 1e-300)
    if not varies.any():
        raise ValueError(
            "no component of the latents varies; there is nothing to score"
        )
    za, zb, variance = za[:, varies], zb[:, varies], variance[varies]
    statistic = _ESTIMATORS[estimator]
    rng = np.random.default_rng(seed)
    values, intervals, null = {}, {}, {}
    for index, name in enumerate(names):
        a, b = za[concept == index], zb[concept == index]
        count = len(a)
        values[name] = float(
            statistic(_moments(np.ones((1, count)), a, b), variance)[0]
        )
        draws = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
        resampled = statistic(_moments(draws.astype(np.float64), a, b), variance)
        intervals[name] = _central_95(resampled)
        matched = [
            statistic(_moments(np.ones((1, count)), a, rng.permutation(b)), variance)
            for _ in range(RESAMPLES)
        ]
        null[name] = _central_95(np.concatenate(matched))
    return FactorScores(values, estimator, intervals, null)


def factor_sizes(scores: Mapping[str, float], dim: int) -> FactorLayout:
    """Sizes from scores: ``floor(N softmax(scores))``; the residual takes the rest.

    The residual enters the softmax with a score of 1, as both estimators have it. The
    estimate is the published one and is weak: of 64 dimensions a concept of score 0
    still gets 13 beside one other concept.

    Args:
      scores: concept -> score, from ``factor_scores`` or any mapping.
      dim: N, number of dimensions of the latent.

    Raises:
      ValueError: no scores, a score that is not finite, or a dimension below 1.
    """
    if not scores or dim < 1:
        raise ValueError(f"sizes need scores and dim >= 1; got {dict(scores)}, {dim}")
    if RESIDUAL in scores:
        raise ValueError(f"{RESIDUAL!r} is no concept: its score is fixed at 1")
    values = np.array([*scores.values(), RESIDUAL_SCORE], np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"scores must be finite; got {dict(scores)}")
    weights = np.exp(values - values.max())
    sizes = np.floor(dim * weights / weights.sum())[:-1].astype(int)
    layout = dict(zip(scores, sizes.tolist(), strict=True))
    return FactorLayout({**layout, RESIDUAL: dim - int(sizes.sum())})


Moments = dict[str, np.ndarray]


def _moments(weights: np.ndarray, a: np.ndarray, b: np.ndarray) -> Moments:
    """Weighted means per row of weights (R, n): each (R, N)."""
    weights = weights / weights.sum(axis=1, keepdims=True)
    products = {"a": a, "b": b, "ab": a * b, "aa": a * a, "bb": b * b}
    return {name: weights @ product for name, product in products.items()}


def _pooled(moments: Moments, variance: np.ndarray) -> np.ndarray:
    centre = 0.5 * (moments["a"] + moments["b"])
    # E[(a - m)(b - m)] = E[ab] - m (E[a] + E[b]) + m^2
    covariance = moments["ab"] - np.square(centre)
    return covariance.sum(axis=1) / variance.sum()


def _correlation(moments: Moments, variance: np.ndarray) -> np.ndarray:
    covariance = moments["ab"] - moments["a"] * moments["b"]
    variance_a = moments["aa"] - np.square(moments["a"])
    variance_b = moments["bb"] - np.square(moments["b"])
    scale = np.sqrt(np.maximum(variance_a * variance_b, (1e-12 * variance) ** 2))
    return (covariance / scale).mean(axis=1)


_ESTIMATORS: dict[str, Callable[[Moments, np.ndarray], np.ndarray]] = {
    "pooled": _pooled,
    "correlation": _correlation,
}


def _central_95(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _check_latent_pairs(za, zb, concept, names) -> None:
    if za.ndim != 2 or za.shape != zb.shape or concept.shape != za.shape[:1]:
        raise ValueError(
            "scores need za and zb of shape (n, N) and concept of shape (n,); got "
            f"{za.shape}, {zb.shape} and {concept.shape}"
        )
    if not (np.isfinite(za).all() and np.isfinite(zb).all()):
        raise ValueError("the latents contain NaN or infinite values")
    for index, name in enumerate(names):
        if (concept == index).sum() < 2:
            raise ValueError(f"concept {name!r} has fewer than two pairs to score")
    if concept.size and not np.isin(concept, np.arange(len(names))).all():
        raise ValueError(
            f"concept holds indices into names, 0 to {len(names) - 1}; got "
            f"{np.unique(concept)}"
        )
