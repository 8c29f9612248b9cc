"""How strongly a latent encodes each concept."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from iin_jax.concepts.closed_form import LinearView
from iin_jax.concepts.pair_forms import GivenPairs
from iin_jax.concepts.shared_directions import SharedDirections, central_95
from iin_jax.types import Array

RESAMPLES = 200  # draws of bootstrap and null distribution
ESTIMATORS = ("pooled", "correlation", "calibrated", "shared_rank")


@dataclasses.dataclass(frozen=True)
class FactorScores(Mapping[str, float]):
    """Concept -> how much its pairs' latents have in common.

    Attributes:
      values_by_name: concept -> score.
      estimator: one of ``ESTIMATORS``.
      intervals: concept -> 95 % bootstrap interval, images resampled.
      null: concept -> 95 % interval of the score if images were paired at random; a
        score inside says nothing about the concept.
      eigenvalues: concept -> correlations along the directions that its pairs share,
        descending; for ``calibrated`` and ``shared_rank``.
      thresholds: concept -> what an eigenvalue must exceed to count.
    """

    values_by_name: dict[str, float]
    estimator: str
    intervals: dict[str, tuple[float, float]]
    null: dict[str, tuple[float, float]]
    eigenvalues: dict[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    thresholds: dict[str, float] = dataclasses.field(default_factory=dict)

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
    index_a: np.ndarray | None = None,
    index_b: np.ndarray | None = None,
    seed: int = 0,
) -> FactorScores:
    """Scores each concept by the similarity of the latents of its pairs.

    ``"pooled"`` (the authors' code): covariance of a and b about their common mean over
    the pairs of the concept, summed over components, over the summed variance of all
    latents given. ``"correlation"`` (paper, eq. 12): Pearson's correlation per
    component, then the mean over components; the paper sums them, which through the
    softmax of ``factor_sizes`` would give the residual nearly every dimension.
    Components without variance carry nothing and are left out of both.

    ``"shared_rank"``: the number of directions of whitened latents along which halves
    correlate more than the most similar direction of images paired at random does in
    98 of 100 cases; a lower bound where a concept lies on a curved set.
    ``"calibrated"``: the sum of these correlations over all directions, less what
    images paired at random have, over N; 0 where it is inside the null.

    Args:
      za, zb: (n, N), latents of the two halves of each pair.
      concept: int (n,), index into ``names`` of the concept that the pair agrees in.
      names: concepts, in layout order.
      estimator: one of ``ESTIMATORS``.
      index_a, index_b: (n,), which image each row is of; None: equal rows are of one
        image. Intervals and null resample images, not pairs.
      seed: of the resampling behind intervals and null.

    Raises:
      ValueError: shapes disagree, an array is empty or not finite, no component
        varies, a concept has fewer than two pairs, or an unknown estimator.
    """
    za, zb = np.asarray(za, np.float64), np.asarray(zb, np.float64)
    concept = np.asarray(concept)
    _check_latent_pairs(za, zb, concept, names)
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator is one of {list(ESTIMATORS)}; got {estimator!r}")
    z = np.concatenate([za, zb])
    varies = _varying(z)
    image = images_of_rows(za, zb, index_a, index_b)
    count, pairs = len(za), {}
    for index, name in enumerate(names):
        first = np.flatnonzero(concept == index)
        coefficient = np.full(len(first), 1 / len(first))
        pairs[name] = GivenPairs(first, count + first, coefficient, image)
    if estimator not in _STATISTICS:
        directions = LinearView.of(z, pairs, image).counted(seed)
        return scores_of_directions(directions, estimator, z.shape[1])
    return _published(z[:, varies], pairs, estimator, np.random.default_rng(seed))


def _varying(z: np.ndarray) -> np.ndarray:
    """Components that vary, bool (N,)."""
    variance = z.var(axis=0)
    varies = variance > 1e-12 * max(variance.max(), 1e-300)
    if not varies.any():
        raise ValueError(
            "no component of the latents varies; there is nothing to score"
        )
    return varies


def _published(
    z: np.ndarray,
    pairs: Mapping[str, GivenPairs],
    estimator: str,
    rng: np.random.Generator,
) -> FactorScores:
    """Scores by ``"pooled"`` or ``"correlation"``, images resampled."""
    statistic, variance = _STATISTICS[estimator], z.var(axis=0)
    values, intervals, null = {}, {}, {}
    for name, form in pairs.items():
        a, b = z[form.first], z[form.second]
        ones = np.ones((1, len(a)))
        values[name] = float(statistic(_moments(ones, a, b), variance)[0])
        draws = np.stack([form.resampled_weights(rng) for _ in range(RESAMPLES)])
        draws = draws[draws.sum(axis=1) > 0]
        intervals[name] = central_95(statistic(_moments(draws, a, b), variance))
        null_values = []
        for _ in range(RESAMPLES):
            dealt = z[form.dealt(rng)]
            halves = dealt[form.first], dealt[form.second]
            null_values.append(statistic(_moments(ones, *halves), variance))
        null[name] = central_95(np.concatenate(null_values))
    return FactorScores(values, estimator, intervals, null)


def scores_of_directions(
    directions: Mapping[str, SharedDirections], estimator: str, dim: int
) -> FactorScores:
    """``"shared_rank"`` or ``"calibrated"`` scores of counted directions."""
    values, intervals, null = {}, {}, {}
    for name, shared in directions.items():
        if estimator == "shared_rank":
            values[name] = float(shared.rank)
            intervals[name], null[name] = shared.interval, shared.null_ranks
            continue
        inside = shared.trace <= shared.trace_null[1]
        values[name] = 0.0 if inside else shared.trace / dim
        low, high = shared.trace_interval
        intervals[name] = (low / dim, high / dim)
        null[name] = (shared.trace_null[0] / dim, shared.trace_null[1] / dim)
    return FactorScores(
        values,
        estimator,
        intervals,
        null,
        {name: tuple(map(float, d.values)) for name, d in directions.items()},
        {name: d.threshold for name, d in directions.items()},
    )


def images_of_rows(
    za: np.ndarray, zb: np.ndarray, index_a: Array | None, index_b: Array | None
) -> np.ndarray:
    """Which image each row of za, then of zb, is of: (2n,), 0 .. images - 1.

    Raises:
      ValueError: one of the indices alone, or of another length.
    """
    if (index_a is None) != (index_b is None):
        raise ValueError("index_a and index_b are given together, or neither is")
    if index_a is None:
        rows = np.ascontiguousarray(np.concatenate([za, zb])) + 0.0  # -0 is 0
        keys = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1])))
        return np.unique(keys.ravel(), return_inverse=True)[1].reshape(-1)
    index_a, index_b = np.asarray(index_a), np.asarray(index_b)
    if index_a.shape != (len(za),) or index_b.shape != (len(zb),):
        raise ValueError(
            f"index_a and index_b say which image each of {len(za)} rows is of; got "
            f"shapes {index_a.shape} and {index_b.shape}"
        )
    index = np.concatenate([index_a, index_b])
    return np.unique(index, return_inverse=True)[1].reshape(-1)


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


_STATISTICS: dict[str, Callable[[Moments, np.ndarray], np.ndarray]] = {
    "pooled": _pooled,
    "correlation": _correlation,
}


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
