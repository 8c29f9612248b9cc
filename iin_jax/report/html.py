"""One self-contained HTML file: pictures inside, no network needed."""

import base64
import dataclasses
import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jinja2
import numpy as np
from matplotlib.figure import Figure

from iin_jax.analysis import Examples, sections
from iin_jax.analysis.embedding import EmbeddingAnalysis
from iin_jax.files.machine import versions
from iin_jax.files.whole import whole_file, write_text
from iin_jax.fit import TOLERANCE
from iin_jax.interpreter import Interpreter
from iin_jax.report import figures as draw
from iin_jax.types import Images

DPI = 110


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """What a report tells of the run beside its pictures; all of it optional.

    Attributes:
      title: headline.
      command: how the run was started.
      curves: stage -> lines of metrics.
    """

    title: str = "Interpretation"
    command: str | None = None
    curves: Mapping[str, Sequence[Mapping[str, float]]] = dataclasses.field(
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
    """Draws the report of an interpreter on some images and writes it as one file.

    Args:
      interpreter: with a network.
      images: (n, H, W, C) in [-1, 1], n >= 2, best held out and in random order.
      labels: attribute -> (n,) classes or real values, or (n, 3) colours in [0, 1].
      path: of the HTML file.
      scorecard: as ``iin_jax.score`` or a run's ``scorecard.json`` gives it; every
        analysis in it has a section.
      record: title, curves and command of the run.
      figures_folder: where the pictures go as PNG files too; None: nowhere.

    Returns:
      The path of the report.

    Raises:
      ValueError: fewer than two images, or labels of another length.
    """
    _check(images, labels)
    card, record = dict(scorecard or {}), record or RunRecord()
    if "embedding" not in card:
        card |= _maps(interpreter, images, labels)
    shown = sections(card)
    drawn = _all_figures(interpreter, images, card, record)
    drawn |= {name: fig for section in shown for name, fig in section.figures.items()}
    pngs = {name: _png(figure) for name, figure in drawn.items()}
    if figures_folder is not None:
        _write_figures(Path(figures_folder), pngs)
    template = jinja2.Environment(
        loader=jinja2.PackageLoader("iin_jax.report", "templates"), autoescape=True
    ).get_template("report.html")
    page = template.render(
        record=record,
        card=card,
        sections=shown,
        sizes=interpreter.layout.as_dict(),
        concepts=interpreter.layout.concepts,
        count=len(images),
        figures={n: base64.b64encode(png).decode() for n, png in pngs.items()},
        tolerance=TOLERANCE,
        versions=versions(),
        device=str(jax.devices()[0].device_kind),
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page)
    return path


def _check(images: Images, labels: Mapping[str, np.ndarray]) -> None:
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
    """Maps of these images, where no scorecard has any."""
    if interpreter.network is None:
        raise ValueError("a report needs a network: attach one with with_network")
    examples = Examples.of(interpreter.network, images, labels)
    record = EmbeddingAnalysis().mapped(interpreter, examples)
    return {} if record is None else record.entries()


def _write_figures(folder: Path, pngs: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, png in pngs.items():
        safe = re.sub(r"[^\w.-]", "_", name)
        with whole_file(folder / f"{safe}.png") as unfinished:
            unfinished.write_bytes(png)


def _all_figures(
    interpreter: Interpreter, images: Images, card: Mapping[str, Any], record: RunRecord
) -> dict[str, Figure]:
    result = {
        "sizes": draw.sizes_and_scores(
            interpreter.layout.as_dict(),
            card.get("scores"),
            card.get("score_intervals"),
            card.get("score_null"),
        )
    }
    for stage, lines in record.curves.items():
        result[f"loss_{stage}"] = draw.loss_curves(lines, stage)
    if interpreter.network is not None and interpreter.network.output == "images":
        result |= _edit_figures(interpreter, images)
        result |= _generated_figures(interpreter, images)
    return result


def _edit_figures(interpreter, images) -> dict[str, Figure]:
    result = {}
    count = min(10, len(images) // 2)
    rows, columns = images[:count], images[count : 2 * count]
    for name in interpreter.layout.names:
        if not interpreter.layout[name]:
            continue
        few = min(6, count)
        result[f"swap_{name}"] = draw.swap_grid(interpreter, rows, columns, name)
        result[f"interpolate_{name}"] = draw.interpolations(
            interpreter, rows[:few], columns[:few], name
        )
        result[f"sample_{name}"] = draw.samples(
            interpreter, columns[:few], name, jax.random.key(0)
        )
    return result


def _generated_figures(interpreter, images) -> dict[str, Figure]:
    draws = jax.random.normal(jax.random.key(1), (40, interpreter.layout.dim))
    through, without = (
        draw.generated(z, interpreter, title)
        for z, title in (
            (interpreter.untranslate(draws), "z through T from a standard normal"),
            (draws, "z itself from a standard normal, without T"),
        )
    )
    return {
        "reconstructions": draw.reconstructions(interpreter, images[:20]),
        "generated": through,
        "generated_without": without,
    }


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()
