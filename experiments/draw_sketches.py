"""Draws pairs of sketches: ``python -m experiments.draw_sketches NAME DIR [PIXELS]``.

Each pair shows one change and nothing else. By NAME, DIR gets

- thin_thick: ``thin.png`` and ``thick.png``, the same circles in thin, thick strokes;
- round_angular: ``round.png`` and ``angular.png``, circles, and squares in their place;
- plain_striped: ``plain.png`` and ``striped.png``, a shape filled evenly, and striped.

Strokes suit images of so many PIXELS a side; by default 16, as the digits have.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 512  # pixels of a sketch
THIN, STROKE, THICK = 1.35, 2.0, 3.4  # widths of strokes, in pixels of the images
PIXELS = 16  # side of the images, unless another is given
SOFT = 0.01  # width of an edge, likewise
UPPER, LOWER = (0.5, 0.3, 0.16), (0.5, 0.69, 0.19)  # x, y and radius of the outlines


def picture(ink: np.ndarray) -> Image.Image:
    """Ink (SIDE, SIDE) in [0, 1] as a grey picture, white on black."""
    return Image.fromarray(np.round(255 * ink.clip(0, 1)).astype(np.uint8))


def stroke(width: float, *, angular: bool = False) -> Image.Image:
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


# name of a pair -> sketch -> what draws it for images of a side in pixels
PAIRS: dict[str, dict[str, Callable[[int], Image.Image]]] = {
    "thin_thick": {
        "thin": lambda pixels: stroke(THIN / pixels),
        "thick": lambda pixels: stroke(THICK / pixels),
    },
    "round_angular": {
        "round": lambda pixels: stroke(STROKE / pixels),
        "angular": lambda pixels: stroke(STROKE / pixels, angular=True),
    },
    "plain_striped": {
        "plain": lambda pixels: filled(0),
        "striped": lambda pixels: filled(max(2, pixels // 5)),
    },
}


def draw(name: str, folder: Path, pixels: int = PIXELS) -> list[Path]:
    """Draws both sketches of a pair into a folder, which is made; their files.

    Args:
      name: a key of ``PAIRS``.
      folder: for the files.
      pixels: side of the images that will be stylised.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for sketch, make in PAIRS[name].items():
        files.append(folder / f"{sketch}.png")
        make(pixels).save(files[-1])
    return files


def main(arguments: list[str]) -> int:
    """The command line; returns the exit status."""
    pixels = arguments[2] if len(arguments) == 3 else str(PIXELS)
    known = len(arguments) in (2, 3) and arguments[0] in PAIRS and pixels.isdecimal()
    if not known or int(pixels) < 8:
        print(
            f"usage: python -m experiments.draw_sketches {'|'.join(PAIRS)} DIR "
            "[PIXELS >= 8]",
            file=sys.stderr,
        )
        return 2
    for file in draw(arguments[0], Path(arguments[1]), int(pixels)):
        print(file)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
