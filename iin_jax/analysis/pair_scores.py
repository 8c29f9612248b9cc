"""The published scores of concepts on test pairs, with the sizes they would give."""

import dataclasses

from iin_jax.analysis.base import Evidence, Record, Section, Table
from iin_jax.concepts import factor_scores, factor_sizes

# estimator -> what its score is; also for the report's figure of sizes
SCORE_MEANINGS = {
    "pooled": "the covariance of the latents of the two images of a pair over the "
    "variance of all latents, so 1 if z says nothing but this concept and 0 if it says "
    "nothing of it",
    "correlation": "the correlation between the latents of the two images of a pair, "
    "averaged over the numbers of z, so 1 if z says nothing but this concept and 0 if "
    "it says nothing of it",
    "shared_rank": "the number of directions of z along which the two images of a pair "
    "are more alike than images paired at random",
    "calibrated": "the correlations along the directions of z that the two images of a "
    "pair share, less those of images paired at random, over the numbers of z",
}


def score_meaning(estimator: str) -> str:
    """A sentence on what the score of a concept is."""
    meaning = SCORE_MEANINGS.get(estimator, "how much the latents of pairs share")
    return (
        "The score of a concept says how strongly z encodes it, from pairs of images "
        f"that agree in this concept. By the estimator {estimator} it is {meaning}."
    )


@dataclasses.dataclass(frozen=True)
class PairScores:
    """Scores of concepts on pairs of test images.

    Attributes:
      scores: concept -> score.
      score_intervals: concept -> bounds of the score's 95 % interval.
      estimator: estimator of the scores, ``"pooled"`` or ``"correlation"``.
      sizes: factor -> number of dimensions that the scores would give it.
      pairs: number of pairs behind the scores.
    """

    scores: dict[str, float]
    score_intervals: dict[str, tuple[float, float]]
    estimator: str
    sizes: dict[str, int]
    pairs: int


@dataclasses.dataclass(frozen=True)
class PairScoresRecord(Record):
    """Scores of concepts on pairs of test images.

    Attributes:
      test_pairs: scores and sizes.
    """

    test_pairs: PairScores


class PairScoresAnalysis:
    """Estimates sizes as published, on pairs of test images."""

    record = PairScoresRecord

    def measure(self, evidence: Evidence) -> PairScoresRecord | None:
        images = evidence.paired
        if images.pairs is None:
            return None
        pairs = images.pairs.scored(evidence.score_pairs, evidence.seed)
        z = images.latents.mean
        scores = factor_scores(
            z[pairs.a],
            z[pairs.b],
            pairs.concept,
            pairs.names,
            evidence.estimator,
            index_a=images.picture[pairs.a],
            index_b=images.picture[pairs.b],
            seed=evidence.seed,
        )
        return PairScoresRecord(
            PairScores(
                dict(scores),
                scores.intervals,
                scores.estimator,
                factor_sizes(scores, z.shape[1]).as_dict(),
                len(pairs.a),
            )
        )

    def section(self, record: PairScoresRecord) -> Section:
        measured = record.test_pairs
        rows = [
            [
                name,
                f"{score:.3f}",
                "{:.3f} to {:.3f}".format(*measured.score_intervals[name]),
                str(measured.sizes[name]),
            ]
            for name, score in measured.scores.items()
        ]
        text = (
            f"{score_meaning(measured.estimator)} These scores stand on "
            f"{measured.pairs} pairs of test images. The last column has the sizes "
            "that the published method would give from them, for comparison: those of "
            "this T are listed under Sizes."
        )
        head = ("concept", "score", "95 % interval", "size it would give")
        return Section("Sizes on test images", [text], [Table(head, rows)])
