"""Published sets in the form of TensorFlow Datasets (TFDS), without TensorFlow."""

import dataclasses
import functools
import math
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from iin_jax.data.dataset import (
    Dataset,
    SourceOptions,
    StoredImages,
    decoder_threads,
)
from iin_jax.data.decoded import cached, load_array
from iin_jax.data.pictures import fit_square
from iin_jax.data.tfds_files import (
    Example,
    Records,
    open_builder,
    open_parts,
    quiet_tfds,
    record_files,
    tfds_root,
)
from iin_jax.files.array_files import ArrayFile, save_array
from iin_jax.files.digests import text_digest

VERSION = 1  # version of the preprocessing; caches of other versions are stale
CHUNK = 1024  # records per read
YES_NO = ("no", "yes")  # class names of 0/1 attributes


@dataclasses.dataclass(frozen=True)
class TfdsSet:
    """Description of a set of TFDS.

    Attributes:
      parts: names of the parts of the publisher's split.
      channels: number of channels of its images, C.
      attribute: attribute of its class labels; None: it has several 0/1 attributes.
      crop: side of the central square that is kept, in pixels; None: the images'
        shorter side.
    """

    parts: tuple[str, ...]
    channels: int
    attribute: str | None
    crop: int | None = None

    def labels(self, example: Example) -> tuple[int, ...]:
        """Codes of an example, one per attribute, in the order of ``classes``."""
        if self.attribute is not None:
            return (int(example["label"]),)
        return tuple(int(value) for _, value in sorted(example["attributes"].items()))

    def classes(self, features: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        """Attribute -> names of its codes, in the order of ``labels``."""
        if self.attribute is not None:
            return {self.attribute: tuple(features["label"].names)}
        return dict.fromkeys(sorted(features["attributes"].keys()), YES_NO)


# name in TFDS -> description
SETS = {
    "mnist": TfdsSet(("train", "test"), 1, "digit"),
    "fashion_mnist": TfdsSet(("train", "test"), 1, "article"),
    "cifar10": TfdsSet(("train", "test"), 3, "class"),
    "celeb_a": TfdsSet(("train", "validation", "test"), 3, None, crop=160),
}


def tfds_source(name: str) -> Callable[[SourceOptions], Dataset]:
    """Source of one of ``SETS``, as a row of ``SOURCES``."""
    return functools.partial(load_tfds, name)


def load_tfds(name: str, options: SourceOptions) -> Dataset:
    """Loads a prepared set, with the publisher's own split.

    Images are cropped to a central square and resized bilinearly. Decoded images stay
    in the user's cache folder until the set's files change.

    Args:
      name: one of ``SETS``.
      options: options of the source; its ``root`` is the folder of prepared sets, by
        default ``$TFDS_DATA_DIR`` or TFDS's own folder.

    Raises:
      ValueError: a set that is not prepared or is damaged; the message tells how to
        prepare it.
    """
    kind, root, size = SETS[name], tfds_root(options.root), options.image_size
    with quiet_tfds():
        builder = open_builder(name, root, options.download)
        records = open_parts(builder, kind.parts, root)
        shape = (records.count, size, size, kind.channels)
        fits_memory = math.prod(shape) <= options.max_memory
        # a large set is read for its labels alone, without decoding
        label_records = open_parts(builder, kind.parts, root, decode=fits_memory)
    files = record_files(builder)
    recipe = f"{VERSION};{name};{builder.version};{size};{kind.crop};{records.ends}"
    stamp = text_digest([recipe, *files])
    classes = kind.classes(builder.info.features)
    labels, images = _labels_and_images(
        label_records,
        kind,
        len(classes),
        shape if fits_memory else None,
        stamp if files else None,
    )
    if images is None:
        images = StoredImages(shape, _RecordReader(records, kind, size), stamp)
    return Dataset(
        name,
        images,
        dict(zip(classes, labels.T.copy(), strict=True)),
        classes,
        " ".join(builder.info.citation.split()),
        records.parts(kind.parts),
    )


def prepare(name: str, root: Path) -> str:
    """Downloads a set and writes it in the form of TFDS, unless it is prepared already.

    Args:
      name: one of ``SETS``.
      root: folder of prepared sets.

    Returns:
      One line with the folder, the version and the number of examples of each part.

    Raises:
      ValueError: TensorFlow is missing, the download fails, or the set is damaged.
    """
    with quiet_tfds():
        builder = open_builder(name, root, download=True)
        records = open_parts(builder, SETS[name].parts, root)
    parts = records.parts(SETS[name].parts)
    counts = ", ".join(f"{len(indices):,} {part}" for part, indices in parts.items())
    return f"{builder.data_dir}: {name} {builder.version}, {counts}"


@dataclasses.dataclass(frozen=True)
class _RecordReader:
    """Reader of single images, cropped and resized to uint8 (size, size, C)."""

    records: Records
    kind: TfdsSet
    size: int

    def __call__(self, index: int) -> np.ndarray:
        return _pixels(self.records.read([index])[0], self.kind, self.size)


def _pixels(example: Example, kind: TfdsSet, size: int) -> np.ndarray:
    """The image of an example, cropped and resized, uint8 (size, size, C)."""
    pixels = np.asarray(example["image"])
    image = Image.fromarray(pixels[..., 0] if kind.channels == 1 else pixels)
    resized = np.asarray(fit_square(image, size, kind.crop))
    return resized.reshape(size, size, kind.channels)


def _labels_and_images(
    records: Records,
    kind: TfdsSet,
    attributes: int,
    shape: tuple[int, ...] | None,
    stamp: str | None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Labels int32 (n, attributes), and all images unless they stay on disk.

    Args:
      records: examples to read, unless the cache has their labels and images.
      kind: description of the set.
      attributes: number of attributes.
      shape: shape (n, H, W, C) of all images; None: the images stay on disk.
      stamp: digest of the set's files, which names the cached result; None: the result
        is not cached.
    """
    if stamp is None:
        images = None if shape is None else np.empty(shape, np.uint8)
        return _read_all(records, kind, images), images
    make = functools.partial(_decode_into, records=records, kind=kind, shape=shape)
    extent = "labels" if shape is None else "images"

    def load(folder: Path) -> tuple[np.ndarray, np.ndarray | None]:
        labels = load_array(folder, "labels", (records.count, attributes), np.int32)
        if shape is None:
            return labels, None
        return labels, load_array(folder, "images", shape, np.uint8)

    return cached(f"{records.name}-{stamp[:32]}-{extent}", make, load)


def _decode_into(
    target: Path, records: Records, kind: TfdsSet, shape: tuple[int, ...] | None
) -> None:
    """Writes ``labels.npy``, and ``images.npy`` unless the images stay on disk."""
    if shape is None:
        save_array(target / "labels.npy", _read_all(records, kind, None))
        return
    with ArrayFile(target / "images.npy", shape, np.uint8) as images:
        save_array(target / "labels.npy", _read_all(records, kind, images))


def _read_all(
    records: Records, kind: TfdsSet, images: np.ndarray | ArrayFile | None
) -> np.ndarray:
    """Reads every example; fills ``images``, returns labels int32 (n, attributes)."""
    labels = []

    def chunk(start: int) -> list[tuple[int, ...]]:
        stop = min(start + CHUNK, records.count)
        examples = records.read(range(start, stop))
        if images is not None:
            for index, example in enumerate(examples, start):
                images[index] = _pixels(example, kind, images.shape[1])
        return [kind.labels(example) for example in examples]

    starts = range(0, records.count, CHUNK)
    quiet = not sys.stderr.isatty()
    with ThreadPoolExecutor(decoder_threads()) as pool, quiet_tfds():
        done = tqdm(
            pool.map(chunk, starts),
            f"decode {records.name}",
            len(starts),
            leave=False,
            disable=quiet,
        )
        for rows in done:
            labels.extend(rows)
    return np.array(labels, np.int32)
