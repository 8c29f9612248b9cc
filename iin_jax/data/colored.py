"""Grey images in many colours: entries of a latent cache and of evaluations."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from iin_jax.data.augment import Affine
from iin_jax.data.palette import colorize, to_unit
from iin_jax.types import Images


@dataclasses.dataclass(frozen=True)
class ColoredSet:
    """Entries, each a variant of a grey image in one colour of a palette.

    Attributes:
      variants: (m, H, W, 1), grey images 0..255, distorted or not.
      colors: (P, 3) in [0, 1].
      item: (n,), index of each entry's image in the data set.
      variant: (n,), index of its variant; equal for one thing in several colours.
      color: (n,), index of its colour.
    """

    variants: np.ndarray
    colors: np.ndarray
    item: np.ndarray
    variant: np.ndarray
    color: np.ndarray

    def __len__(self) -> int:
        return len(self.item)

    @property
    def rgb(self) -> np.ndarray:
        """True colour of every entry, (n, 3) in [0, 1]."""
        return self.colors[self.color]

    def images(self, entries: np.ndarray | slice = slice(None)) -> Images:
        """The images of some entries, (b, H, W, 3) in [-1, 1]."""
        grey = to_unit(self.variants[self.variant[entries]])
        return colorize(grey, self.rgb[entries])


def colored_set(
    images: np.ndarray,
    indices: np.ndarray,
    colors: np.ndarray,
    *,
    copies: int,
    variants: int = 1,
    augment: Affine | None = None,
    seed: int = 0,
) -> ColoredSet:
    """Paints some images of a data set, every colour equally often if it divides.

    Args:
      images: uint8 (n, H, W, 1).
      indices: which of them.
      colors: palette, (P, 3) in [0, 1].
      copies: colours per variant, all different.
      variants: versions of each image; the image itself if there is no ``augment``.
      augment: the distortion.
      seed: of distortions and colours.

    Raises:
      ValueError: no images, no copy or variant, or more copies than colours.
    """
    if not len(indices) or variants < 1 or not 1 <= copies <= len(colors):
        raise ValueError(
            f"a coloured set needs images, variants and 1 to {len(colors)} copies in "
            f"different colours; got {len(indices)}, {variants} and {copies}"
        )
    item = np.tile(np.asarray(indices), variants)
    grey = images[item]
    if augment is not None and augment.active:
        grey = _distort(augment, grey, seed)
    variant = np.tile(np.arange(len(item)), copies)
    color = _distinct_colors(len(item), copies, len(colors), seed).T.ravel()
    return ColoredSet(grey, colors, item[variant], variant, color)


def _distinct_colors(variants: int, copies: int, colors: int, seed: int) -> np.ndarray:
    """Indices (variants, copies), no colour twice in a row, each as often as can be."""
    rng = np.random.default_rng([seed, 0xC0])
    rows = colors // copies  # that one permutation of the palette fills
    rounds = [
        rng.permutation(colors)[: rows * copies].reshape(rows, copies)
        for _ in range(-(-variants // rows))
    ]
    return np.concatenate(rounds)[:variants]


def _distort(augment: Affine, grey: np.ndarray, seed: int) -> np.ndarray:
    keys = jax.random.split(jax.random.key(seed), len(grey))
    distorted = jax.jit(jax.vmap(augment))(keys, jnp.asarray(grey, jnp.float32))
    return np.asarray(distorted)
