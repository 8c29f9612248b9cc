"""Walks from one sketch's value of a concept to the other's, on test images."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from iin_jax.analysis.base import (
    Evidence,
    Examples,
    Finding,
    Record,
    Section,
    Table,
    Values,
    shown,
)
from iin_jax.analysis.comparisons import PairedImages
from iin_jax.analysis.judges import Judge
from iin_jax.analysis.strokes import bending, stroke_width, texture
from iin_jax.concepts.sketches.entries import AS_IT_IS, LIKE_A, LIKE_B
from iin_jax.data.values import is_color, known_rows, plain
from iin_jax.interpreter import Interpreter
from iin_jax.types import Array, Images, Latents

STEPS = 9  # points of a walk, both ends included
WALKED = 1000  # most test images
SCALED = 200  # training images by which the mean difference is scaled
SCALES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)  # lengths of the mean difference
LEAST_MEASURED = 3  # fewest images that are not blank
RESAMPLED = 500  # bootstrap samples behind an interval
MONOTONE = 0.9  # least median rank correlation of a walk that is monotone
MEASURES = {
    "stroke width": stroke_width,
    "bending of outlines": bending,
    "texture": texture,
}

Interval = tuple[float, float]
Measures = Mapping[str, Callable[[Images], np.ndarray]]
Way = Callable[[Latents, float], Array]  # latents and a point in [0, 1] -> edited ones


@dataclasses.dataclass(frozen=True)
class Measured:
    """One measure along the walks of n images.

    Attributes:
      medians: its median at every point.
      rank_correlation: median over images of Spearman's correlation with the point,
        positive in the direction in which the stylised images differ.
      interval: 95 % interval of that median.
      change: mean difference of both ends, in that direction, in standard deviations of
        the measure over plain test images.
    """

    medians: list[float]
    rank_correlation: float
    interval: Interval
    change: float


@dataclasses.dataclass(frozen=True)
class Walk:
    """The walks of one way to edit.

    Attributes:
      measures: name of a measure -> what it says.
      kept: attribute -> the judge's figure at a's end and at b's end.
      kept_intervals: attribute -> the 95 % intervals of both.
    """

    measures: dict[str, Measured]
    kept: dict[str, tuple[float, float]]
    kept_intervals: dict[str, tuple[Interval, Interval] | None]


@dataclasses.dataclass(frozen=True)
class SketchWalks:
    """Walks of one concept from sketches.

    Attributes:
      images: number of test images.
      factor: walks through T, along the factor.
      linear: walks of raw z along the mean difference of stylised latents.
      scale: length of that difference with which the leading measure changes as
        through T, on training images.
      unedited: attribute -> the judge's figure on plain reconstructions.
      measure: attribute -> the judge's measure.
      ends: the factor's mean over training images like a, and like b.
    """

    images: int
    factor: Walk
    linear: Walk
    scale: float
    unedited: dict[str, float]
    measure: dict[str, str]
    ends: list[list[float]]


@dataclasses.dataclass(frozen=True)
class WalkRecord(Record):
    """Concept -> its walks."""

    walks: dict[str, SketchWalks]


class WalksAnalysis:
    """Walks along concepts from sketches; networks that put out images alone."""

    record = WalkRecord

    def measure(self, evidence: Evidence) -> WalkRecord | None:
        if evidence.network.output != "images":
            return None
        walks = {
            name: _walks(evidence, name)
            for name in evidence.interpreter.layout.concepts
            if evidence.interpreter.layout[name] and _is_sketched(evidence.test, name)
        }
        return WalkRecord(walks) if walks else None

    def section(self, record: WalkRecord) -> Section:
        tables, findings = [], []
        for name, walks in record.walks.items():
            tables.append(_table(name, walks))
            findings.append(_finding(name, walks))
        return Section(
            "Walks from one sketch to the other",
            [
                f"Test images go in {STEPS} points from the value that training images "
                "in the manner of the first sketch have to that of the second, all "
                "other factors kept. Beside it, z itself goes along the mean "
                "difference of these training images, as far as gives the same change."
            ],
            tables,
            [
                "change: mean difference of both ends, in standard deviations of the "
                "measure over test images. Rank correlation: Spearman's, of the "
                "measure with the point of the walk; its median over images with its "
                "95 % interval (bootstrap). An attribute's two figures are those of "
                "its judge at the first and the last point."
            ],
            findings=findings,
        )


def _is_sketched(examples: Examples, name: str) -> bool:
    """Whether an attribute says in which manner images are."""
    if name not in examples.values:
        return False
    named = np.unique(np.ma.getdata(examples.named(name, np.arange(len(examples)))))
    return set(named.tolist()) == {AS_IT_IS, LIKE_A, LIKE_B}


def _walks(evidence: Evidence, name: str) -> SketchWalks:
    interpreter, train, test = evidence.interpreter, evidence.train, evidence.test
    rows = _in_manner(test, name, AS_IT_IS)
    rng = np.random.default_rng([evidence.seed, 0x3A1C])
    rows = np.sort(rng.permutation(rows)[:WALKED])
    z = test.latents.mean[rows]
    means = {
        manner: train.latents.mean[_in_manner(train, name, manner)].mean(axis=0)
        for manner in (AS_IT_IS, LIKE_A, LIKE_B)
    }
    ends = _ends(interpreter, train, name)
    plain_images = interpreter.decode(z)
    spread = _spread(_measures(test), plain_images)
    measures = {measure: MEASURES[measure] for measure in spread}
    expected = {
        measure: _expected_sign(measures[measure], test, name, rng)
        for measure in measures
    }
    way = along_factor(interpreter, name, ends)
    seen = _in_manner(train, name, AS_IT_IS)
    seen = train.latents.mean[np.sort(rng.permutation(seen)[:SCALED])]

    def along_difference(scale: float) -> Way:
        shift = [scale * (means[m] - means[AS_IT_IS]) for m in (LIKE_A, LIKE_B)]
        return lambda z, t: z + (1.0 - t) * shift[0] + t * shift[1]

    scale = _matching_scale(interpreter, seen, way, along_difference, measures, spread)
    judges = {n: judge for n, judge in evidence.judges.items() if n != name}
    values = {n: test.values[n][rows] for n in judges}
    judged = _Judged(judges, test.read(rows), values)
    walked = _Walked(interpreter, z, measures, spread, expected, judged)
    return SketchWalks(
        images=len(rows),
        factor=walked.along(way),
        linear=walked.along(along_difference(scale)),
        scale=scale,
        unedited={n: judged.read(n, plain_images)[0] for n in judges},
        measure={n: judge.measure for n, judge in judges.items()},
        ends=[end.tolist() for end in ends],
    )


class _Judged(NamedTuple):
    """Judges of real images with known values."""

    judges: Mapping[str, Judge]
    images: Images
    values: Values

    def read(self, name: str, outputs: Array) -> tuple[float, Interval | None]:
        """A judge's figure where the value is known, and its 95 % interval."""
        judge, values = self.judges[name], self.values[name]
        known = known_rows(values)
        target = judge.target(self.images[known], plain(values)[known])
        outputs = np.asarray(outputs)[known]
        each = judge.each(outputs, target)
        if each is None:
            return float(judge.score(outputs, target)), None
        alone = PairedImages(np.arange(len(each)), len(each) + np.arange(len(each)))
        share = judge.measure == "accuracy"
        interval = alone.share_interval(each) if share else alone.interval(each)
        return float(each.mean()), interval


