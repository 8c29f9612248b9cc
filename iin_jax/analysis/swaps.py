"""Judged swaps: whether each transfers its concept and keeps all other attributes."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from iin_jax.analysis.base import Record, Values
from iin_jax.analysis.comparisons import (
    BASELINES,
    Difference,
    PairedImages,
    unbeaten_lines,
)
from iin_jax.analysis.judges import Judge, JudgeTest
from iin_jax.analysis.jury import Interval, JudgeInputs, Jury, OfSwap, Score, jury_of
from iin_jax.analysis.linear_edits import LinearEdits
from iin_jax.data.values import plain
from iin_jax.interpreter import Interpreter
from iin_jax.types import Array, Images, Latents


@dataclasses.dataclass(frozen=True)
class SwapRecord(Record):
    """Figures of swaps of every concept alone, by outside judges.

    Attributes:
      swap: concept -> figures; a figure is None if no judge reads the attribute, or no
        pair is left to judge.
      swap_counts: concept -> number of pairs behind each figure.
      swap_intervals: concept -> 95 % interval of each figure; None where a judge gives
        no figure per pair.
      floor: attribute -> figure of its judge on unedited reconstructions of a.
      floor_counts: attribute -> number of images behind that figure.
      measure: attribute -> measure of its judge, as in ``Judge.measure``.
      swap_pairs: number of pairs.
      unedited: as ``swap``, for images that no edit changed; None in scorecards of
        older versions.
      value_ranges: attribute -> least and greatest true value in the pairs, for
        attributes that are judged by an error; None in scorecards of older versions.
      floor_inputs: attribute -> figure of its judge on the input images; None if the
        network does not decode to images.
      linear: as ``swap``, for the linear edit; None without one.
      start: as ``swap``, for the linear start T_0 alone; None without one.
      compared: concept -> baseline -> attribute -> how much better T is; None without
        a baseline.
      unbeaten: one line for every concept and baseline where T is not ahead; None
        without a baseline.
      truth_l1: concept -> mean absolute errors in [0, 1] against the true result:
        ``edited``, ``linear``, ``unedited`` (the reconstruction of a) and
        ``reconstructed`` (that of the true result, which no edit is expected to beat);
        None without true results.
      judges: attribute -> what its judge is, and how well it reads unedited test
        images.
    """

    swap: dict[str, OfSwap[float | None]]
    swap_counts: dict[str, OfSwap[int]]
    swap_intervals: dict[str, OfSwap[Interval | None]]
    floor: dict[str, float | None]
    floor_counts: dict[str, int]
    measure: dict[str, str]
    swap_pairs: int
    unedited: dict[str, OfSwap[float | None]] | None = None
    value_ranges: dict[str, Interval] | None = None
    floor_inputs: dict[str, float | None] | None = None
    linear: dict[str, OfSwap[float | None]] | None = None
    start: dict[str, OfSwap[float | None]] | None = None
    compared: dict[str, dict[str, dict[str, Difference | None]]] | None = None
    unbeaten: list[str] | None = None
    truth_l1: dict[str, dict[str, float]] | None = None
    judges: dict[str, JudgeTest] | None = None


class _Edits:
    """Edits of one concept of the same images, in every way under comparison.

    Args:
      through: name of the edit -> the interpreter whose factors are swapped.
      z_a, z_b: latents of the two halves of n pairs, (n, N) or of the network's own
        shape.
      linear: linear edits of raw z; None: no such edit.
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
        """Latents of a after every edit.

        Args:
          concept: the concept to edit.
          rows: pairs that the linear edit may change, bool (n,); a swap changes all.
          values_a, values_b: attribute -> true values, as in ``evaluate_swaps``.

        Returns:
          Name of the edit -> edited latents.
        """
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
    """Swaps every concept alone and has the results judged.

    A swap is judged on the pairs whose two values of the concept are known, or on all
    pairs if the concept has no values. Transfer of a class is judged on those pairs in
    which the two classes differ; an attribute that should be kept, where a's value of
    it is known too. The expected value is the judge's ``target`` for the real image
    that it comes from.

    Args:
      interpreter: an interpreter with a network.
      images_a, images_b: the two halves of n pairs, (n, H, W, C) in [-1, 1]; a receives
        b's factor.
      values_a, values_b: attribute -> true values, (n,) or (n, d), masked or NaN where
        missing; for every attribute in ``judges``.
      judges: attribute -> judge.
      linear: linear edits of raw z, for comparison.
      truths: concept -> images that its swap should give, (n, H, W, C) in [-1, 1]; for
        networks that decode to images.
      start: interpreter of the linear start T_0 alone, for comparison.
      pictures: indices of the image in each half of a pair, (n,) each, for intervals
        that allow for pairs with an image in common; None: all images are different.

    Raises:
      ValueError: truths of another shape, for an unknown concept, or for a network that
        does not decode to images.
    """
    truths = truths or {}
    _check_truths(interpreter, truths, np.shape(images_a))
    jury = jury_of(images_a, images_b, values_a, values_b, judges)
    z_a, z_b = interpreter.encode(images_a), interpreter.encode(images_b)
    through = {"swap": interpreter} | ({} if start is None else {"start": start})
    edits = _Edits(through, z_a, z_b, linear)
    pairs = PairedImages(*(pictures or _all_different(len(images_a))))
    unedited = _judge_inputs(interpreter, z_a)
    verdicts: dict[str, dict[str, OfSwap[Score]]] = {}
    errors: dict[str, dict[str, float]] = {}
    for concept in interpreter.layout.concepts:
        edited = edits.of(concept, jury.rows(concept), values_a, values_b)
        inputs = {name: _judge_inputs(interpreter, z) for name, z in edited.items()}
        inputs["unedited"] = unedited
        verdicts[concept] = {n: jury.verdict(concept, x) for n, x in inputs.items()}
        if concept in truths:
            inputs.pop("start", None)
            errors[concept] = _truth_errors(interpreter, inputs, truths[concept])
    return dataclasses.replace(
        _recorded(verdicts, jury.unedited_scores(unedited), pairs, judges),
        truth_l1=errors or None,
        floor_inputs=_on_inputs(interpreter, jury, images_a),
        value_ranges=_value_ranges(jury, values_a, values_b),
    )


