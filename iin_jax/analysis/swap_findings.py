"""Verdicts on judged swaps: how much of what a judge can tell an edit reaches."""

from collections.abc import Sequence

from iin_jax.analysis.base import Finding, Verdict, shown, verdict_of
from iin_jax.analysis.swaps import Interval, SwapRecord

LEAST_READ = 0.5  # least share of a perfect answer that a judge itself must reach
SEVERITY: tuple[Verdict, ...] = ("fails", "in part", "open", "holds")
OUTCOMES: dict[Verdict, str] = {
    "fails": "Swaps of {} between images fail.",
    "in part": "Swaps of {} between images work in part.",
    "open": "Whether swaps of {} between images work cannot be told by the judges.",
    "holds": "Swaps of {} between images work.",
}
SCALE = (
    " In per cent: how far a swap comes from no effect to what a judge reads from "
    "unedited images, its ceiling; at least 80 % holds, less than 50 % fails. A judge "
    "reads one attribute and never saw T."
)


def reached(record: SwapRecord, concept: str, name: str) -> float | None:
    """How much of what its judge can tell a swap through T reaches.

    Args:
      record: judged swaps.
      concept: the swapped concept.
      name: the attribute that is asked about.

    Returns:
      0 where ``name`` reads as if the wrong image had it (that of a for the swapped
      concept, that of b for any other), 1 at its judge's ceiling; None if one of these
      is not known or the judge cannot tell both apart.
    """
    figure = record.swap[concept].of(concept).get(name)
    best, wrong = record.floor.get(name), wrong_figure(record, name)
    if figure is None or best is None or wrong is None:
        return None
    perfect = 1.0 if record.measure[name] == "accuracy" else 0.0
    readable = (best - wrong) / (perfect - wrong) if perfect != wrong else 0.0
    return (figure - wrong) / (best - wrong) if readable >= LEAST_READ else None


def wrong_figure(record: SwapRecord, name: str) -> float | None:
    """The figure of a judge where unedited images should have another image's value.

    It is what a swap starts from, and what is left of an attribute that is not kept.
    """
    unedited = (record.unedited or {}).get(name)
    return None if unedited is None else unedited.transferred


def swap_findings(record: SwapRecord) -> list[Finding]:
    """A finding for every verdict on swaps, and one on T beside simpler edits."""
    groups: dict[Verdict, list[str]] = {verdict: [] for verdict in SEVERITY}
    for concept in record.swap if record.unedited is not None else ():
        groups[_verdict(record, concept)].append(concept)
    findings = []
    for verdict, concepts in groups.items():
        if concepts:
            text = OUTCOMES[verdict].format(listed(concepts))
            text += "" if findings else SCALE  # explained once, where it first stands
            lines = [_line(record, concept) for concept in concepts]
            findings.append(Finding(verdict, text, lines))
    return findings + _beside_simpler_edits(record)


def listed(names: Sequence[str]) -> str:
    """Names as text: a, b and c."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def between(interval: Interval | None, measure: str) -> str:
    """Both bounds of an interval as text; shares stay in [0, 1]."""
    if interval is None:
        return "-"
    if measure == "accuracy":
        interval = (max(interval[0], 0.0), min(interval[1], 1.0))
    return " to ".join(shown(bound, measure) for bound in interval)


def _verdict(record: SwapRecord, concept: str) -> Verdict:
    """The worst verdict on any question about the swap of a concept."""
    shares = [reached(record, concept, name) for name in _asked(record, concept)]
    verdicts: list[Verdict] = ["open" if x is None else verdict_of(x) for x in shares]
    return min(verdicts, key=SEVERITY.index)


def _asked(record: SwapRecord, concept: str) -> list[str]:
    """Attributes about which the swap of a concept is asked; the concept is first."""
    kept = [name for name in record.swap[concept].others_kept if name in record.measure]
    return [concept, *kept]


def _line(record: SwapRecord, concept: str) -> str:
    """The transfer of a concept, and the other attribute that is kept worst."""
    first, *others = _asked(record, concept)
    line = f"{first}: transferred {_in_words(record, concept, first)}"
    shares = {name: reached(record, concept, name) for name in others}
    known = {name: x for name, x in shares.items() if x is not None}
    if known:
        worst = min(known, key=lambda name: known[name])
        which = f"{worst} is kept" if len(others) == 1 else f"{worst} is kept least,"
        line += f"; {which} {_in_words(record, concept, worst)}"
    unsettled = [name for name in others if name not in known]
    if unsettled:
        line += f"; whether it keeps {listed(unsettled)} cannot be told"
    return line


def _in_words(record: SwapRecord, concept: str, name: str) -> str:
    """One answer: the share that is reached, and the figures that it stands on."""
    share, measure = reached(record, concept, name), record.measure.get(name)
    if measure is None:
        return "by a share that no judge can tell"
    kind = "right" if measure == "accuracy" else "error"
    start = "no edit" if name == concept else "if swapped too"
    figure = shown(record.swap[concept].of(concept)[name], measure)
    interval = between(record.swap_intervals[concept].of(concept)[name], measure)
    wrong = shown(wrong_figure(record, name), measure)
    best = shown(record.floor[name], measure)
    percent = (
        "by a share that no judge can tell" if share is None else f"{100 * share:.0f} %"
    )
    return (
        f"{percent} ({kind} {figure}, 95 % interval {interval}; {start} {wrong}, "
        f"ceiling {best})"
    )


def _beside_simpler_edits(record: SwapRecord) -> list[Finding]:
    """Whether T beats simpler edits, by differences on the same pairs."""
    if record.unbeaten is None:
        return []
    start = "" if record.start is None else " and than T_0 alone"
    if not record.unbeaten:
        return [
            Finding(
                "holds",
                "For every concept T transfers more, and keeps more of all others, "
                f"than the linear edit (which is given both true values){start}, with "
                "intervals above zero.",
            )
        ]
    differences = [
        difference
        for by_baseline in (record.compared or {}).values()
        for by_name in by_baseline.values()
        for difference in by_name.values()
        if difference is not None
    ]
    text = (
        "T does not beat a simpler edit everywhere (differences on the same pairs, "
        "with 95 % intervals that allow for pairs with an image in common; the linear "
        "edit moves raw z and is given both true values, T_0 is the linear map from "
        "which T starts):"
    )
    ahead = any(difference.is_ahead for difference in differences)
    return [Finding("in part" if ahead else "fails", text, record.unbeaten)]
