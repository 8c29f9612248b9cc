"""Whether edits that fail are told from good ones by how plausible they are."""

import dataclasses

import numpy as np

from iin_jax.analysis.base import Evidence, Finding, Record, Section, Table
from iin_jax.analysis.judges import Judge
from iin_jax.data.values import known_rows, plain
from iin_jax.directions import WHOLE, Plausibility

EDITED = 2000  # most pairs whose swaps are looked at
UNLIKELY = 0.01  # tail probability below which an edit is marked
RESAMPLED = 500  # bootstrap samples behind an interval
FEWEST = 10  # least number of failed, and of good, edits for a figure
TELLS, HARDLY = 0.8, 0.6  # least areas under the curve for these verdicts


@dataclasses.dataclass(frozen=True)
class PlausibleSwaps:
    """Swaps of one concept.

    Attributes:
      edits: number of swaps that were judged.
      failed: how many of them an outside judge disagrees with: the swapped class is not
        that of the other image, or another class changed.
      unlikely: share of swaps whose whole latent has a tail probability below 1 %.
      unlikely_unedited: the same share of the images before the swap.
      area: area under the curve (ROC) of the latent's log density for telling failed
        swaps, 0.5 by chance; None where fewer than 10 fail or succeed.
      interval: its 95 % interval, pairs resampled.
    """

    edits: int
    failed: int
    unlikely: float
    unlikely_unedited: float
    area: float | None
    interval: tuple[float, float] | None


@dataclasses.dataclass(frozen=True)
class PlausibilityRecord(Record):
    """Concept -> how plausible its swaps are."""

    plausibility: dict[str, PlausibleSwaps]


class PlausibilityAnalysis:
    """Compares how plausible swaps are with what judges of classes say of them."""

    record = PlausibilityRecord

    def measure(self, evidence: Evidence) -> PlausibilityRecord | None:
        swapped, interpreter = evidence.swapped, evidence.interpreter
        judges = {n: j for n, j in evidence.judges.items() if j.measure == "accuracy"}
        if swapped is None or not judges or interpreter.held_out is None:
            return None
        rows = np.arange(min(len(swapped.a), EDITED))
        images_a, images_b = (side.read(rows) for side in (swapped.a, swapped.b))
        z_a, z_b = interpreter.encode(images_a), interpreter.encode(images_b)
        factors = interpreter.translate(z_a), interpreter.translate(z_b)
        before = _is_unlikely(interpreter.plausibility(factors[0]))
        result = {}
        for concept in interpreter.layout.concepts:
            if not interpreter.layout[concept]:
                continue
            edited = interpreter.layout.swap(*factors, [concept])
            z = interpreter.untranslate(edited)
            decoded = interpreter.decode(z)
            good = np.ones(len(rows), bool)
            judged = np.zeros(len(rows), bool)
            for name, judge in judges.items():
                side = swapped.b if name == concept else swapped.a
                images = images_b if name == concept else images_a
                values = side.values[name][rows]
                known = known_rows(values)
                outputs = z if judge.looks_at == "z" else decoded
                right = _is_right(judge, outputs, images, values, known)
                if right is not None:
                    good[known] &= right
                    judged |= known
            unlikely = _is_unlikely(interpreter.plausibility(edited))
            density = np.asarray(interpreter.log_prob(z))
            area, interval = _area(-density[judged], ~good[judged], evidence.seed)
            result[concept] = PlausibleSwaps(
                int(judged.sum()),
                int((~good & judged).sum()),
                float(unlikely.mean()),
                float(before.mean()),
                area,
                interval,
            )
        return PlausibilityRecord(result)

    def section(self, record: PlausibilityRecord) -> Section:
        rows = []
        for name, swaps in record.plausibility.items():
            area = "-"
            if swaps.area is not None and swaps.interval is not None:
                low, high = swaps.interval
                area = f"{swaps.area:.2f} ({low:.2f} to {high:.2f})"
            rows.append(
                [
                    name,
                    f"{swaps.failed} of {swaps.edits}",
                    f"{100 * swaps.unlikely:.1f} %",
                    f"{100 * swaps.unlikely_unedited:.1f} %",
                    area,
                ]
            )
        head = ("swap of", "failed", "below 1 %", "before the swap", "area")
        return Section(
            "Edits that leave the data",
            [
                "How plausible an edit is: the tail probability of the whole latent's "
                "density among those of held-out images, on both sides. Below 1 % an "
                "edit leaves what T has seen."
            ],
            [Table(head, rows)],
            [
                "failed: a judge of classes disagrees with the swap. below 1 %: share "
                "of swaps whose whole latent is less plausible than that. area: under "
                "the curve (ROC) of the latent's density for telling failed swaps from "
                "good ones, with its 95 % interval; 0.5 is chance."
            ],
            findings=_findings(record),
        )


def _is_right(
    judge: Judge, outputs, images, values: np.ndarray, known: np.ndarray
) -> np.ndarray | None:
    """Whether a judge reads the expected class, of the entries with a known one.

    None for a judge that says nothing of single outputs.
    """
    target = judge.target(images[known], plain(values)[known])
    each = judge.each(np.asarray(outputs)[known], target)
    return None if each is None else np.asarray(each) > 0.5


def _is_unlikely(plausibility: Plausibility) -> np.ndarray:
    """Whether the tail probability of the whole latent is below 1 %, (B,).

    Those of the factors' norms are of their prior, and means of wide posteriors are
    nearer to 0 than draws from it.
    """
    return np.asarray(plausibility[WHOLE]) < UNLIKELY


def _area(
    score: np.ndarray, failed: np.ndarray, seed: int
) -> tuple[float | None, tuple[float, float] | None]:
    """Area under the curve of a score that should be higher for failed edits."""
    from sklearn.metrics import roc_auc_score

    if min(failed.sum(), (~failed).sum()) < FEWEST:
        return None, None
    rng = np.random.default_rng([seed, 0xA0C])
    areas = []
    for _ in range(RESAMPLED):
        rows = rng.integers(0, len(failed), len(failed))
        if 0 < failed[rows].sum() < len(rows):
            areas.append(roc_auc_score(failed[rows], score[rows]))
    low, high = np.quantile(areas, (0.025, 0.975))
    return float(roc_auc_score(failed, score)), (float(low), float(high))


def _findings(record: PlausibilityRecord) -> list[Finding]:
    known = {n: x for n, x in record.plausibility.items() if x.area is not None}
    findings = []
    for name, swaps in known.items():
        area = swaps.area or 0.0
        text = (
            f"How plausible a swap of {name} is tells failed ones from good ones with "
            f"an area of {area:.2f} under the curve (0.5 is chance)."
        )
        verdict = "holds" if area >= TELLS else "in part" if area >= HARDLY else "fails"
        findings.append(Finding(verdict, text))
    return findings