def _recorded(
    verdicts: Mapping[str, Mapping[str, OfSwap[Score]]],
    floor: Mapping[str, Score],
    images: PairedImages,
    judges: Mapping[str, Judge],
) -> SwapRecord:
    """The record of all verdicts, but for its fields on truths and input images.

    Args:
      verdicts: concept -> name of the edit -> scores.
      floor: attribute -> score of unedited images.
      images: the images of the pairs, for intervals.
      judges: attribute -> judge.
    """

    def column(edit: str, read) -> dict[str, OfSwap[Any]]:
        return {
            concept: OfSwap(
                read(by_edit[edit].transferred),
                {
                    name: read(score)
                    for name, score in by_edit[edit].others_kept.items()
                },
            )
            for concept, by_edit in verdicts.items()
            if edit in by_edit
        }

    measure = {name: judge.measure for name, judge in judges.items()}
    compared = {
        c: _compared(c, by_edit, images, judges) for c, by_edit in verdicts.items()
    }
    has_baseline = any(compared.values())
    return SwapRecord(
        swap=column("swap", lambda score: score.figure),
        swap_counts=column("swap", lambda score: score.count),  # equal for all edits
        swap_intervals=column("swap", lambda score: score.interval(images)),
        floor={name: score.figure for name, score in floor.items()},
        floor_counts={name: score.count for name, score in floor.items()},
        measure=measure,
        swap_pairs=len(images.first),
        unedited=column("unedited", lambda score: score.figure),
        linear=column("linear", lambda score: score.figure) or None,
        start=column("start", lambda score: score.figure) or None,
        compared=compared if has_baseline else None,
        unbeaten=unbeaten_lines(compared, measure) if has_baseline else None,
    )


def _on_inputs(
    interpreter: Interpreter, jury: Jury, images: Images
) -> dict[str, float | None] | None:
    """Figures of image judges on the input images; None unless f puts out images."""
    network = interpreter.network
    if network is None or network.output != "images":
        return None
    image_judges = {n: j for n, j in jury.judges.items() if j.looks_at == "output"}
    scores = dataclasses.replace(jury, judges=image_judges).unedited_scores(
        JudgeInputs(images, lambda: images)
    )
    return {name: score.figure for name, score in scores.items()}


def _value_ranges(jury: Jury, values_a: Values, values_b: Values) -> dict[str, Any]:
    """Attribute -> least and greatest known value, of those judged by an error."""
    ranges = {}
    for name, judge in jury.judges.items():
        sides = (values_a, jury.known_a), (values_b, jury.known_b)
        known = np.concatenate(
            [plain(values[name])[rows[name]] for values, rows in sides]
        )
        if judge.measure != "accuracy" and known.size:
            ranges[name] = (float(known.min()), float(known.max()))
    return ranges


def _truth_errors(
    interpreter: Interpreter, inputs: Mapping[str, JudgeInputs], truth: Images
) -> dict[str, float]:
    """The errors of one concept in ``SwapRecord.truth_l1``."""
    errors = {name: _l1(x.output, truth) for name, x in inputs.items()}
    reconstructed = _l1(interpreter.decode(interpreter.encode(truth)), truth)
    return {"edited": errors.pop("swap"), **errors, "reconstructed": reconstructed}


def _judge_inputs(interpreter: Interpreter, z: Latents) -> JudgeInputs:
    """Inputs of judges for latents z, decoded by the network at first use."""
    return JudgeInputs(z, lambda: interpreter.decode(z))


def _compared(
    concept: str,
    verdicts: Mapping[str, OfSwap[Score]],
    images: PairedImages,
    judges: Mapping[str, Judge],
) -> dict[str, dict[str, Difference | None]]:
    """Baseline -> attribute -> how much better the swap through T is."""
    through_flow = verdicts["swap"].of(concept)
    result: dict[str, dict[str, Difference | None]] = {}
    for baseline, verdict in verdicts.items():
        if baseline not in BASELINES:
            continue
        result[baseline] = {}
        for name, score in verdict.of(concept).items():
            edit = through_flow[name].each
            if name not in judges or score.each is None or edit is None:
                continue
            measure = judges[name].measure
            result[baseline][name] = images.difference(edit, score.each, measure)
    return result


def _all_different(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of pairs without an image in common."""
    return np.arange(count), count + np.arange(count)


def _moved(
    linear: LinearEdits,
    z_a: Array,
    concept: str,
    values_a: Values,
    values_b: Values,
    rows: np.ndarray,
) -> Array:
    """z after a linear edit of ``rows``; rows with an untrained class stay."""
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
    """Raises ValueError unless truths are images of ``shape`` for known concepts."""
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
