"""Judged swaps of test images as a row of ``ANALYSES``, and their report section."""

import dataclasses
from collections.abc import Mapping

from iin_jax.analysis.base import Evidence, Section, Table, shown
from iin_jax.analysis.linear_edits import LinearEdits
from iin_jax.analysis.swaps import Interval, SwapRecord, evaluate_swaps

# field of ``SwapRecord`` -> head of its column
EDITS = {"swap": "through T", "linear": "linear", "start": "T₀ alone"}


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
        tests = {name: judge.tested() for name, judge in evidence.judges.items()}
        judges = {name: test for name, test in tests.items() if test is not None}
        return dataclasses.replace(record, judges=judges)

    def section(self, record: SwapRecord) -> Section:
        text = (
            "Edits are judged by models that never saw the flow, on "
            f"{record.swap_pairs} pairs of held-out images with unlike concepts. "
            + _explained(record)
        )
        lines = [
            f"Swap of {concept} against the image that it should give, mean absolute "
            f"error in [0, 1]: {_errors_in_words(errors)}."
            for concept, errors in (record.truth_l1 or {}).items()
        ]
        notes = [
            f"Judge of {name}: {test.kind}, right on "
            f"{100 * test.held_out_accuracy:.2f} % of the unedited test images."
            for name, test in (record.judges or {}).items()
            if test.held_out_accuracy is not None
        ]
        return Section(
            "Judged edits",
            [text],
            [_table(record)],
            [*notes, *lines],
            lead=_lead(record),
        )


def _explained(record: SwapRecord) -> str:
    """Meaning of the table's columns and figures."""
    if record.floor_inputs is not None:
        text = (
            "The column floor has the figures of the same judge on unedited "
            "reconstructions, the column inputs those on the input images."
        )
    else:
        text = (
            "The network does not decode to images, so judges read its logits, or z "
            "itself. The column floor has the figures of the same judge on unedited "
            "images."
        )
    if record.linear is not None:
        text += (
            " The column linear has the same edit of raw z without T, by class means "
            "or ridge directions, which is given both true values."
        )
    return text + (
        " Classes are scored by accuracy in per cent (higher is better), real values "
        "by mean absolute error, colours by its mean over R, G, B in [0, 1] (lower is "
        "better)."
    )


def _table(record: SwapRecord) -> Table:
    """A table with a row for every judged question and a column for every edit."""
    edits = {name: getattr(record, name) for name in EDITS}
    edits = {name: figures for name, figures in edits.items() if figures is not None}
    head = ["edit", "question", EDITS["swap"], "95 %"]
    head += [EDITS[name] for name in edits if name != "swap"] + ["floor"]
    head += [] if record.floor_inputs is None else ["inputs"]
    rows = []
    for concept, figures in record.swap.items():
        intervals = record.swap_intervals[concept].of(concept)
        for name, figure in figures.of(concept).items():
            if name not in record.measure:
                continue
            measure = record.measure[name]
            verb = "transferred" if name == concept else "kept"
            row = [f"swap {concept}", f"{name} {verb}", shown(figure, measure)]
            row.append(_between(intervals[name], measure))
            for edit in edits:
                if edit != "swap":
                    edited = edits[edit].get(concept)
                    value = None if edited is None else edited.of(concept).get(name)
                    row.append(shown(value, measure))
            row.append(shown(record.floor[name], measure))
            if record.floor_inputs is not None:
                row.append(shown(record.floor_inputs.get(name), measure))
            rows.append(row)
    return Table(head, rows)


def _between(interval: Interval | None, measure: str) -> str:
    """Both bounds of an interval as text."""
    if interval is None:
        return "-"
    return " to ".join(shown(bound, measure) for bound in interval)


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


def _lead(record: SwapRecord) -> list[str]:
    """Lines on whether T beats simpler edits, for the top of the report."""
    if record.unbeaten is None:
        return []
    if record.unbeaten:
        return [
            "T does not beat a simpler edit everywhere (differences on the same pairs, "
            "with 95 % intervals that allow for pairs with an image in common):",
            *record.unbeaten,
        ]
    start = "" if record.start is None else " and than the linear start T₀ alone"
    return [
        "For every concept T transfers more, and keeps more of all others, than the "
        f"linear edit (which is given both true values){start}, with intervals above "
        "zero."
    ]
