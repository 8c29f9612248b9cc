"""A data set as its images are shown: which entries there are, and their labels."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np

from iin_jax.data.augment import Affine
from iin_jax.data.dataset import Dataset
from iin_jax.data.image_sets import ImageSet, plain_set
from iin_jax.data.palette import Background


class ColorChoice(NamedTuple):
    """Colours of entries, where images are painted.

    Attributes:
      purpose: what the entries are for, one of ``painted.PURPOSES``; two purposes
        have no colour in common.
      count: number of colours.
      copies: colours that each image is painted in.
    """

    purpose: str
    count: int
    copies: int


class DatasetView(Protocol):
    """What every view of a data set answers; ``PlainView`` and ``PaintedView``."""

    @property
    def labels(self) -> Mapping[str, np.ndarray]:
        """Label -> one value per image of the data set."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Labels of entries: those of the images, and what painting adds."""
        ...

    @property
    def channels(self) -> int:
        """Channels of the images that are shown."""
        ...

    @property
    def background(self) -> Background:
        """Background of painted images."""
        ...

    @property
    def train_colors(self) -> np.ndarray | None:
        """Palette of training images, (P, 3) in [0, 1]; None: they are not painted."""
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
        """Some images of the data set, or distorted versions of them, with labels.

        Args:
          indices: which of them.
          colors: their colours, where they are painted.
          variants, augment: as in ``plain_set``.
          seed: seed of distortions and colours.
        """
        ...

    def singles(self, items: np.ndarray, purpose: str) -> ImageSet:
        """Given images, (n,), once each; painted ones in a colour of their own."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class PlainView:
    """A data set whose images are shown as they are."""

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
