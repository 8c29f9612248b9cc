"""Two sketches to entries that form pairs: each image, and in both manners."""

import dataclasses
import os
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np

from iin_jax.concepts.sketches.ink import background
from iin_jax.concepts.sketches.reading import read_sketch
from iin_jax.concepts.sketches.stylisers import (
    Styliser,
    most_of,
    settings_of,
    styliser_of,
)
from iin_jax.files.array_files import load_array_file, save_array
from iin_jax.files.digests import array_digest, text_digest
from iin_jax.files.folders import cache_of
from iin_jax.files.json_files import read_description, write_description
from iin_jax.files.whole import whole_file
from iin_jax.networks.base import check_image_values
from iin_jax.types import Images

LEAST_DIFFERENCE = 0.01  # mean difference of two sketches, in [0, 2]
AS_IT_IS, LIKE_A, LIKE_B = "image", "a", "b"  # labels of the three entries of an image


@dataclasses.dataclass(frozen=True, eq=False)
class SketchedEntries:
    """n images three times: as they are, in the manner of a, and in that of b.

    Two entries of an image differ in the sketched concept and share all else, so
    ``interpret(network, entries.images, {"stroke": entries.label}, agree=(),
    differ=("stroke",), identity=entries.identity)`` gives the concept its factor.

    Attributes:
      images: (3n, H, W, C) in [-1, 1]; all as they are, all like a, all like b.
      label: (3n,), ``"image"``, ``"a"`` or ``"b"``.
      identity: int (3n,), index of the image among those given.
      sketch_a, sketch_b: (H, W, C) in [-1, 1], as they were used.
      notes: what was converted or left out, a line each.
    """

    images: np.ndarray
    label: np.ndarray
    identity: np.ndarray
    sketch_a: np.ndarray
    sketch_b: np.ndarray
    notes: tuple[str, ...] = ()


def sketched(
    images: Images,
    sketch_a: Any,
    sketch_b: Any,
    styliser: str | Styliser = "transport",
    seed: int = 0,
    *,
    most: int | None = None,
    progress: bool = True,
) -> SketchedEntries:
    """Stylises images by two sketches that show a change in one concept.

    Esser, Rombach and Ommer, section on user-defined concepts: the three versions of an
    image show a change in what the sketches differ in, and in nothing else. Results of
    a named styliser are kept in the cache folder.

    Args:
      images: (n, H, W, C) in [-1, 1].
      sketch_a, sketch_b: picture files or arrays, see ``reading.read_sketch``.
      styliser: a key of ``STYLISERS``, or any function of images and a sketch.
      seed: of the choice of images and of the styliser.
      most: images that are stylised at most. None: 5,000, of the neural styliser on a
        CPU 1,000.
      progress: prints a line on each conversion.

    Raises:
      ValueError: images outside [-1, 1], a sketch that is no picture or blank, two that
        are alike, an unknown styliser or one whose weights are missing, or results of
        another form than the images.
      OSError: a file cannot be read, or the cache folder not written.
    """
    images = np.asarray(images, np.float32)
    check_image_values(images)
    if most is not None and most < 1:
        raise ValueError(f"most is a number of images >= 1; got {most}")
    change = styliser_of(styliser, seed)
    most = most_of(change) if most is None else most
    notes, chosen = [], np.arange(len(images))
    if len(images) > most:
        rng = np.random.default_rng([seed, 0x5E7])
        chosen = np.sort(rng.permutation(len(images))[:most])
        notes.append(f"{most} of {len(images)} images are stylised, drawn by the seed")
    ground = np.asarray(jax.vmap(background)(images[chosen[:500]]))
    ground, shape = np.median(ground, axis=0), images.shape[1:]
    sketches = []
    for name, sketch in (("sketch_a", sketch_a), ("sketch_b", sketch_b)):
        converted, said = read_sketch(sketch, shape, ground, name)
        sketches.append(converted)
        notes += said
    if np.abs(sketches[0] - sketches[1]).mean() < LEAST_DIFFERENCE:
        raise ValueError("the two sketches are alike, so they show no change")
    if progress and notes:
        print("\n".join(notes))
    plain = images[chosen]
    versions = [plain, *(_stylised(change, plain, sketch) for sketch in sketches)]
    return SketchedEntries(
        np.concatenate(versions),
        np.repeat([AS_IT_IS, LIKE_A, LIKE_B], len(chosen)),
        np.tile(chosen, 3),
        sketches[0],
        sketches[1],
        tuple(notes),
    )


def _stylised(styliser: Styliser, images: np.ndarray, sketch: np.ndarray) -> np.ndarray:
    """Images in the manner of a sketch, from the cache folder if they are there."""
    settings = settings_of(styliser)
    if settings is None:
        return _checked(styliser(images, sketch), images)
    name = text_digest([settings, array_digest(images), array_digest(sketch)])
    file = cache_of("stylised") / f"{name[:32]}.npy"
    kept = _kept(file, images)
    if kept is not None:
        return kept
    result = _checked(styliser(images, sketch), images)
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as unfinished:
        save_array(unfinished, result)
    write_description(_record_of(file), {"digest": array_digest(result)})
    return result


def _kept(file: Path, images: np.ndarray) -> np.ndarray | None:
    """What an earlier call left; None if there is nothing, or it is damaged."""
    if not file.is_file() or not _record_of(file).is_file():
        return None
    try:
        kept = load_array_file(file)
        if array_digest(kept) != read_description(_record_of(file))["digest"]:
            raise ValueError("its digest is wrong")
        return _checked(kept, images)
    except ValueError as error:
        warnings.warn(
            f"{os.fspath(file)} is damaged ({error}); it is made again", stacklevel=4
        )
        return None


def _record_of(file: Path) -> Path:
    """The file with the digest of kept images."""
    return file.with_suffix(".json")


def _checked(result: Any, images: np.ndarray) -> np.ndarray:
    result = np.asarray(result, np.float32)
    if result.shape != images.shape:
        raise ValueError(
            f"the styliser gives shape {result.shape} for images of {images.shape}"
        )
    if not np.isfinite(result).all() or np.abs(result).max() > 1.0 + 1e-4:
        raise ValueError("the styliser gives values outside [-1, 1]")
    return np.clip(result, -1.0, 1.0)
