"""Images as a network takes them: entries of a latent cache and of evaluations."""

import dataclasses
from collections.abc import Mapping
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from iin_jax.data.augment import Affine
from iin_jax.data.palette import Background, colorize, to_unit
from iin_jax.types import Images

COLOR = "color"  # the label that painting gives


class Pictures(Protocol):
    """uint8 images, in memory or decoded at use: an array, or ``StoredImages``."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, entries, /) -> np.ndarray: ...


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """Entries, each a variant of an image, in one colour of a palette if there is one.

    Attributes:
      variants: (m, H, W, C), images 0..255, distorted or not; grey ones to be coloured.
      item: (n,), index of each entry's image in the data set.
      variant: (n,), index of its variant; equal for one thing in several colours.
      colors: (P, 3) in [0, 1]; None: images are shown as they are.
      color: (n,), index of its colour; None without colours.
      background: of coloured images: black, or the colour's negative.
      item_labels: label -> (m,) or (m, d), values of the data set's images.
      first_color: code of the palette's first colour; palettes without a colour in
        common have codes of their own.
    """

    variants: Pictures
    item: np.ndarray
    variant: np.ndarray
    colors: np.ndarray | None = None
    color: np.ndarray | None = None
    background: Background = "black"
    item_labels: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    first_color: int = 0

    def __len__(self) -> int:
        return len(self.item)

    @property
    def rgb(self) -> np.ndarray:
        """True colour of every entry, (n, 3) in [0, 1].

        Raises:
          ValueError: the images are shown as they are.
        """
        if self.colors is None or self.color is None:
            raise ValueError("these images were not painted: they have no colour")
        return self.colors[self.color]

    @property
    def labels(self) -> dict[str, np.ndarray]:
        """Label -> true value of every entry; colours as RGB, (n, 3)."""
        labels = self._of_items()
        return labels if self.color is None else {**labels, COLOR: self.rgb}

    @property
    def codes(self) -> dict[str, np.ndarray]:
        """Label -> value of every entry, for pairing; colours as whole numbers, (n,).

        Equal numbers are equal colours in all sets whose ``first_color`` tells their
        palettes apart.
        """
        labels = self._of_items()
        if self.color is None:
            return labels
        return {**labels, COLOR: self.first_color + np.asarray(self.color)}

    def _of_items(self) -> dict[str, np.ndarray]:
        return {name: values[self.item] for name, values in self.item_labels.items()}

    def images(self, entries: np.ndarray | slice = slice(None)) -> Images:
        """The images of some entries, (b, H, W, C) in [-1, 1]; C = 3 if coloured."""
        unit = to_unit(self.variants[self.variant[entries]])
        if self.colors is None:
            return 2.0 * unit - 1.0
        return colorize(unit, self.rgb[entries], self.background)

    def subset(self, entries: np.ndarray) -> "ImageSet":
        """The same images, some entries of them, in the given order."""
        color = None if self.color is None else self.color[entries]
        return dataclasses.replace(
            self, item=self.item[entries], variant=self.variant[entries], color=color
        )

    def in_colors(self, rgb: np.ndarray) -> "ImageSet":
        """The same images, each in a colour of its own, (n, 3) in [0, 1]."""
        return dataclasses.replace(self, colors=rgb, color=np.arange(len(self)))


def plain_set(
    images: Pictures,
    indices: np.ndarray,
    *,
    variants: int = 1,
    augment: Affine | None = None,
    seed: int = 0,
) -> ImageSet:
    """Some images of a data set as they are, or distorted versions of them.

    Args:
      images: uint8 (n, H, W, C).
      indices: which of them.
      variants: versions of each image; the image itself if there is no ``augment``.
      augment: the distortion; the distorted images are kept in memory.
      seed: of the distortions.

    Raises:
      ValueError: no images or no variant.
    """
    if not len(indices) or variants < 1:
        raise ValueError(
            f"a set needs images and variants; got {len(indices)} and {variants}"
        )
    item = np.tile(np.asarray(indices), variants)
    if augment is None or not augment.active:
        return ImageSet(images, item, item)
    return ImageSet(_distort(augment, images[item], seed), item, np.arange(len(item)))


def _distort(augment: Affine, images: np.ndarray, seed: int) -> np.ndarray:
    keys = jax.random.split(jax.random.key(seed), len(images))
    distorted = jax.jit(jax.vmap(augment))(keys, jnp.asarray(images, jnp.float32))
    return np.asarray(distorted)
