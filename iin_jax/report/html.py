"""The report as one self-contained HTML file, with its figures inside."""

import base64
import collections
import dataclasses
import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jinja2
import numpy as np

from iin_jax.analysis import Examples, sections
from iin_jax.analysis.base import Finding, Section
from iin_jax.analysis.embedding import EmbeddingAnalysis
from iin_jax.analysis.pair_scores import score_meaning
from iin_jax.data.values import label_columns
from iin_jax.files.machine import versions
from iin_jax.files.paths import local_path
from iin_jax.files.whole import whole_file, write_text
from iin_jax.interpreter import Interpreter
from iin_jax.report import facts
from iin_jax.report import figures as draw
from iin_jax.types import Images

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 110  # resolution of the figures, in pixels per inch
# names are drawn as they are written: a dollar sign begins no formula
MARKS = {"fails": "✗", "in part": "~", "open": "?", "holds": "✓"}
LITERAL: Any = {"text.parse_math": False, "text.usetex": False}


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """Facts on a run that its report shows beside the scorecard.

    Attributes:
      title: headline of the report.
      command: command line that started the run; None: not shown.
      curves: stage of training -> lines of metrics, as in ``loss_curves``.
      data: name of the images; None: not said.
      grids: name -> title and grid of images (r, c, H, W, C) in [-1, 1], for figures of
        pictures that the report does not make.
    """

    title: str = "Interpretation"
    command: str | None = None
    curves: Mapping[str, Sequence[Mapping[str, float]]] = dataclasses.field(
        default_factory=dict
    )
    data: str | None = None
    grids: Mapping[str, tuple[str, np.ndarray]] = dataclasses.field(
        default_factory=dict
    )


def write(
    interpreter: Interpreter,
    images: Images,
    labels: Mapping[str, np.ndarray],
    path: str | os.PathLike,
    *,
    scorecard: Mapping[str, Any] | None = None,
    record: RunRecord | None = None,
    figures_folder: str | os.PathLike | None = None,
) -> Path:
    """Draws the report of an interpreter and writes it as one HTML file.

    Args:
      interpreter: an interpreter with a network.
      images: images for the figures, (n, H, W, C) in [-1, 1], n >= 2, preferably held
        out and in random order.
      labels: attribute -> classes or real values (n,), or colours (n, 3) in [0, 1], in
        any form that ``analysis.Examples.of`` takes.
      path: path of the HTML file; missing folders are made.
      scorecard: result of ``iin_jax.score``, or a run's ``scorecard.json``; every
        analysis in it gets a section. Without maps in it, maps of ``images`` are drawn.
      record: title, curves and command of the run.
      figures_folder: folder for the figures as PNG files; None: no such files.

    Returns:
      The path of the report.

    Raises:
      ValueError: fewer than two images, no labels, labels of another length than the
        images, or an interpreter without a network.
      OSError: the report or a figure cannot be written.
    """
    import matplotlib

    labels = label_columns(labels, "attribute")
    _check(images, labels)
    card, record = dict(scorecard or {}), record or RunRecord()
    if "embedding" not in card:
        card |= _maps(interpreter, images, labels)
    with matplotlib.rc_context(LITERAL):  # drawing, too, makes texts
        parts = sections(card)
        figures = _all_figures(interpreter, images, card, record)
        figures |= {name: fig for part in parts for name, fig in part.figures.items()}
        pngs = {name: _png(figure) for name, figure in figures.items()}
    alts = {name: _alt(name, figure) for name, figure in figures.items()}
    if figures_folder is not None:
        _write_figures(local_path(figures_folder), pngs)
    page = _page(interpreter, card, record, parts, len(images), alts, pngs)
    path = local_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page)
    return path


def _page(
    interpreter: Interpreter,
    card: Mapping[str, Any],
    record: RunRecord,
    parts: Sequence[Section],
    count: int,
    alts: Mapping[str, str],
    pngs: Mapping[str, bytes],
) -> str:
    """The page as text, with ``count`` images behind its figures."""
    layout, network = interpreter.layout, interpreter.network
    findings = facts.all_findings(parts, card)
    placed = {name for part in parts for name in part.grids}
    return (
        environment()
        .get_template("report.html")
        .render(
            title=record.title,
            record=record,
            card=card,
            sections=parts,
            unplaced=[name for name in record.grids if name not in placed],
            findings=findings,
            summary=_summary(findings),
            marks=MARKS,
            introduction=facts.introduction(interpreter, record.data),
            shows_edits=network is not None and network.output == "images",
            sizes=layout.as_dict(),
            dim=layout.dim,
            meaning=_meaning(card),
            concepts=layout.concepts,
            count=count,
            kept=facts.kept_state(card.get("training") or {}),
            origin=facts.origin(
                {"device": jax.devices()[0].device_kind, **card},
                card.get("versions") or versions(),
            ),
            figures={
                name: {"png": base64.b64encode(png).decode(), "alt": alts[name]}
                for name, png in pngs.items()
            },
        )
    )


def environment() -> jinja2.Environment:
    """Where the templates of pages are."""
    templates = jinja2.PackageLoader("iin_jax.report", "templates")
    result = jinja2.Environment(loader=templates, autoescape=True)
    result.tests["figure"] = _is_figure
    return result


