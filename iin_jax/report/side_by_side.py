"""One page on what several classifiers use, from the records of their runs."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from iin_jax.analysis.base import Table
from iin_jax.analysis.usage import (
    VERDICTS,
    UsageRecord,
    Use,
    percent,
    sentence,
    use_of,
)
from iin_jax.files.whole import write_text
from iin_jax.report.html import environment

HEAD = ("concept", "network", "changed", "95 %", "rank", "p", "corrected", "use")
CLASSES_NOTE = (
    "Share of the images predicted as a class whose prediction changes with another "
    "image's value of the concept, and the corrected p of that class in brackets."
)


@dataclasses.dataclass(frozen=True)
class SideRecord:
    """One of the runs on the page.

    Attributes:
      name: of the run.
      settings: in which it differs from the others.
      report: address of its own report, relative to the page.
      usage: how its classifier responds.
    """

    name: str
    settings: Sequence[str]
    report: str
    usage: UsageRecord


def write_side_by_side(title: str, sides: Sequence[SideRecord], path: Path) -> Path:
    """Writes the page.

    Args:
      title: name of the experiment.
      sides: the runs, at least one.
      path: of the page.

    Returns:
      ``path``.

    Raises:
      OSError: it cannot be written.
    """
    concepts = {name: None for side in sides for name in side.usage.response}
    page = (
        environment()
        .get_template("side_by_side.html")
        .render(
            title=f"{title}: which network uses what",
            sides=sides,
            findings=[each for name in concepts for each in _findings(name, sides)],
            table=Table(HEAD, [row for name in concepts for row in _rows(name, sides)]),
            classes=[_classes(name, sides) for name in concepts],
            note=CLASSES_NOTE,
        )
    )
    write_text(path, page)
    return path


def _findings(concept: str, sides: Sequence[SideRecord]) -> list[tuple[str, Use, str]]:
    """What each network makes of a concept: a verdict's colours, the use, in words."""
    findings = []
    for side in sides:
        response = side.usage.response.get(concept)
        if response is not None:
            text = sentence(concept, response, f"the network of {side.name!r}")
            use = use_of(response)
            findings.append((VERDICTS[use], use, text))
    return findings


def _rows(concept: str, sides: Sequence[SideRecord]) -> list[list[str]]:
    rows = []
    for side in sides:
        response = side.usage.response.get(concept)
        if response is None:
            continue
        low, high = response.flips_interval
        rows.append(
            [
                concept,
                side.name,
                percent(response.flips),
                f"{percent(low)} to {percent(high)}",
                f"{response.rank:.2f}",
                f"{response.p_value:.4f}",
                f"{response.q_value:.4f}",
                use_of(response),
            ]
        )
    return rows


def _classes(concept: str, sides: Sequence[SideRecord]) -> Table:
    """One row per class, one column per network."""
    responses = [side.usage.response.get(concept) for side in sides]
    known = [each for each in responses if each is not None]
    rows = []
    for label in sorted({c for each in known for c in each.by_class}):
        cells = [f"class {label}"]
        for each in responses:
            found = None if each is None else each.by_class.get(label)
            if found is None or found.flips is None:
                cells.append("-")
            else:
                cells.append(f"{percent(found.flips)} ({found.q_value:.4f})")
        rows.append(cells)
    return Table((concept, *(side.name for side in sides)), rows)
