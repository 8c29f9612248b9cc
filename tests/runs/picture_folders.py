"""Folders of small pictures and their CSV, for runs on images of one's own."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from iin_jax.runs import configs
from iin_jax.runs.command import parse
from iin_jax.runs.run import Run


def write_pictures(folder: Path, columns: Mapping[str, Sequence]) -> None:
    """``0.png`` and so on, 32x32, a square of its own place and colour in each."""
    rng, rows = np.random.default_rng(0), list(zip(*columns.values(), strict=True))
    folder.mkdir(exist_ok=True)
    for index in range(len(rows)):
        image = np.zeros((32, 32, 3), np.uint8)
        row, column = rng.integers(0, 20, 2)
        image[row : row + 12, column : column + 12] = rng.integers(50, 256, 3)
        Image.fromarray(image).save(folder / f"{index}.png")
    cells = [[f"{index}.png", *row] for index, row in enumerate(rows)]
    lines = [",".join(map(str, line)) for line in [["image", *columns], *cells]]
    (folder / "attributes.csv").write_text("\n".join(lines))


def folder_flags(folder: Path) -> list[str]:
    """Flags of a smoke run on such a folder; its workdir lies beside it."""
    place = ["--data.root", folder, "--data.attributes", folder / "attributes.csv"]
    flags = ["--smoke", "--data.image-size", "32", "--network.discriminator", "none"]
    flags += ["--data.validation", "0.2", "--concept.bins", "3"]
    return [*flags, *map(str, place), "--workdir", str(folder.parent / "run")]


def folder_run(folder: Path, *flags: str) -> Run:
    """A run on such a folder, not begun."""
    flags = (*folder_flags(folder), *flags)
    experiment = parse(configs.find("folder"), flags).experiment
    return Run.of("folder", experiment, folder.parent / "run", "")
