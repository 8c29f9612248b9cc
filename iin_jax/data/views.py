"""Views of a data set: sets of entries that show its images, with their labels."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np

from iin_jax.data.augment import Affine
from iin_jax.data.dataset import Dataset
from iin_jax.data.image_sets import ImageSet, plain_set
from iin_jax.data.palette import Background


class ColorChoice(NamedTuple):
    """Choice of colours for entries of a painted view.

    Attributes:
      purpose: purpose of the entries, one of ``painted.PURPOSES``; no two purposes
        share a colour.
      count: number of colours in the palette.
      copies: number of different colours that each image is painted in.
    """

    purpose: str
    count: int
    copies: int


class DatasetView(Protocol):
    """The contract of ``PlainView`` and ``PaintedView``, the views of a data set."""

    @property
    def labels(self) -> Mapping[str, np.ndarray]:
        """Label -> values, one per image of the data set, without that of painting."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Labels of entries: those of the images, and ``color`` if they are painted."""
        ...

    @property
    def channels(self) -> int:
        """Number of channels of the entries' images."""
        ...

    @property
    def background(self) -> Background:
        """Background of painted images."""
        ...

    @property
    def train_colors(self) -> np.ndarray | None:
        """Palette of training images, (P, 3) in [0, 1]; None if they stay plain."""
        ...

    def entries(
        self,
        indices: np.ndarray,
        colors: ColorChoice,
        *,
        variants: int = 1,
        augment: Affine | None = None,
        seed: int = 0,
    ) -> ImageSet:
        """A set of images of the data set, original or distorted, with their labels.

        Args:
          indices: indices of the set's images.
          colors: choice of colours; a plain view does not use it.
          variants, augment: as in ``plain_set``.
          seed: seed of distortions and colours.
        """
        ...

    def singles(self, items: np.ndarray, purpose: str) -> ImageSet:
        """A set with one entry for every index, each in a colour of its own if painted.

        Args:
          items: indices of images of the data set, (n,).
          purpose: one of ``painted.PURPOSES``.
        """
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class PlainView:
    """A view of a data set whose images are not painted."""

    dataset: Dataset

    @property
    def labels(self) -> Mapping[str, np.ndarray]:
        return self.dataset.labels

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.labels)

    @property
    def channels(self) -> int:
        return self.dataset.images.shape[-1]

    @property
    def background(self) -> Background:
        return "black"

    @property
    def train_colors(self) -> np.ndarray | None:
        return None

    def entries(
        self,
        indices: np.ndarray,
        colors: ColorChoice,
        *,
        variants: int = 1,
        augment: Affine | None = None,
        seed: int = 0,
    ) -> ImageSet:
        images = plain_set(
            self.dataset.images,
            indices,
            variants=variants,
            augment=augment,
            seed=seed,
        )
        return dataclasses.replace(images, item_labels=self.labels)

    def singles(self, items: np.ndarray, purpose: str) -> ImageSet:
        return ImageSet(self.dataset.images, items, items, item_labels=self.labels)