class _Walked(NamedTuple):
    """Test images that walk, and what is measured of them."""

    interpreter: Interpreter
    z: Latents
    measures: Measures
    spread: Mapping[str, float]
    expected: Mapping[str, float]
    judged: _Judged

    def along(self, way: Way) -> Walk:
        """What every measure and judge says along one way."""
        values: dict[str, list[np.ndarray]] = {name: [] for name in self.measures}
        at_ends = []
        for point in range(STEPS):
            edited = way(self.z, point / (STEPS - 1))
            decoded = np.asarray(self.interpreter.decode(edited))
            for name, of in self.measures.items():
                values[name].append(of(decoded))
            if point in (0, STEPS - 1):
                at_ends.append(decoded)
        kept, intervals = {}, {}
        for name in self.judged.judges:
            (first, low), (last, high) = (self.judged.read(name, x) for x in at_ends)
            kept[name] = (first, last)
            intervals[name] = None if low is None or high is None else (low, high)
        measured = {}
        for name, rows in values.items():
            known = ~np.isnan(rows).any(axis=0)
            if known.sum() >= LEAST_MEASURED:
                walked = np.stack(rows)[:, known]
                scale = self.spread[name], self.expected[name]
                measured[name] = _summary(walked, *scale)
        return Walk(measured, kept, intervals)


def _in_manner(examples: Examples, name: str, manner: str) -> np.ndarray:
    """Indices of the entries in a manner."""
    everything = np.arange(len(examples))
    return np.flatnonzero(np.ma.getdata(examples.named(name, everything)) == manner)


def _ends(interpreter: Interpreter, train: Examples, name: str) -> list[np.ndarray]:
    """Mean of the factor over training entries like a, and like b."""
    parts = []
    for manner in (LIKE_A, LIKE_B):
        z = train.latents.mean[_in_manner(train, name, manner)]
        parts.append(np.asarray(interpreter.to_factors(z)[name]).mean(axis=0))
    return parts


def along_factor(interpreter: Interpreter, name: str, ends: Sequence[Array]) -> Way:
    """A walk through T, in which a factor goes from one value to another.

    Args:
      interpreter: T and its layout.
      name: the factor.
      ends: its values at 0 and at 1, (N_k,) each.

    Returns:
      A function of latents (B, N) and a point in [0, 1] that gives edited latents.
    """

    def edited(z: Latents, t: float) -> Array:
        value = (1.0 - t) * np.asarray(ends[0]) + t * np.asarray(ends[1])
        return interpreter.from_factors({**interpreter.to_factors(z), name: value})

    return edited


