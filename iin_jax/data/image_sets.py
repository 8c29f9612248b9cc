"""Sets of images as a network sees them: variants of images, in colours or not."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from iin_jax.data.augment import Affine
from iin_jax.data.palette import Background, colorize, to_unit
from iin_jax.types import Array, Images, Key

COLOR = "color"  # label of painted images


class Pictures(Protocol):
    """Images uint8 (n, H, W, C): an array in memory, or ``StoredImages`` on disk."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, entries, /) -> np.ndarray: ...


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """Entries, each a variant of an image, painted in a colour if there is a palette.

    Attributes:
      variants: distorted or original images 0..255, (m, H, W, C); grey images, C = 1,
        if there is a palette.
      item: index of each entry's image in the data set, (n,).
      variant: index of each entry's variant, (n,); entries that show one variant in
        several colours have one index.
      colors: the palette, (P, 3) in [0, 1]; None: images are not painted.
      color: index of each entry's colour in the palette, (n,); None without a palette.
      background: background of painted images: black, or the colour's negative.
      item_labels: label -> values of all images of the data set, one per image.
      first_color: code of the palette's first colour, so that palettes of unlike
        colours can have codes apart.
      picture: index of the picture that each entry is a version of, (n,); None: every
        image is a picture of its own.
      original: index of the variant that each entry shows in its version, (n,), equal
        for all versions of one; None: there are no versions.
    """

    variants: Pictures
    item: np.ndarray
    variant: np.ndarray
    colors: np.ndarray | None = None
    color: np.ndarray | None = None
    background: Background = "black"
    item_labels: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    first_color: int = 0
    picture: np.ndarray | None = None
    original: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.item)

    @property
    def pictures(self) -> np.ndarray:
        """Which picture each entry shows, (n,), in whatever version."""
        return self.item if self.picture is None else self.picture

    @property
    def rgb(self) -> np.ndarray:
        """True colour of every entry, (n, 3) in [0, 1].

        Raises:
          ValueError: the images are not painted.
        """
        if self.colors is None or self.color is None:
            raise ValueError("these images were not painted: they have no colour")
        return self.colors[self.color]

    @property
    def labels(self) -> dict[str, np.ndarray]:
        """Label -> true value of every entry; colours as RGB, (n, 3) in [0, 1]."""
        labels = self._of_items()
        return labels if self.color is None else {**labels, COLOR: self.rgb}

    @property
    def codes(self) -> dict[str, np.ndarray]:
        """Label -> value of every entry, for pairing; colours as integer codes (n,).

        Within a palette equal codes are equal colours; across palettes, if their
        ranges of codes, which begin at ``first_color``, do not overlap.
        """
        labels = self._of_items()
        if self.color is None:
            return labels
        return {**labels, COLOR: self.first_color + np.asarray(self.color)}

    def _of_items(self) -> dict[str, np.ndarray]:
        """Label -> value of every entry's image."""
        return {name: values[self.item] for name, values in self.item_labels.items()}

    def images(self, entries: np.ndarray | slice = slice(None)) -> Images:
        """Images of the given entries, (b, H, W, C) in [-1, 1]; C = 3 if painted."""
        unit = to_unit(self.variants[self.variant[entries]])
        if self.colors is None:
            return 2.0 * unit - 1.0
        return colorize(unit, self.rgb[entries], self.background)

    def subset(self, entries: np.ndarray) -> "ImageSet":
        """The set of the given entries, indices or a mask, in their order."""
        optional = {
            name: None if column is None else column[entries]
            for name in ("color", "picture", "original")
            for column in [getattr(self, name)]
        }
        item, variant = self.item[entries], self.variant[entries]
        return dataclasses.replace(self, item=item, variant=variant, **optional)

    def in_colors(self, rgb: np.ndarray) -> "ImageSet":
        """The same entries, entry i painted in ``rgb[i]``; (n, 3) in [0, 1]."""
        return dataclasses.replace(self, colors=rgb, color=np.arange(len(self)))


def plain_set(
    images: Pictures,
    indices: np.ndarray,
    *,
    variants: int = 1,
    augment: Affine | None = None,
    seed: int = 0,
) -> ImageSet:
    """A set of images of a data set without painting, original or distorted.

    Args:
      images: images of the data set, uint8 (n, H, W, C).
      indices: indices of the set's images.
      variants: number of entries per image, at least 1; repetitions of the original
        without a distortion.
      augment: random distortion of every entry; distorted images stay in memory. None
        or one that is not active: original images.
      seed: seed of the distortions.

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
    """Distorted images 0..255, float32 (n, H, W, C), each by a draw of its own."""
    keys = jax.random.split(jax.random.key(seed), len(images))
    return np.asarray(_distorted(augment, keys, jnp.asarray(images, jnp.float32)))


@functools.partial(jax.jit, static_argnums=0)
def _distorted(augment: Affine, keys: Key, images: Array) -> Array:
    return jax.vmap(augment)(keys, images)
