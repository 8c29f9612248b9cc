"""The published scores on pairs of test images, and the sizes they would give."""

import dataclasses

from iin_jax.analysis.base import Evidence, Record, Section, Table
from iin_jax.concepts import factor_scores, factor_sizes


@dataclasses.dataclass(frozen=True)
class PairScores:
    """Scores of pairs of images.

    Attributes:
      scores: concept -> score.
      score_intervals: concept -> 95 % bounds.
      estimator: how they were computed.
      sizes: that would follow.
      pairs: number of pairs.
    """

    scores: dict[str, float]
    score_intervals: dict[str, tuple[float, float]]
    estimator: str
    sizes: dict[str, int]
    pairs: int


@dataclasses.dataclass(frozen=True)
class PairScoresRecord(Record):
    """Scores of test pairs."""

    test_pairs: PairScores


class PairScoresAnalysis:
    """The published estimate of the sizes, on test images."""

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
        found = record.test_pairs
        rows = [
            [
                name,
                f"{score:.3f}",
                "{:.3f} to {:.3f}".format(*found.score_intervals[name]),
                str(found.sizes[name]),
            ]
            for name, score in found.scores.items()
        ]
        text = (
            f"By the published estimate ({found.estimator}) on {found.pairs} pairs of "
            "test images; the sizes of this flow stand under Sizes."
        )
        head = ("concept", "score", "95 %", "dimensions")
        return Section("Sizes on test images", [text], [Table(head, rows)])