def _measures(test: Examples) -> Measures:
    """What is measured of grey images, and of such in one colour each."""
    grey = test.network.channels == 1
    painted = any(is_color(values) for values in test.values.values())
    return MEASURES if grey or painted else {}


def _spread(measures: Measures, images: Array) -> dict[str, float]:
    """Standard deviation of every measure that most images have, over the images."""
    result = {}
    for name, of in measures.items():
        values = of(images)
        known = ~np.isnan(values)
        values = values[known]
        if len(values) >= max(LEAST_MEASURED, len(known) / 2) and values.std() > 0.0:
            result[name] = float(values.std())
    return result


def _expected_sign(of, test: Examples, name: str, rng: np.random.Generator) -> float:
    """Direction in which stylised test images differ in a measure: b less a."""
    means = []
    for manner in (LIKE_A, LIKE_B):
        rows = rng.permutation(_in_manner(test, name, manner))[:SCALED]
        means.append(np.nanmean(of(test.read(np.sort(rows)))))
    return 1.0 if means[1] >= means[0] else -1.0


def _matching_scale(
    interpreter: Interpreter,
    z: Latents,
    way: Way,
    along: Callable[[float], Way],
    measures: Measures,
    spread: Mapping[str, float],
) -> float:
    """Length of the mean difference that changes the leading measure as a walk does."""
    if not measures:
        return 1.0

    def change(of, edit) -> float:
        ends = [of(interpreter.decode(edit(z, t))) for t in (0.0, 1.0)]
        differences = np.nan_to_num(ends[1] - ends[0])  # blank: no change
        return float(differences.mean())

    wanted = {name: change(of, way) for name, of in measures.items()}
    leading = max(wanted, key=lambda name: abs(wanted[name]) / spread[name])
    reached = np.array([change(measures[leading], along(s)) for s in SCALES])
    reached *= np.sign(wanted[leading])
    reached = np.maximum.accumulate(reached)
    return float(np.interp(abs(wanted[leading]), reached, SCALES))


def _summary(values: np.ndarray, spread: float, sign: float) -> Measured:
    """A measure (steps, n) along walks."""
    values = sign * values
    each = _rank_correlations(values)
    rng = np.random.default_rng(0)
    draws = np.median(rng.choice(each, (RESAMPLED, len(each))), axis=1)
    low, high = np.quantile(draws, (0.025, 0.975))
    return Measured(
        [float(x) for x in np.median(sign * values, axis=1)],
        float(np.median(each)),
        (float(low), float(high)),
        float((values[-1] - values[0]).mean() / spread),
    )


def _rank_correlations(values: np.ndarray) -> np.ndarray:
    """Spearman's correlation of every column with its row's number; 0 if constant."""
    from scipy.stats import rankdata

    ranks = rankdata(values, axis=0)
    ranks -= ranks.mean(axis=0)
    place = np.arange(len(values)) - (len(values) - 1) / 2
    norm = np.sqrt(np.square(ranks).sum(axis=0) * np.square(place).sum())
    return place @ ranks / np.where(norm == 0.0, 1.0, norm)


def _table(name: str, walks: SketchWalks) -> Table:
    head = (f"{name}, {walks.images} images", "through T", "mean difference of z")
    rows = []
    for measure, through in walks.factor.measures.items():
        if measure not in walks.linear.measures:
            continue
        pair = (through, walks.linear.measures[measure])
        rows.append([f"{measure}: change", *(f"{each.change:+.2f}" for each in pair)])
        rows.append(
            [
                f"{measure}: rank correlation",
                *(
                    f"{e.rank_correlation:.2f} ({e.interval[0]:.2f} to "
                    f"{e.interval[1]:.2f})"
                    for e in pair
                ),
            ]
        )
    for attribute, measure in walks.measure.items():
        cells = [
            " / ".join(shown(figure, measure) for figure in walk.kept[attribute])
            for walk in (walks.factor, walks.linear)
        ]
        plain_figure = shown(walks.unedited[attribute], measure)
        rows.append([f"{attribute} kept (unedited {plain_figure})", *cells])
    return Table(head, rows)


def _finding(name: str, walks: SketchWalks) -> Finding:
    measures = walks.factor.measures
    if not measures:
        return Finding(
            "open", f"Walks of {name}: no measure of strokes applies to these images."
        )
    leading = max(measures, key=lambda measure: abs(measures[measure].change))
    best = measures[leading]
    rank = best.rank_correlation
    text = (
        f"From one sketch to the other, {leading} changes by {best.change:.2f} "
        f"standard deviations, with a median rank correlation of {rank:.2f} "
        f"({best.interval[0]:.2f} to {best.interval[1]:.2f}) over the walk."
    )
    good = best.rank_correlation >= MONOTONE and best.change >= 1.0
    partly = best.rank_correlation > 0.5
    return Finding("holds" if good else "in part" if partly else "fails", text)
