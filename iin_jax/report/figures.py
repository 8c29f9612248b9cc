"""Figures of a report: grids of edited images, sizes and loss curves."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from iin_jax.analysis.base import new_figure
from iin_jax.analysis.marks import LINES, SAFE_COLORS
from iin_jax.analysis.plausible import UNLIKELY
from iin_jax.analysis.walks import along_factor
from iin_jax.directions import WHOLE
from iin_jax.interpreter import Interpreter
from iin_jax.types import Array, Images, Key

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AXES = 6  # most principal directions of a figure
REACH = np.linspace(-3.0, 3.0, 9)  # how far an image goes, in standard deviations
CELL = 0.62  # side of an image in a grid, in inches
BLANK = np.nan  # pixels of a cell that stays white
TITLE = 11  # size of titles, in points
CURVES = {  # entry of a line of metrics -> what its curve shows
    "loss": "training images",
    "validation_loss": "held-out images",
    "bits_per_dim": "training images",
    "validation_bits_per_dim": "held-out images",
    "gaussian_bits_per_dim": "Gaussian fitted to z",
}


def swap_grid(
    interpreter: Interpreter, rows: Images, columns: Images, name: str
) -> "Figure":
    """A grid of swaps: a factor of the row's image in the image of the column.

    Args:
      interpreter: an interpreter whose network decodes to images.
      rows, columns: images at the heads of the rows and columns, (r, H, W, C) and
        (c, H, W, C) in [-1, 1].
      name: the swapped factor.
    """
    r, c = len(rows), len(columns)
    donors = jnp.repeat(jnp.asarray(rows), c, axis=0)
    receivers = jnp.tile(jnp.asarray(columns), (r, 1, 1, 1))
    edited = interpreter.swap(receivers, donors, [name], plausibility=True)
    cells = np.asarray(edited.output)
    cells = cells.reshape(r, c, *cells.shape[1:])
    unlikely = np.zeros((r + 1, c + 1), bool)
    if WHOLE in edited.plausibility:
        marked = np.asarray(edited.plausibility[WHOLE]) < UNLIKELY
        unlikely[1:, 1:] = marked.reshape(r, c)
    blank = np.full((1, 1, *cells.shape[2:]), BLANK)
    head = np.concatenate([blank, np.asarray(columns)[None]], axis=1)
    body = np.concatenate([np.asarray(rows)[:, None], cells], axis=1)
    cells, gaps = np.concatenate([head, body]), {"row_gaps": [1], "column_gaps": [1]}
    figure = _mosaic(cells, **gaps, marked=unlikely)
    title = f"{name} of the row, all other factors of the column"
    if unlikely.any():
        title += "; framed: leaves what T has seen (below 1 %)"
    figure.suptitle(title, fontsize=TITLE)
    return figure


def interpolations(
    interpreter: Interpreter, starts: Images, ends: Images, name: str, steps: int = 8
) -> "Figure":
    """A row per pair: the start, images in which one factor moves, and the end.

    Args:
      interpreter: an interpreter whose network decodes to images.
      starts, ends: images (n, H, W, C) in [-1, 1], the first and last column.
      name: the factor that moves.
      steps: number of images along the path.
    """
    path = np.asarray(interpreter.interpolate(starts, ends, [name], steps=steps))
    rows = np.swapaxes(path, 0, 1)
    sides = (np.asarray(x)[:, None] for x in (starts, ends))
    rows = np.concatenate([next(sides), rows, next(sides)], axis=1)
    figure = _mosaic(rows, column_gaps=[1, steps + 1])
    title = f"{name} moves from that of the first column to that of the last"
    figure.suptitle(title, fontsize=TITLE)
    return figure


def walks(
    interpreter: Interpreter, images: Images, name: str, ends: Array, steps: int = 9
) -> "Figure":
    """A row per image, which comes first, whose factor goes from one value to another.

    Args:
      interpreter: an interpreter whose network decodes to images.
      images: (n, H, W, C) in [-1, 1].
      name: the factor that moves.
      ends: the factor's value in the first and in the last column, (2, N_k).
      steps: number of images along the way.
    """
    z, way = (
        interpreter.encode(images),
        along_factor(interpreter, name, (ends[0], ends[1])),
    )
    points = np.linspace(0.0, 1.0, steps)
    moved = [np.asarray(interpreter.decode(way(z, float(t)))) for t in points]
    rows = [np.asarray(images), *moved]
    figure = _mosaic(np.stack(rows, axis=1), column_gaps=[1])
    title = f"{name} from that of the first sketch to that of the second"
    figure.suptitle(title, fontsize=TITLE)
    return figure


def axes(interpreter: Interpreter, images: Images, name: str) -> "Figure":
    """A row per principal direction of a factor: one image on its way along it.

    Args:
      interpreter: an interpreter whose network decodes to images.
      images: (n, H, W, C) in [-1, 1]; the first one goes.
      name: the factor.
    """
    count = min(AXES, interpreter.layout[name], len(images) - 1)
    found = interpreter.axes(name, images, count=count)
    part = np.asarray(interpreter.to_factors(interpreter.encode(images))[name])
    spread = np.sqrt(part.var(axis=0).sum() * np.asarray(found.explained))
    rows = [
        np.asarray(interpreter.move(images[:1], way, REACH * length))[:, 0]
        for way, length in zip(found.directions, spread, strict=True)
    ]
    figure = _mosaic(np.stack(rows))
    shares = ", ".join(f"{100 * float(x):.0f} %" for x in found.explained)
    title = f"along the leading axes of {name}, which explain {shares} of its variance"
    figure.suptitle(title, fontsize=TITLE)
    return figure


def nearest(interpreter: Interpreter, images: Images, key: Key) -> "Figure":
    """Samples, each above the image whose pixels are nearest to it.

    Args:
      interpreter: an interpreter whose network decodes to images.
      images: (n, H, W, C) in [-1, 1], among which the nearest is looked for.
      key: key of the samples.
    """
    draws = jax.random.normal(key, (10, interpreter.layout.dim))
    drawn = np.asarray(interpreter.decode(interpreter.untranslate(draws)))
    real = np.asarray(images)
    distance = [np.square(real - each).sum(axis=(1, 2, 3)) for each in drawn]
    below = real[np.argmin(distance, axis=1)]
    return mosaic(np.stack([drawn, below]), "samples, each above the nearest image")


def mosaic(cells: np.ndarray, title: str) -> "Figure":
    """A titled grid of images (r, c, H, W, C) in [-1, 1]; NaN stays white."""
    figure = _mosaic(cells)
    figure.suptitle(title, fontsize=TITLE)
    return figure


def samples(
    interpreter: Interpreter, images: Images, name: str, key: Key, count: int = 8
) -> "Figure":
    """A row per image, which comes first, with draws of one factor, the others fixed.

    Args:
      interpreter: an interpreter whose network decodes to images.
      images: (n, H, W, C) in [-1, 1].
      name: the factor that is drawn from its prior, N(0, 1).
      key: key of the draws.
      count: number of draws per image.
    """
    drawn = np.asarray(interpreter.sample(images, [name], key, count=count))
    first = np.asarray(images)[:, None]
    rows = np.concatenate([first, np.swapaxes(drawn, 0, 1)], axis=1)
    figure = _mosaic(rows, column_gaps=[1])
    title = f"{name} drawn from N(0, 1), all other factors of the first column"
    figure.suptitle(title, fontsize=TITLE)
    return figure


def reconstructions(interpreter: Interpreter, images: Images) -> "Figure":
    """Rows of ten images (n, H, W, C) in [-1, 1], each above its reconstructions."""
    decoded = np.asarray(interpreter.decode(interpreter.encode(images)))
    per_row = 10
    blank = np.full((-len(images) % per_row, *decoded.shape[1:]), BLANK)
    rows = [
        np.concatenate([part, blank]).reshape(-1, per_row, *decoded.shape[1:])
        for part in (np.asarray(images), decoded)
    ]
    cells = np.stack(rows, axis=1).reshape(-1, *rows[0].shape[1:])
    figure = _mosaic(cells, row_gaps=range(2, len(cells), 2))
    figure.suptitle("images, each with its reconstruction below", fontsize=TITLE)
    return figure


def generated(z: Array, interpreter: Interpreter, title: str) -> "Figure":
    """Images decoded from latents, in rows of ten; an incomplete row is left out.

    Args:
      z: latents (n, N), n >= 10.
      interpreter: an interpreter whose network decodes to images.
      title: headline of the figure.
    """
    images = np.asarray(interpreter.decode(z))
    figure = _mosaic(
        images[: len(images) // 10 * 10].reshape(-1, 10, *images.shape[1:])
    )
    figure.suptitle(title, fontsize=TITLE)
    return figure


def sizes_and_scores(
    sizes: Mapping[str, int],
    scores: Mapping[str, float] | None = None,
    intervals: Mapping[str, Sequence[float]] | None = None,
    null: Mapping[str, Sequence[float]] | None = None,
) -> "Figure":
    """Bars of the factors' sizes, and of the concepts' scores if they are known.

    Args:
      sizes: factor -> number of dimensions.
      scores: concept -> score of its pairs.
      intervals: concept -> bounds of the score's 95 % interval.
      null: concept -> bounds that hold 95 % of the scores of random pairs.
    """
    height = 1.5 + 0.25 * len(sizes)
    figure = new_figure(6.4, height)
    left, right = figure.subplots(1, 2)
    bars = left.barh(list(sizes), list(sizes.values()), color="0.6")
    left.bar_label(bars, fontsize=8, padding=2)
    left.margins(x=0.15)
    left.set_title("size of each factor", fontsize=TITLE)
    left.set_xlabel("numbers of z", fontsize=8)
    if scores is None:
        right.axis("off")
    else:
        handles = _score_bars(right, scores, intervals, null)
        figure.legend(handles=handles, loc="outside lower right", ncols=3, fontsize=8)
    for axis in (left, right):
        axis.invert_yaxis()
        axis.tick_params(labelsize=8)
    return figure


def _score_bars(axis: "Axes", scores, intervals, null) -> list[Any]:
    """Bars of scores with their intervals, as ``sizes_and_scores``; legend handles."""
    names = list(scores)
    values = np.array([scores[name] for name in names])
    handles: list[Any] = [axis.barh(names, values, color="0.8", label="score")]
    if intervals is not None:
        low, high = np.array([intervals[name] for name in names]).T
        errors = np.maximum([values - low, high - values], 0)
        style: dict[str, Any] = {"fmt": "none", "ecolor": "black", "capsize": 4}
        label = "its 95 % interval"
        handles.append(axis.errorbar(values, names, xerr=errors, label=label, **style))
    if null is not None:
        low, high = np.array([null[name] for name in names]).T
        style = {"color": SAFE_COLORS[3], "lw": 5, "alpha": 0.8}
        axis.plot(low, names, "|", color=SAFE_COLORS[3], ms=12)  # shows one of no width
        label = "paired at random, 95 %"
        handles.append(axis.hlines(names, low, high, label=label, **style))
    axis.set_title("score of each concept", fontsize=TITLE)
    axis.use_sticky_edges = False  # room for marks at 0
    return handles


def loss_curves(
    lines: Sequence[Mapping[str, float]], title: str, kept: int | None = None
) -> "Figure":
    """Curves of the loss over training steps.

    The first panel has losses in nats. A flow has a second one, in bits per dimension
    of z, with those of a Gaussian fitted to z, which the flow should stay below: the
    loss is the negative logarithm of a density, so it may be negative and its value
    alone says little.

    Args:
      lines: lines of metrics, each with ``step``.
      title: headline of the panels.
      kept: the step whose state was kept, which gets a vertical line; None: no line.
    """
    panels: list[tuple[str, tuple[str, ...]]] = [("nats", ("loss", "validation_loss"))]
    if any("gaussian_bits_per_dim" in line for line in lines):
        names = ("bits_per_dim", "validation_bits_per_dim", "gaussian_bits_per_dim")
        panels.append(("bits per dimension", names))
    figure = new_figure(3.8 * len(panels), 2.8)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (unit, names) in zip(axes, panels, strict=True):
        for index, name in enumerate(names):
            points = [(line["step"], line[name]) for line in lines if name in line]
            if points:
                axis.plot(
                    *zip(*points, strict=True),
                    label=CURVES[name],
                    color=SAFE_COLORS[index],
                    ls=LINES[index],
                    marker="." if len(points) < 3 else "",
                    lw=1.3,
                )
        if kept is not None:
            axis.axvline(kept, color="0.4", ls=":", lw=1.3, label="state that was kept")
        axis.set_title(title, fontsize=TITLE)
        axis.set_xlabel("step of training", fontsize=9)
        axis.set_ylabel(unit, fontsize=9)
        axis.tick_params(labelsize=8)
        axis.legend(fontsize=8)
    return figure


def _mosaic(
    cells: np.ndarray,
    *,
    row_gaps: Sequence[int] = (),
    column_gaps: Sequence[int] = (),
    marked: np.ndarray | None = None,
) -> "Figure":
    """A grid of images.

    A gap has a thin line, which sets images of any background apart.

    Args:
      cells: images (r, c, H, W, C) in [-1, 1]; NaN stays white.
      row_gaps, column_gaps: rows and columns before which there is a gap.
      marked: bool (r, c), cells that get a frame; None: none does.
    """
    rows, columns, height, width, channels = cells.shape
    gap = max(2, height // 5)
    tops = _offsets(rows, height, row_gaps, gap)
    lefts = _offsets(columns, width, column_gaps, gap)
    canvas = np.ones((tops[-1] + height, lefts[-1] + width, channels))
    for i, top in enumerate(tops):
        for j, left in enumerate(lefts):
            cell = (np.nan_to_num(cells[i, j], nan=1.0) + 1.0) / 2.0
            canvas[top : top + height, left : left + width] = cell
    figure = new_figure(CELL * columns, CELL * rows + 0.3)
    axis = figure.subplots()
    canvas = np.clip(canvas, 0.0, 1.0)
    grey = channels == 1
    options = {"cmap": "gray", "vmin": 0.0, "vmax": 1.0} if grey else {}
    axis.imshow(canvas[..., 0] if grey else canvas, **options)
    for row in row_gaps:
        axis.axhline(tops[row] - (gap + 1) / 2, color="0.5", lw=0.8)
    for column in column_gaps:
        axis.axvline(lefts[column] - (gap + 1) / 2, color="0.5", lw=0.8)
    for i, j in np.argwhere(False if marked is None else marked):
        corner = (lefts[j] - 0.5, tops[i] - 0.5)
        axis.add_patch(_frame(corner, width, height))
    axis.axis("off")
    return figure


def _frame(corner: tuple[float, float], width: int, height: int) -> Any:
    from matplotlib.patches import Rectangle

    style: dict[str, Any] = {"edgecolor": SAFE_COLORS[3], "lw": 1.5, "fill": False}
    return Rectangle(corner, width, height, **style)


def _offsets(count: int, side: int, gaps: Sequence[int], gap: int) -> list[int]:
    """First pixels of ``count`` cells in a line, with gaps before some of them."""
    before = [sum(first <= index for first in gaps) for index in range(count)]
    return [index * side + gap * shift for index, shift in enumerate(before)]
