"""Published sets through TensorFlow Datasets, read without TensorFlow."""

import dataclasses
import functools
import math
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
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
from iin_jax.files.digests import text_digest

VERSION = 1  # version of the preprocessing; other caches are stale
CHUNK = 1024  # records read at once
YES_NO = ("no", "yes")


@dataclasses.dataclass(frozen=True)
class TfdsSet:
    """How a set of TensorFlow Datasets becomes ours.

    Attributes:
      parts: of the publisher's split.
      channels: C of its images.
      attribute: our name of its class labels; None: it has 0/1 attributes instead.
      crop: side of the central square that is kept; None: as much as there is.
    """

    parts: tuple[str, ...]
    channels: int
    attribute: str | None
    crop: int | None = None

    def labels(self, example: Example) -> tuple[int, ...]:
        """Codes of one example."""
        if self.attribute is not None:
            return (int(example["label"]),)
        return tuple(int(value) for _, value in sorted(example["attributes"].items()))

    def classes(self, features: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        """Attributes in the order of ``labels``, with the names behind their codes."""
        if self.attribute is not None:
            return {self.attribute: tuple(features["label"].names)}
        return dict.fromkeys(sorted(features["attributes"].keys()), YES_NO)


SETS = {
    "mnist": TfdsSet(("train", "test"), 1, "digit"),
    "fashion_mnist": TfdsSet(("train", "test"), 1, "article"),
    "cifar10": TfdsSet(("train", "test"), 3, "class"),
    "celeb_a": TfdsSet(("train", "validation", "test"), 3, None, crop=160),
}


def tfds_source(name: str) -> Callable[[SourceOptions], Dataset]:
    """The source of one of ``SETS``."""
    return functools.partial(load_tfds, name)


def load_tfds(name: str, options: SourceOptions) -> Dataset:
    """A prepared set: centre crop, bilinear resize, the publisher's own split.

    What was decoded is kept in the user's cache folder until the set's files change.

    Args:
      name: one of ``SETS``.
      options: ``root`` holds prepared sets; None: TFDS's own folder, which
        ``$TFDS_DATA_DIR`` names.

    Raises:
      ValueError: the set is not prepared, or is damaged; says how to prepare it.
    """
    kind, root, size = SETS[name], tfds_root(options.root), options.image_size
    with quiet_tfds():
        builder = open_builder(name, root, options.download)
        records = open_parts(builder, kind.parts, root)
        shape = (records.count, size, size, kind.channels)
        small = math.prod(shape) <= options.max_memory
        # a large set is read through for its labels alone
        first = open_parts(builder, kind.parts, root, decode=small)
    files = record_files(builder)
    recipe = f"{VERSION};{name};{builder.version};{size};{kind.crop};{records.ends}"
    stamp = text_digest([recipe, *files])
    classes = kind.classes(builder.info.features)
    labels, images = _labels_and_images(
        first, kind, len(classes), shape if small else None, stamp if files else None
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
    """Downloads a set and writes it in TFDS's form; says in one line what there is.

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
    """Index -> one image, cropped and resized."""

    records: Records
    kind: TfdsSet
    size: int

    def __call__(self, index: int) -> np.ndarray:
        return _pixels(self.records.read([index])[0], self.kind, self.size)


def _pixels(example: Example, kind: TfdsSet, size: int) -> np.ndarray:
    """uint8 (size, size, C)."""
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
    """Labels (n, attributes), and all images unless they stay on disk.

    Args:
      records: that are read, unless what they give was kept earlier.
      kind: of the set.
      attributes: their number.
      shape: of all images; None: they stay on disk.
      stamp: to keep the result under; None: nothing tells these records from others.
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
    """Writes ``labels.npy``, and ``images.npy`` if they do not stay on disk."""
    images = None
    if shape is not None:
        images = open_memmap(target / "images.npy", "w+", np.uint8, shape)
    np.save(target / "labels.npy", _read_all(records, kind, images))
    if images is not None:
        images.flush()


def _read_all(records: Records, kind: TfdsSet, images: np.ndarray | None) -> np.ndarray:
    """Reads every example once; fills ``images``, returns labels (n, attributes)."""
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