def _summary(findings: Sequence[Finding]) -> str:
    """How many findings have which verdict."""
    counts = collections.Counter(finding.verdict for finding in findings)
    return ", ".join(f"{counts[v]} {v}" for v in MARKS if counts[v]) + "."


def _meaning(card: Mapping[str, Any]) -> str | None:
    """What the scores beside the sizes are; None if they are of no known estimator.

    Scores beside given sizes are those of one of the estimates.
    """
    estimator, estimates = card.get("estimator"), card.get("estimates") or {}
    if estimator == "given":
        same = (n for n, x in estimates.items() if x["scores"] == card.get("scores"))
        estimator = next(same, None)
    return None if estimator in (None, "none") else score_meaning(estimator)


def _is_figure(cell: str) -> bool:
    """Whether a table's cell is a number, with a unit or an interval, or a dash."""
    return re.match(r"[-+]?\d|-$", cell) is not None


def _alt(name: str, figure: "Figure") -> str:
    """What a figure shows, for readers who do not see it."""
    return figure.get_suptitle() or name.replace("_", " ")


def _check(images: Images, labels: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError unless there are two images with labels for each."""
    if len(images) < 2:
        raise ValueError(f"a report needs at least two images; got {len(images)}")
    if not labels:
        raise ValueError("a report needs labels: a dictionary attribute -> values")
    for name, values in labels.items():
        if len(values) != len(images):
            raise ValueError(
                f"attribute {name!r} has {len(values)} labels for {len(images)} images"
            )


def _maps(
    interpreter: Interpreter, images: Images, labels: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Maps of the factors as entries of a scorecard; empty if none can be drawn."""
    if interpreter.network is None:
        raise ValueError("a report needs a network: attach one with with_network")
    examples = Examples.of(interpreter.network, images, labels)
    record = EmbeddingAnalysis().mapped(interpreter, examples)
    return {} if record is None else record.entries()


def _write_figures(folder: Path, pngs: Mapping[str, bytes]) -> None:
    """Writes every figure to a PNG file of its name."""
    folder.mkdir(parents=True, exist_ok=True)
    taken: set[str] = set()
    for name, png in pngs.items():
        safe = stem = re.sub(r"[^\w.-]", "_", name)
        while safe.casefold() in taken:
            safe = f"{stem}_{len(taken)}"
        taken.add(safe.casefold())
        with whole_file(folder / f"{safe}.png") as unfinished:
            unfinished.write_bytes(png)


def _all_figures(
    interpreter: Interpreter, images: Images, card: Mapping[str, Any], record: RunRecord
) -> dict[str, "Figure"]:
    """Name -> figure, but for the figures of the scorecard's sections."""
    result = {
        "sizes": draw.sizes_and_scores(
            interpreter.layout.as_dict(),
            card.get("scores"),
            card.get("score_intervals"),
            card.get("score_null"),
        )
    }
    for stage, lines in record.curves.items():
        kept = (card.get("training") or {}).get("step") if stage == "flow" else None
        result[f"loss_{stage}"] = draw.loss_curves(lines, stage, kept)
    if interpreter.network is not None and interpreter.network.output == "images":
        result |= _edit_figures(interpreter, images)
        result |= _generated_figures(interpreter, images)
        if not interpreter.layout.concepts:
            result |= _unlabelled_figures(interpreter, images)
        for name, walk in (card.get("walks") or {}).items():
            drawn = draw.walks(interpreter, images[:8], name, walk["ends"])
            result[f"walk_{name}"] = drawn
    for name, (title, cells) in record.grids.items():
        result[name] = draw.mosaic(cells, title)
    return result


def _edit_figures(interpreter, images) -> dict[str, "Figure"]:
    """Swaps, interpolations and samples of every factor that is not empty."""
    result = {}
    count = min(10, len(images) // 2)
    rows, columns = images[:count], images[count : 2 * count]
    for name in interpreter.layout.names:
        if not interpreter.layout[name]:
            continue
        row_count = min(6, count)
        result[f"swap_{name}"] = draw.swap_grid(interpreter, rows, columns, name)
        result[f"interpolate_{name}"] = draw.interpolations(
            interpreter, rows[:row_count], columns[:row_count], name
        )
        result[f"sample_{name}"] = draw.samples(
            interpreter, columns[:row_count], name, jax.random.key(0)
        )
    return result


def _generated_figures(interpreter, images) -> dict[str, "Figure"]:
    """Reconstructions, and samples with and without T."""
    draws = jax.random.normal(jax.random.key(1), (40, interpreter.layout.dim))
    with_flow, without_flow = (
        draw.generated(z, interpreter, title)
        for z, title in (
            (
                interpreter.untranslate(draws),
                "samples: standard normal factors mapped to z by T",
            ),
            (draws, "samples without T: standard normal z"),
        )
    )
    return {
        "reconstructions": draw.reconstructions(interpreter, images[:20]),
        "generated": with_flow,
        "generated_without": without_flow,
    }


def _unlabelled_figures(interpreter, images) -> dict[str, "Figure"]:
    """What one sees of a T that was trained without concepts."""
    (name,) = interpreter.layout.names
    return {
        f"axes_{name}": draw.axes(interpreter, images, name),
        "nearest": draw.nearest(interpreter, images, jax.random.key(2)),
    }


def _png(figure: "Figure") -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()
