"""Do swaps transfer what they should, and keep the rest?"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from iin_jax.analysis.base import Record, Values
from iin_jax.analysis.comparisons import (
    Difference,
    PairedImages,
    unbeaten_lines,
)
from iin_jax.analysis.judges import Judge, JudgeTest
from iin_jax.analysis.linear_edits import LinearEdits
from iin_jax.data.values import known_rows, plain
from iin_jax.interpreter import Interpreter
from iin_jax.types import Array, Images, Latents

V = TypeVar("V")
Interval = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class OfSwap(Generic[V]):
    """Something said of one concept's swap.

    Attributes:
      transferred: of the concept itself.
      others_kept: attribute -> of what should stay.
    """

    transferred: V
    others_kept: dict[str, V]

    def of(self, concept: str) -> dict[str, V]:
        """Attribute -> what is said; the concept first."""
        return {concept: self.transferred, **self.others_kept}


@dataclasses.dataclass(frozen=True)
class SwapRecord(Record):
    """What judges say of swaps of every concept alone.

    Attributes:
      swap: concept -> figures; None if no judge reads it, or no pair is left.
      swap_counts: the same with the number of pairs of every figure.
      swap_intervals: the same with 95 % intervals; None where a judge gives none.
      floor: attribute -> figure of the judges on plain reconstructions of a.
      floor_counts: the same with the number of images.
      measure: attribute -> name of the measure.
      swap_pairs: number of pairs.
      floor_inputs: ``floor`` on the pictures themselves; None without pictures.
      linear: as ``swap``, of the linear edit; None without one.
      start: as ``swap``, of the linear start alone; None without one.
      compared: concept -> baseline -> attribute -> how much better T is.
      unbeaten: one line for every baseline that T does not beat.
      truth_l1: concept -> mean absolute errors in [0, 1] against the true result:
        ``edited``, ``linear``, ``unedited`` (the reconstruction of a) and
        ``reconstructed`` (of the true result, which no edit is expected to beat).
      judges: attribute -> how its judge does on unedited test pictures.
    """

    swap: dict[str, OfSwap[float | None]]
    swap_counts: dict[str, OfSwap[int]]
    swap_intervals: dict[str, OfSwap[Interval | None]]
    floor: dict[str, float | None]
    floor_counts: dict[str, int]
    measure: dict[str, str]
    swap_pairs: int
    floor_inputs: dict[str, float | None] | None = None
    linear: dict[str, OfSwap[float | None]] | None = None
    start: dict[str, OfSwap[float | None]] | None = None
    compared: dict[str, dict[str, dict[str, Difference | None]]] | None = None
    unbeaten: list[str] | None = None
    truth_l1: dict[str, dict[str, float]] | None = None
    judges: dict[str, JudgeTest] | None = None


class _Score(NamedTuple):
    """A figure (None if no pair is left), its number of pairs, and every pair's own.

    ``each`` is (n,), NaN where a pair was not judged; None if the judge gives none.
    """

    figure: float | None
    count: int
    each: np.ndarray | None

    def interval(self, images: PairedImages) -> Interval | None:
        """95 %, from pairs that share images."""
        if self.each is None or not self.count:
            return None
        return images.interval(self.each)


class _Seen:
    """What judges look at: latents z, or what these are decoded to, made when needed.

    Args:
      z: (n, N), or of the network's own shape.
      decoded: gives the output.
    """

    def __init__(self, z: Latents, decoded: Callable[[], Array]):
        self.z, self.decoded = np.asarray(z).reshape(len(z), -1), decoded

    @functools.cached_property
    def output(self) -> Array:
        return self.decoded()

    def by(self, judge: Judge) -> Array:
        """What this judge is shown."""
        return self.z if judge.looks_at == "z" else self.output


@dataclasses.dataclass(frozen=True, eq=False)
class _Jury:
    """Judges, what they expect of either side of n pairs, and where it is known."""

    judges: Mapping[str, Judge]
    targets_a: Values
    targets_b: Values
    known_a: Values
    known_b: Values
    count: int

    def rows(self, concept: str) -> np.ndarray:
        """Pairs of which a swap can be judged: both values are known, (n,)."""
        if concept not in self.known_a:
            return np.ones(self.count, bool)
        return self.known_a[concept] & self.known_b[concept]

    def verdict(self, concept: str, seen: _Seen) -> OfSwap[_Score]:
        """Figures of one swap, and what they stand on."""
        rows, judge = self.rows(concept), self.judges.get(concept)
        transferred = _Score(None, 0, None)
        if judge is not None:
            wanted, unlike = self.targets_b[concept], rows
            if judge.measure == "accuracy":  # a class that both have proves nothing
                unlike = rows & (np.asarray(self.targets_a[concept]) != wanted)
            transferred = _score(judge, seen.by(judge), wanted, unlike)
        kept = {}
        for name, other in self.judges.items():
            if name != concept:
                known = rows & self.known_a[name]
                kept[name] = _score(other, seen.by(other), self.targets_a[name], known)
        return OfSwap(transferred, kept)

    def plain_scores(self, seen: _Seen) -> dict[str, _Score]:
        """Attribute -> score of unedited images."""
        return {
            name: _score(
                judge, seen.by(judge), self.targets_a[name], self.known_a[name]
            )
            for name, judge in self.judges.items()
        }


class _Edits:
    """Every way to change one concept of the same images.

    Args:
      through: name of the edit -> the interpreter whose factors are swapped.
      z_a, z_b: latents of both halves of each pair.
      linear: makes the same edits on raw z; None: nobody does.
    """

    def __init__(
        self,
        through: Mapping[str, Interpreter],
        z_a: Latents,
        z_b: Latents,
        linear: LinearEdits | None,
    ):
        self.through, self.linear, self.z_a = through, linear, z_a
        self.translated = {
            name: (interpreter.translate(z_a), interpreter.translate(z_b))
            for name, interpreter in through.items()
        }

    def of(
        self, concept: str, rows: np.ndarray, values_a: Values, values_b: Values
    ) -> dict[str, Latents]:
        """Name of the edit -> edited latents; the linear one changes only ``rows``."""
        edited = {}
        for name, interpreter in self.through.items():
            swapped = interpreter.layout.swap(*self.translated[name], [concept])
            edited[name] = interpreter.untranslate(swapped)
        if self.linear is not None and concept in self.linear.moves:
            values = values_a, values_b
            edited["linear"] = _moved(self.linear, self.z_a, concept, *values, rows)
        return edited


def evaluate_swaps(
    interpreter: Interpreter,
    images_a: Images,
    images_b: Images,
    values_a: Values,
    values_b: Values,
    judges: Mapping[str, Judge],
    *,
    linear: LinearEdits | None = None,
    truths: Mapping[str, Images] | None = None,
    start: Interpreter | None = None,
    pictures: tuple[np.ndarray, np.ndarray] | None = None,
) -> SwapRecord:
    """Swaps every concept alone, and lets the judges look.

    A swap of a concept is judged on the pairs whose two values of it are known (all, if
    it has no values), and whether a class was transferred on those in which the two
    differ; what it should keep, where a's value is known too. Expected is
    what ``Judge.target`` says of the real image that the value comes from.

    Args:
      interpreter: with a network.
      images_a, images_b: (n, H, W, C) in [-1, 1]; a receives b's factor.
      values_a, values_b: attribute -> true values, (n,) or (n, d); masked or NaN where
        they are missing.
      judges: attribute -> judge.
      linear: makes the same edits on raw z, for comparison.
      truths: concept -> what its swap should give, (n, H, W, C) in [-1, 1], where that
        can be made: for networks that decode to images.
      start: the linear start alone, for comparison.
      pictures: which image each a and each b is of, (n,) each, for the intervals; None:
        all are different.

    Raises:
      ValueError: truths of another shape, of no concept, or for a network that does not
        decode to images.
    """
    truths = truths or {}
    _check_truths(interpreter, truths, np.shape(images_a))
    jury = _jury(images_a, images_b, values_a, values_b, judges)
    z_a, z_b = interpreter.encode(images_a), interpreter.encode(images_b)
    through = {"swap": interpreter} | ({} if start is None else {"start": start})
    edits = _Edits(through, z_a, z_b, linear)
    pairs = PairedImages(*(pictures or _all_different(len(images_a))))
    unedited = _seen(interpreter, z_a)
    verdicts: dict[str, dict[str, OfSwap[_Score]]] = {}
    errors: dict[str, dict[str, float]] = {}
    for concept in interpreter.layout.concepts:
        edited = edits.of(concept, jury.rows(concept), values_a, values_b)
        seen = {name: _seen(interpreter, z) for name, z in edited.items()}
        verdicts[concept] = {name: jury.verdict(concept, x) for name, x in seen.items()}
        if concept in truths:
            seen.pop("start", None)
            compared = {**seen, "unedited": unedited}
            errors[concept] = _truth_errors(interpreter, compared, truths[concept])
    return dataclasses.replace(
        _recorded(verdicts, jury.plain_scores(unedited), pairs, judges),
        truth_l1=errors or None,
        floor_inputs=_on_pictures(interpreter, jury, images_a),
    )


def _recorded(
    verdicts: Mapping[str, Mapping[str, OfSwap[_Score]]],
    floor: Mapping[str, _Score],
    images: PairedImages,
    judges: Mapping[str, Judge],
) -> SwapRecord:
    """Concept -> edit -> verdict, as a record."""

    def column(edit: str, read) -> dict[str, OfSwap[Any]]:
        return {
            concept: OfSwap(
                read(found[edit].transferred),
                {name: read(score) for name, score in found[edit].others_kept.items()},
            )
            for concept, found in verdicts.items()
            if edit in found
        }

    measure = {name: judge.measure for name, judge in judges.items()}
    compared = {c: _compared(c, found, images, judges) for c, found in verdicts.items()}
    against = any(compared.values())
    return SwapRecord(
        swap=column("swap", lambda score: score.figure),
        swap_counts=column("swap", lambda score: score.count),  # the same of all edits
        swap_intervals=column("swap", lambda score: score.interval(images)),
        floor={name: score.figure for name, score in floor.items()},
        floor_counts={name: score.count for name, score in floor.items()},
        measure=measure,
        swap_pairs=len(images.first),
        linear=column("linear", lambda score: score.figure) or None,
        start=column("start", lambda score: score.figure) or None,
        compared=compared if against else None,
        unbeaten=unbeaten_lines(compared, measure) if against else None,
    )


def _on_pictures(
    interpreter: Interpreter, jury: _Jury, images: Images
) -> dict[str, float | None] | None:
    """Figures of judges of pictures on the input pictures; None if there are none."""
    network = interpreter.network
    if network is None or network.output != "images":
        return None
    looking = {n: j for n, j in jury.judges.items() if j.looks_at == "output"}
    scores = dataclasses.replace(jury, judges=looking).plain_scores(
        _Seen(images, lambda: images)
    )
    return {name: score.figure for name, score in scores.items()}


def _truth_errors(
    interpreter: Interpreter, seen: Mapping[str, _Seen], truth: Images
) -> dict[str, float]:
    errors = {name: _l1(each.output, truth) for name, each in seen.items()}
    again = interpreter.decode(interpreter.encode(truth))
    return {"edited": errors.pop("swap"), **errors, "reconstructed": _l1(again, truth)}


def _seen(interpreter: Interpreter, z: Latents) -> _Seen:
    return _Seen(z, lambda: interpreter.decode(z))


def _jury(images_a, images_b, values_a: Values, values_b: Values, judges) -> _Jury:
    return _Jury(
        judges,
        {name: judges[name].target(images_a, plain(values_a[name])) for name in judges},
        {name: judges[name].target(images_b, plain(values_b[name])) for name in judges},
        {name: known_rows(values) for name, values in values_a.items()},
        {name: known_rows(values) for name, values in values_b.items()},
        len(images_a),
    )


def _score(
    judge: Judge, outputs: Array, expected: np.ndarray, rows: np.ndarray
) -> _Score:
    """A figure on the chosen rows, None if there is none, and what it stands on."""
    count = int(rows.sum())
    if count == 0:
        return _Score(None, 0, None)
    if count < len(rows):
        outputs, expected = np.asarray(outputs)[rows], expected[rows]
    each = judge.each(outputs, expected)
    if each is None:
        return _Score(judge.score(outputs, expected), count, None)
    every = np.full(len(rows), np.nan)
    every[rows] = each
    return _Score(float(each.mean()), count, every)


def _compared(
    concept: str,
    verdicts: Mapping[str, OfSwap[_Score]],
    images: PairedImages,
    judges: Mapping[str, Judge],
) -> dict[str, dict[str, Difference | None]]:
    """baseline -> attribute -> how much better T is."""
    ours = verdicts["swap"].of(concept)
    result: dict[str, dict[str, Difference | None]] = {}
    for baseline, verdict in verdicts.items():
        if baseline == "swap":
            continue
        result[baseline] = {}
        for name, score in verdict.of(concept).items():
            mine = ours[name].each
            if name not in judges or score.each is None or mine is None:
                continue
            measure = judges[name].measure
            result[baseline][name] = images.difference(mine, score.each, measure)
    return result


def _all_different(count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(count), count + np.arange(count)


def _moved(
    linear: LinearEdits,
    z_a: Array,
    concept: str,
    values_a: Values,
    values_b: Values,
    rows: np.ndarray,
) -> Array:
    """z after the linear edit; rows of unknown values or classes stay as they are."""
    z = np.array(z_a)
    value_a, value_b = (plain(values[concept]) for values in (values_a, values_b))
    knows = linear.moves[concept].knows
    rows = rows & knows(value_a) & knows(value_b)
    if rows.any():
        z[rows] = linear.edit(z[rows], concept, value_a[rows], value_b[rows])
    return z


def _l1(images: Array, truth: Images) -> float:
    """Mean absolute difference of images in [-1, 1], in units of [0, 1]."""
    return float(np.abs(np.asarray(images) - np.asarray(truth)).mean(dtype=float) / 2.0)


def _check_truths(
    interpreter: Interpreter, truths: Mapping[str, Images], shape: tuple[int, ...]
) -> None:
    network = interpreter.network
    for concept, images in truths.items():
        if concept not in interpreter.layout.concepts:
            raise ValueError(
                f"truths are given for {concept!r}, but the concepts are "
                f"{list(interpreter.layout.concepts)}"
            )
        if network is None or network.output != "images":
            raise ValueError(
                "truths are images that a swap should give; this network decodes to "
                "none"
            )
        if np.shape(images) != shape:
            raise ValueError(
                f"the truths of {concept!r} have shape {np.shape(images)}; expected "
                f"{shape}, one for every pair"
            )
