"""Figures of a report: grids of edited images, sizes and loss curves."""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from iin_jax.interpreter import Interpreter
from iin_jax.types import Array, Images, Key

CELL = 0.62  # side of an image in a grid, in inches
BLANK = np.nan  # pixels of a cell that stays white


def swap_grid(
    interpreter: Interpreter, rows: Images, columns: Images, name: str
) -> Figure:
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
    cells = np.asarray(interpreter.swap(receivers, donors, [name]))
    cells = cells.reshape(r, c, *cells.shape[1:])
    blank = np.full((1, 1, *cells.shape[2:]), BLANK)
    head = np.concatenate([blank, np.asarray(columns)[None]], axis=1)
    body = np.concatenate([np.asarray(rows)[:, None], cells], axis=1)
    figure = _mosaic(np.concatenate([head, body]), gap_after_first=True)
    figure.suptitle(f"{name} of the row, all other factors of the column", fontsize=9)
    return figure


def interpolations(
    interpreter: Interpreter, starts: Images, ends: Images, name: str, steps: int = 8
) -> Figure:
    """A row of images per pair, in which one factor moves from start to end.

    Args:
      interpreter: an interpreter whose network decodes to images.
      starts, ends: images (n, H, W, C) in [-1, 1]; the ends are the last column.
      name: the factor that moves.
      steps: number of images along the path.
    """
    path = np.asarray(interpreter.interpolate(starts, ends, [name], steps=steps))
    rows = np.swapaxes(path, 0, 1)
    rows = np.concatenate([rows, np.asarray(ends)[:, None]], axis=1)
    figure = _mosaic(rows)
    title = f"{name} moves from the value of the first column to that of the last"
    figure.suptitle(title, fontsize=9)
    return figure


def samples(
    interpreter: Interpreter, images: Images, name: str, key: Key, count: int = 8
) -> Figure:
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
    figure = _mosaic(rows, gap_after_first=True, head_row=False)
    figure.suptitle(f"{name} drawn from N(0, 1), all other factors fixed", fontsize=9)
    return figure


def reconstructions(interpreter: Interpreter, images: Images) -> Figure:
    """Rows of ten images (n, H, W, C) in [-1, 1], each above its reconstructions."""
    decoded = np.asarray(interpreter.decode(interpreter.encode(images)))
    per_row = 10
    blank = np.full((-len(images) % per_row, *decoded.shape[1:]), BLANK)
    rows = [
        np.concatenate([part, blank]).reshape(-1, per_row, *decoded.shape[1:])
        for part in (np.asarray(images), decoded)
    ]
    figure = _mosaic(np.stack(rows, axis=1).reshape(-1, *rows[0].shape[1:]))
    figure.suptitle("images, each with its reconstruction below", fontsize=9)
    return figure


def generated(z: Array, interpreter: Interpreter, title: str) -> Figure:
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
    figure.suptitle(title, fontsize=9)
    return figure


def sizes_and_scores(
    sizes: Mapping[str, int],
    scores: Mapping[str, float] | None = None,
    intervals: Mapping[str, Sequence[float]] | None = None,
    null: Mapping[str, Sequence[float]] | None = None,
) -> Figure:
    """Bars of the factors' sizes, and of the concepts' scores if they are known.

    Args:
      sizes: factor -> number of dimensions.
      scores: concept -> score of its pairs.
      intervals: concept -> bounds of the score's 95 % interval.
      null: concept -> bounds that hold 95 % of the scores of random pairs.
    """
    figure = Figure(figsize=(6.4, 2.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    bars = left.barh(list(sizes), list(sizes.values()), color="0.6")
    left.bar_label(bars, fontsize=8)
    left.set_title("dimensions", fontsize=9)
    if scores is None:
        right.axis("off")
    else:
        names = list(scores)
        values = np.array([scores[name] for name in names])
        right.barh(names, values, color="0.8")
        if intervals is not None:
            low, high = np.array([intervals[name] for name in names]).T
            errors = [values - low, high - values]
            right.errorbar(values, names, xerr=np.maximum(errors, 0), fmt="none")
        if null is not None:
            low, high = np.array([null[name] for name in names]).T
            right.hlines(names, low, high, color="tab:red", label="random pairs, 95 %")
            right.legend(fontsize=6)
        right.set_title("score of the pairs, 95 % interval", fontsize=9)
    for axis in (left, right):
        axis.invert_yaxis()
        axis.tick_params(labelsize=8)
    return figure


def loss_curves(lines: Sequence[Mapping[str, float]], title: str) -> Figure:
    """Curves of the loss over training steps.

    The first panel has losses in nats. A flow has a second one, in bits per dimension
    of z, with those of a Gaussian fitted to z, which the flow should stay below: the
    loss is the negative logarithm of a density, so it may be negative and its value
    alone says little.

    Args:
      lines: lines of metrics, each with ``step``.
      title: headline of the panels.
    """
    panels: list[tuple[str, tuple[str, ...]]] = [("nats", ("loss", "validation_loss"))]
    if any("gaussian_bits_per_dim" in line for line in lines):
        names = ("bits_per_dim", "validation_bits_per_dim", "gaussian_bits_per_dim")
        panels.append(("bits per dimension", names))
    figure = Figure(figsize=(3.8 * len(panels), 2.4), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (unit, names) in zip(axes, panels, strict=True):
        for name in names:
            points = [(line["step"], line[name]) for line in lines if name in line]
            if points:
                marker = "." if len(points) < 3 else ""
                axis.plot(*zip(*points, strict=True), label=name, marker=marker, lw=1)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("step", fontsize=8)
        axis.set_ylabel(unit, fontsize=8)
        axis.tick_params(labelsize=7)
        axis.legend(fontsize=7)
    return figure


def _mosaic(
    cells: np.ndarray, *, gap_after_first: bool = False, head_row: bool = True
) -> Figure:
    """A grid of images.

    Args:
      cells: images (r, c, H, W, C) in [-1, 1]; NaN stays white.
      gap_after_first: whether the first column stands apart.
      head_row: whether the first row stands apart, too.
    """
    rows, columns, height, width, channels = cells.shape
    gap = max(1, height // 8)
    row_gap = gap if gap_after_first and head_row else 0
    column_gap = gap if gap_after_first else 0
    shape = (rows * height + row_gap, columns * width + column_gap, channels)
    canvas = np.ones(shape)
    for i in range(rows):
        for j in range(columns):
            top = i * height + (row_gap if i else 0)
            left = j * width + (column_gap if j else 0)
            cell = (np.nan_to_num(cells[i, j], nan=1.0) + 1.0) / 2.0
            canvas[top : top + height, left : left + width] = cell
    figure = Figure(figsize=(CELL * columns, CELL * rows + 0.3), layout="constrained")
    axis = figure.subplots()
    canvas = np.clip(canvas, 0.0, 1.0)
    grey = channels == 1
    axis.imshow(canvas[..., 0] if grey else canvas, cmap="gray" if grey else None)
    axis.axis("off")
    return figure
