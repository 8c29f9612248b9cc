"""A set of labelled images, in memory or on disk, and the options of its source."""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from iin_jax.data.values import MISSING
from iin_jax.files.digests import array_digest, text_digest


@dataclasses.dataclass(frozen=True)
class SourceOptions:
    """Options of a source of images.

    Attributes:
      image_size: H = W of the images, in pixels.
      root: folder of the data; None: the source's default folder.
      attributes: path of the CSV with a folder's attributes.
      download: whether a source may download data that is missing.
      image_column: column of the CSV with each image's path relative to ``root``.
      classes: columns of the CSV whose numbers are names, so that each is a class.
      max_unreadable: largest share of a folder's images that may be unreadable, in
        [0, 1].
      max_memory: largest size in bytes of a set that is decoded into one array; a
        larger set stays on disk and is decoded at use.

    Raises:
      ValueError: a value outside its range.
    """

    image_size: int = 32
    root: str | None = None
    attributes: str | None = None
    download: bool = False
    image_column: str = "image"
    classes: tuple[str, ...] = ()
    max_unreadable: float = 0.01
    max_memory: int = 2**30

    def __post_init__(self) -> None:
        if self.image_size < 1 or self.max_memory < 0:
            raise ValueError(
                "image_size must be at least 1 and max_memory at least 0; got "
                f"{self.image_size} and {self.max_memory}"
            )
        if not 0.0 <= self.max_unreadable <= 1.0:
            raise ValueError(
                f"max_unreadable is a share in [0, 1]; got {self.max_unreadable}"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class StoredImages:
    """Images on disk that read like a uint8 array (n, H, W, C), decoded at use.

    Attributes:
      shape: (n, H, W, C).
      read: index -> image, uint8 (H, W, C); called in several threads.
      stamp: text that identifies the images by their content or files, so that a digest
        need not read them all.
    """

    shape: tuple[int, int, int, int]
    read: Callable[[int], np.ndarray]
    stamp: str

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, indices: int | slice | np.ndarray) -> np.ndarray:
        """The image of an index, or the images of a slice, index array or mask."""
        chosen = np.arange(len(self))[indices]
        if chosen.ndim == 0:
            return self.read(int(chosen))
        images = np.empty((*chosen.shape, *self.shape[1:]), np.uint8)
        flat = images.reshape(-1, *self.shape[1:])
        for position, image in enumerate(self._pool.map(self.read, chosen.ravel())):
            flat[position] = image
        return images

    @functools.cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(decoder_threads(), "decode")


def decoder_threads() -> int:
    """Number of threads that decode images: one per core, at most 8."""
    return min(8, os.cpu_count() or 1)


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Images with labels.

    Attributes:
      name: name of the source.
      images: uint8 (n, H, W, C), 0..255; an array, or stored images that are indexed
        like one.
      labels: attribute -> values (n,). Discrete attributes have int32 codes from 0, in
        a masked array if some are missing; continuous ones float64, NaN where missing.
      classes: discrete attribute -> names of its codes.
      citation: origin of the images.
      parts: part of the publisher's own split -> its indices; None: no such split.
      notes: a line for every conversion, omission or count of the source.
      unreadable: file that was left out -> why it cannot be read.
      versions: number of versions of every picture; the images are all pictures in the
        first version, then all in the second, and so on.
      origin: digest of the data set whose pictures these are versions of; empty: none.

    Raises:
      ValueError: labels of another shape than (n,), or of another type than int32 or
        float64.
    """

    name: str
    images: np.ndarray | StoredImages
    labels: dict[str, np.ndarray]
    classes: dict[str, tuple[str, ...]]
    citation: str
    parts: dict[str, np.ndarray] | None = None
    notes: tuple[str, ...] = ()
    unreadable: dict[str, str] = dataclasses.field(default_factory=dict)
    versions: int = 1
    origin: str = ""

    def __post_init__(self) -> None:
        for attribute, values in self.labels.items():
            if np.shape(values) != (len(self.images),):
                raise ValueError(
                    f"{attribute!r} has labels of shape {np.shape(values)} for "
                    f"{len(self.images)} images; expected one per image"
                )
            if values.dtype not in (np.int32, np.float64):
                raise ValueError(
                    f"the labels of {attribute!r} are {values.dtype}; expected codes "
                    "as int32 or numbers as float64"
                )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def pictures(self) -> int:
        """Number of different pictures."""
        return len(self) // self.versions

    def picture_of(self, items: np.ndarray) -> np.ndarray:
        """Which picture each image is a version of, 0 .. pictures - 1."""
        return items % self.pictures

    def named(self, attribute: str, values: np.ndarray) -> np.ndarray:
        """Names of an attribute's codes (n,), masked where the codes are.

        Values of an attribute without class names are returned unchanged.
        """
        names = self.classes.get(attribute)
        if names is None:
            return values
        class_names = np.asarray(names)[np.ma.filled(values, 0)]
        return np.ma.array(class_names, mask=np.ma.getmaskarray(values))

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of name, images, labels, class names and parts."""
        entries = [f"{self.name};{self.images.shape};"]
        if isinstance(self.images, StoredImages):
            entries.append(self.images.stamp)
        else:
            pixels = np.ascontiguousarray(self.images)
            entries.append(hashlib.sha256(pixels.data).hexdigest())
        for attribute, values in sorted(self.labels.items()):
            codes = np.ma.filled(values, MISSING)
            names = self.classes.get(attribute, ())
            entries.append(f"{attribute}:{names}:{array_digest(codes)}")
        for part, indices in sorted((self.parts or {}).items()):
            entries.append(f"{part}:{array_digest(np.asarray(indices))}")
        return text_digest(entries)
