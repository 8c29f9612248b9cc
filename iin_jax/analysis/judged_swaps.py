"""Judged swaps of test images as a row of ``ANALYSES``, and their report section."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from iin_jax.analysis.base import Evidence, Section, Table, shown
from iin_jax.analysis.judges import JudgeTest
from iin_jax.analysis.linear_edits import LinearEdits
from iin_jax.analysis.swap_findings import between, reached, swap_findings
from iin_jax.analysis.swaps import SwapRecord, evaluate_swaps

# field of ``SwapRecord`` -> head of its column
EDITS = {
    "unedited": "no edit",
    "swap": "through T",
    "linear": "linear",
    "start": "T_0 alone",
}


class SwapAnalysis:
    """Swaps concepts on pairs of test images, through T, linearly and through T_0."""

    record = SwapRecord

    def measure(self, evidence: Evidence) -> SwapRecord | None:
        swapped, interpreter = evidence.swapped, evidence.interpreter
        if swapped is None:
            return None
        train, all_pairs = evidence.train, slice(None)
        concepts = interpreter.layout.concepts
        known = {n: train.values[n] for n in concepts if n in train.values}
        record = evaluate_swaps(
            interpreter,
            swapped.a.read(all_pairs),
            swapped.b.read(all_pairs),
            swapped.a.values,
            swapped.b.values,
            evidence.judges,
            linear=LinearEdits.fit(train.latents.mean, known),
            truths=swapped.truths,
            start=interpreter.without_flow() if interpreter.has_start else None,
            pictures=(swapped.a.picture, swapped.b.picture),
        )
        judges = {
            name: judge.tested() or JudgeTest(judge.kind, None, None)
            for name, judge in evidence.judges.items()
        }
        return dataclasses.replace(record, judges=judges)

    def section(self, record: SwapRecord) -> Section:
        text = (
            "A swap gives an image one factor of another image and leaves all other "
            f"factors as they are. On {record.swap_pairs} pairs of held-out images "
            "with unlike concepts, judges say whether the swapped concept became that "
            "of the other image (transferred) and every other attribute stayed (kept). "
            "A judge is a model or rule that reads one attribute and never saw T."
        )
        lines = [
            f"Swap of {concept} against the image that it should give, mean absolute "
            f"error of pixels in [0, 1]: {_errors_in_words(errors)}."
            for concept, errors in (record.truth_l1 or {}).items()
        ]
        return Section(
            "Judged edits",
            [text],
            [_table(record), _judges_table(record)],
            [*_legend(record), *lines],
            findings=swap_findings(record),
        )


def _legend(record: SwapRecord) -> list[str]:
    """Meaning of the table's columns and figures, one line for each."""
    shows_images = record.floor_inputs is not None
    lines = [
        "through T: share of right classes in per cent (higher is better), or mean "
        "absolute error in the attribute's own units, for colours the mean over R, G, "
        "B in [0, 1] (lower is better, beside the range of true values); 95 %: its "
        "interval.",
        "ceiling: the same judge on "
        + ("reconstructions without any edit" if shows_images else "unedited images")
        + ", so the best figure that an edit can be expected to have: the highest "
        "share right, or the lowest error.",
    ]
    if record.unedited is not None:
        lines += [
            "no edit: the same question about images that were not edited at all.",
            "reached: the figure through T on the way from nothing (0 %: the attribute "
            "reads as that of the wrong image) to the ceiling (100 %); a dash where a "
            "judge cannot tell both apart.",
        ]
    if shows_images:
        lines.append("inputs: the same judge on the input images themselves.")
    else:
        lines.append(
            "The network puts out no images, so judges read its logits, or z itself."
        )
    if record.linear is not None:
        lines.append(
            "linear: the same edit of raw z without T, by class means or ridge "
            "directions, which is given both true values."
        )
    if record.start is not None:
        lines.append("T_0 alone: the swap through the linear map from which T starts.")
    return lines


def _table(record: SwapRecord) -> Table:
    """A table with a row for every judged question and a column for every edit."""
    edits = {name: getattr(record, name) for name in EDITS}
    edits = {name: figures for name, figures in edits.items() if figures is not None}
    head = ["swap: question", "measure"]
    for name in edits:
        own = ["95 %", "reached"] if record.unedited is not None else ["95 %"]
        head += [EDITS[name], *(own if name == "swap" else [])]
    head.append("ceiling")
    head += [] if record.floor_inputs is None else ["inputs"]
    rows = [
        _row(record, edits, concept, name)
        for concept, figures in record.swap.items()
        for name in figures.of(concept)
        if name in record.measure
    ]
    return Table(head, rows)


def _row(record: SwapRecord, edits: Mapping, concept: str, name: str) -> list[str]:
    """Cells of one judged question, in the order of the table's head."""
    measure = record.measure[name]
    verb = "transferred" if name == concept else "kept"
    row = [f"{concept}: {name} {verb}", _unit(record, name)]
    for edit, by_concept in edits.items():
        figures = by_concept.get(concept)
        value = None if figures is None else figures.of(concept).get(name)
        row.append(shown(value, measure))
        if edit == "swap":
            interval = record.swap_intervals[concept].of(concept)[name]
            row.append(between(interval, measure))
            if record.unedited is not None:
                share = reached(record, concept, name)
                row.append("-" if share is None else f"{100 * share:.0f} %")
    row.append(shown(record.floor[name], measure))
    if record.floor_inputs is not None:
        row.append(shown(record.floor_inputs.get(name), measure))
    return row


def _judges_table(record: SwapRecord) -> Table:
    """A table with a row for every judge."""
    rows = []
    for name, test in (record.judges or {}).items():
        known = (test.held_out_accuracy, test.held_out_error)
        figure = next((x for x in known if x is not None), None)
        tested = "-" if figure is None else shown(figure, record.measure[name])
        rows.append([name, test.kind, _unit(record, name), tested])
    head = ["attribute", "its judge", "measure", "on unedited test images"]
    return Table(head if rows else (), rows)


def _unit(record: SwapRecord, name: str) -> str:
    """What a judge's figure counts, and for an error the range of the attribute."""
    if record.measure[name] == "accuracy":
        return "right ↑"
    low, high = (record.value_ranges or {}).get(name, (None, None))
    if low is None or high is None:
        return "error ↓"
    span = high - low
    decimals = max(0, 2 - int(np.floor(np.log10(span)))) if span > 0 else 3
    return f"error ↓; values {low:.{decimals}f} to {high:.{decimals}f}"


def _errors_in_words(errors: Mapping[str, float]) -> str:
    """The errors of one concept in ``SwapRecord.truth_l1`` as text."""
    linear = (
        f", {errors['linear']:.4f} by the linear edit" if "linear" in errors else ""
    )
    return (
        f"{errors['edited']:.4f} through T{linear}; {errors['unedited']:.4f} without "
        f"any edit, {errors['reconstructed']:.4f} where the network reconstructs that "
        "image itself"
    )
