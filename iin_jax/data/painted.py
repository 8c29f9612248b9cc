"""Views of a data set painted in colours, whose entries have a label ``color``."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

import numpy as np

from iin_jax.data.augment import Affine
from iin_jax.data.dataset import Dataset
from iin_jax.data.image_sets import COLOR, ImageSet, Pictures, plain_set
from iin_jax.data.palette import Background, palette
from iin_jax.data.versions import VersionsView
from iin_jax.data.views import ColorChoice, DatasetView, PlainView

Coloring = Background | Literal["none"]

TRAIN = "train"
# the position of a purpose is part of the seed of its palettes
PURPOSES = (TRAIN, "validation", "test", "swap a", "swap b", "test pairs")


def view_of(
    dataset: Dataset, coloring: Coloring, colors: int, seed: int
) -> DatasetView:
    """A view of a data set, plain or painted.

    Args:
      dataset: the data set; its images are grey if they are to be painted.
      coloring: background of painted images; ``"none"``: the images stay plain.
      colors: number of colours of training images.
      seed: seed of all palettes.
    """
    view: DatasetView = PlainView(dataset)
    if coloring != "none":
        view = PaintedView(dataset, coloring, colors, seed)
    return VersionsView(view, dataset) if dataset.versions > 1 else view


@dataclasses.dataclass(frozen=True, eq=False)
class PaintedView:
    """A view of a data set of grey images, painted in colours.

    Entries have the labels of their images, and ``color``, which hides a label of that
    name in the data set.

    Attributes:
      dataset: the data set of grey images.
      background: background of painted images: black, or the colour's negative.
      palette_size: number of colours of training images.
      seed: seed of all palettes.
    """

    dataset: Dataset
    background: Background
    palette_size: int
    seed: int

    @property
    def labels(self) -> Mapping[str, np.ndarray]:
        labels = self.dataset.labels
        return {name: values for name, values in labels.items() if name != COLOR}

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.labels, COLOR)

    @property
    def channels(self) -> int:
        return 3

    @property
    def train_colors(self) -> np.ndarray | None:
        return self.colors(TRAIN, self.palette_size)

    def colors(self, purpose: str, count: int) -> np.ndarray:
        """Colours of a purpose, (count, 3) in [0, 1]; no two purposes share a colour.

        Args:
          purpose: one of ``PURPOSES``.
          count: number of colours.
        """
        return palette(count, 10 * self.seed + PURPOSES.index(purpose))

    def entries(
        self,
        indices: np.ndarray,
        colors: ColorChoice,
        *,
        variants: int = 1,
        augment: Affine | None = None,
        seed: int = 0,
    ) -> ImageSet:
        images = colored_set(
            self.dataset.images,
            indices,
            self.colors(colors.purpose, colors.count),
            copies=colors.copies,
            variants=variants,
            augment=augment,
            seed=seed,
            background=self.background,
        )
        return self._labelled(images, colors.purpose)

    def singles(self, items: np.ndarray, purpose: str) -> ImageSet:
        images = ImageSet(
            self.dataset.images,
            items,
            items,
            self.colors(purpose, len(items)),
            np.arange(len(items)),
            self.background,
        )
        return self._labelled(images, purpose)

    def _labelled(self, images: ImageSet, purpose: str) -> ImageSet:
        """The set with its labels, and codes that keep unseen colours apart."""
        first = 0 if purpose == TRAIN else self.palette_size
        return dataclasses.replace(images, item_labels=self.labels, first_color=first)


def colored_set(
    images: Pictures,
    indices: np.ndarray,
    colors: np.ndarray,
    *,
    copies: int,
    variants: int = 1,
    augment: Affine | None = None,
    seed: int = 0,
    background: Background = "black",
) -> ImageSet:
    """A set of painted images in which colours are as equally frequent as possible.

    Args:
      images: grey images of the data set, uint8 (n, H, W, 1).
      indices: indices of the set's images.
      colors: palette, (P, 3) in [0, 1].
      copies: number of different colours per variant, 1 to P.
      variants, augment: as in ``plain_set``.
      seed: seed of distortions and colours.
      background: black, or the colour's negative.

    Raises:
      ValueError: no images, no copy or variant, more copies than colours, or images
        with other than one channel.
    """
    if images.shape[-1] != 1:
        raise ValueError(
            f"only grey images can be painted; these have {images.shape[-1]} channels"
        )
    if not 1 <= copies <= len(colors):
        raise ValueError(
            f"a coloured set needs 1 to {len(colors)} copies in different colours; got "
            f"{copies}"
        )
    plain = plain_set(images, indices, variants=variants, augment=augment, seed=seed)
    color = _distinct_colors(len(plain), copies, len(colors), seed).T.ravel()
    item, variant = np.tile(plain.item, copies), np.tile(plain.variant, copies)
    return ImageSet(plain.variants, item, variant, colors, color, background)


def _distinct_colors(variants: int, copies: int, colors: int, seed: int) -> np.ndarray:
    """Colour indices (variants, copies), all different within a row."""
    rng = np.random.default_rng([seed, 0xC0])
    rows = colors // copies  # full rows in a permutation of the palette
    rounds = [
        rng.permutation(colors)[: rows * copies].reshape(rows, copies)
        for _ in range(-(-variants // rows))
    ]
    return np.concatenate(rounds)[:variants]
