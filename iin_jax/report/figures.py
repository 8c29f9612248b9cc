"""Pictures of what an interpreter does; each function returns a Matplotlib figure."""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from iin_jax.interpreter import Interpreter
from iin_jax.types import Array, Images, Key

CELL = 0.62  # inches of one picture's side
BLANK = np.nan


def swap_grid(
    interpreter: Interpreter, rows: Images, columns: Images, name: str
) -> Figure:
    """Every cell has its row's factor and all the rest of its column.

    Args:
      interpreter: with a network that decodes to images.
      rows, columns: (r, H, W, C) and (c, H, W, C) in [-1, 1].
      name: the factor.
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
    figure.suptitle(f"{name} of the row, everything else of the column", fontsize=9)
    return figure


def interpolations(
    interpreter: Interpreter, starts: Images, ends: Images, name: str, steps: int = 8
) -> Figure:
    """Each line moves one factor from its start's value to its end's."""
    path = np.asarray(interpreter.interpolate(starts, ends, [name], steps=steps))
    lines = np.swapaxes(path, 0, 1)
    lines = np.concatenate([lines, np.asarray(ends)[:, None]], axis=1)
    figure = _mosaic(lines)
    title = f"{name} moves from the left image's value to that of the last column"
    figure.suptitle(title, fontsize=9)
    return figure


def samples(
    interpreter: Interpreter, images: Images, name: str, key: Key, count: int = 8
) -> Figure:
    """First column: images; the others: one factor drawn anew, the rest fixed."""
    drawn = np.asarray(interpreter.sample(images, [name], key, count=count))
    first = np.asarray(images)[:, None]
    lines = np.concatenate([first, np.swapaxes(drawn, 0, 1)], axis=1)
    figure = _mosaic(lines, gap_after_first=True, head_row=False)
    figure.suptitle(f"{name} drawn from N(0, 1), everything else fixed", fontsize=9)
    return figure


def reconstructions(interpreter: Interpreter, images: Images) -> Figure:
    """Lines in turns: images, and what the network makes of them unedited."""
    plain = np.asarray(interpreter.decode(interpreter.encode(images)))
    per_line = 10
    blank = np.full((-len(images) % per_line, *plain.shape[1:]), BLANK)
    lines = [
        np.concatenate([part, blank]).reshape(-1, per_line, *plain.shape[1:])
        for part in (np.asarray(images), plain)
    ]
    figure = _mosaic(np.stack(lines, axis=1).reshape(-1, *lines[0].shape[1:]))
    figure.suptitle("images, and below each its reconstruction", fontsize=9)
    return figure


def generated(z: Array, interpreter: Interpreter, title: str) -> Figure:
    """What the network decodes from some latents (n, N), ten in a line."""
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
    """Bars of the factors' sizes, and of the scores they follow from, if known."""
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
    """Loss in nats over steps; for a flow also its bits per dimension of z.

    The second panel has those of a Gaussian fitted to z beside them: a negative loss is
    no mistake, and the Gaussian is what a flow has to beat.
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
    """Pictures (r, c, H, W, C) in [-1, 1] side by side; NaN is left white."""
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
