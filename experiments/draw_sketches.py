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
from PIL import Image, ImageDraw, ImageFilter

SIDE = 512  # pixels of a sketch
STROKE = 44  # pixels of a middling stroke: 2.75 of 32
Points = list[tuple[float, float]]


def curve(center: tuple[float, float], radius: float, corners: int | None) -> Points:
    """A closed outline about a centre: a circle, or a polygon of so many corners."""
    angles = np.linspace(0.0, 2.0 * np.pi, 1 + (corners or 180)) + np.pi / 4
    x, y = center
    return [(x + radius * np.cos(t), y + radius * np.sin(t)) for t in angles]


def lines(width: int, corners: int | None = None) -> Image.Image:
    """Two outlines, one above the other, and a stroke, in lines of a width."""
    sketch = Image.new("L", (SIDE, SIDE))
    draw = ImageDraw.Draw(sketch)
    outlines = [
        curve((SIDE * 0.5, SIDE * 0.29), SIDE * 0.17, corners),
        curve((SIDE * 0.5, SIDE * 0.69), SIDE * 0.2, corners),
    ]
    for outline in outlines:
        draw.line(outline, fill=255, width=width, joint=None if corners else "curve")
        if corners:  # mitred: short strokes beyond the corners fill them
            for point in outline:
                _square(draw, point, width / 2)
    return sketch.filter(ImageFilter.GaussianBlur(SIDE / 128))


def _square(draw: ImageDraw.ImageDraw, point: tuple[float, float], half: float) -> None:
    x, y = point
    draw.rectangle([x - half, y - half, x + half, y + half], fill=255)


def filled(stripes: int) -> Image.Image:
    """A filled shape, evenly or with dark stripes across it."""
    sketch = Image.new("L", (SIDE, SIDE))
    draw = ImageDraw.Draw(sketch)
    draw.rectangle([SIDE * 0.25, SIDE * 0.15, SIDE * 0.75, SIDE * 0.85], fill=200)
    for k in range(stripes):
        top = SIDE * (0.15 + 0.7 * (k + 0.25) / stripes)
        bottom = top + SIDE * 0.35 / stripes
        draw.rectangle([SIDE * 0.25, top, SIDE * 0.75, bottom], fill=60)
    return sketch.filter(ImageFilter.GaussianBlur(SIDE / 256))


PAIRS: dict[str, dict[str, Callable[[], Image.Image]]] = {
    "thin_thick": {
        "thin": lambda: lines(STROKE // 2),
        "thick": lambda: lines(STROKE * 2),
    },
    "round_angular": {
        "round": lambda: lines(STROKE),
        "angular": lambda: lines(STROKE, corners=4),
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
