"""Draws pairs of sketches: ``python -m experiments.draw_sketches thin_thick DIR``.

Each pair shows one change and nothing else: DIR gets ``thin.png`` and ``thick.png``, of
the same curves in thin and thick strokes, or ``round.png`` and ``angular.png``, of the
same outlines in curves and in straight lines, or ``plain.png`` and ``striped.png``, of
the same shapes filled evenly and with stripes.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 512  # pixels of a sketch
THIN, STROKE, THICK = 0.08, 0.12, 0.2  # widths of strokes, as shares of the side
SOFT = 0.01  # width of an edge, likewise
UPPER, LOWER = (0.5, 0.3, 0.16), (0.5, 0.69, 0.19)  # x, y and radius of the outlines


def picture(ink: np.ndarray) -> Image.Image:
    """Ink (SIDE, SIDE) in [0, 1] as a grey picture, white on black."""
    return Image.fromarray(np.round(255 * ink.clip(0, 1)).astype(np.uint8))


def stroke(width: float, angular: bool = False) -> Image.Image:
    """Two outlines, one above the other, drawn in strokes of a width.

    Args:
      width: of the stroke, as a share of the side.
      angular: a square and a diamond in place of two circles.
    """
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE
    distances = []
    for turned, (center_x, center_y, radius) in enumerate((UPPER, LOWER)):
        left, top = np.abs(x - center_x), np.abs(y - center_y)
        outline = np.hypot(left, top)
        if angular:
            outline = (left + top) / np.sqrt(2) if turned else np.maximum(left, top)
        distances.append(np.abs(outline - radius))
    return picture((0.5 * width - np.minimum(*distances)) / SOFT + 0.5)


def filled(stripes: int) -> Image.Image:
    """A bright rectangle, evenly filled or with darker stripes across it."""
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE
    edge = np.minimum(0.25 - np.abs(x - 0.5), 0.35 - np.abs(y - 0.5))
    dark = (stripes > 0) & (np.sin(2 * np.pi * stripes * (y - 0.15) / 0.7) > 0)
    return picture((edge / SOFT + 0.5).clip(0, 1) * np.where(dark, 0.25, 0.8))


PAIRS: dict[str, dict[str, Callable[[], Image.Image]]] = {
    "thin_thick": {
        "thin": lambda: stroke(THIN),
        "thick": lambda: stroke(THICK),
    },
    "round_angular": {
        "round": lambda: stroke(STROKE),
        "angular": lambda: stroke(STROKE, angular=True),
    },
    "plain_striped": {"plain": lambda: filled(0), "striped": lambda: filled(7)},
}


def draw(name: str, folder: Path) -> list[Path]:
    """Draws both sketches of a pair into a folder, which is made; their files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for sketch, make in PAIRS[name].items():
        files.append(folder / f"{sketch}.png")
        make().save(files[-1])
    return files


def main(arguments: list[str]) -> int:
    """The command line; returns the exit status."""
    if len(arguments) != 2 or arguments[0] not in PAIRS:
        print(
            f"usage: python -m experiments.draw_sketches {'|'.join(PAIRS)} DIR",
            file=sys.stderr,
        )
        return 2
    for file in draw(arguments[0], Path(arguments[1])):
        print(file)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
