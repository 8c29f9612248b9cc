"""The published scores of concepts on test pairs, with the sizes they would give."""

import dataclasses

from iin_jax.analysis.base import Evidence, Record, Section, Table
from iin_jax.concepts import factor_scores, factor_sizes


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
            f"Sizes by the published estimate ({measured.estimator}) on "
            f"{measured.pairs} pairs of test images; the sizes of this flow are listed "
            "under Sizes."
        )
        head = ("concept", "score", "95 %", "dimensions")
        return Section("Sizes on test images", [text], [Table(head, rows)])
