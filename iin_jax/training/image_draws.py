"""Images for the training of networks: drawn, distorted, dequantised and painted."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from iin_jax.data.augment import Affine
from iin_jax.data.palette import Background, colorize, to_unit
from iin_jax.training.autoencoder_objective import ImageBatch
from iin_jax.training.parallel import Streamed
from iin_jax.types import Array, Images, Indices, Key, Tree


class TrainingImages(NamedTuple):
    """Images that are painted anew at every use, if there are colours.

    Attributes:
      images: uint8 (n, H, W, C); None: a stream brings the batch's.
      palette: (P, 3) in [0, 1]; None: images are taken as they are.
      classes: (n,), 0 .. classes - 1, for a classifier; None: for anything else.
      perceptual: weights of LPIPS, for a loss that reads them.
      own_colors: (classes, m), indices in the palette of the colours that are a class's
        own; None: no class has any.
    """

    images: Array | None
    palette: Array | None = None
    classes: Array | None = None
    perceptual: Tree | None = None
    own_colors: Array | None = None


class StreamedImages(NamedTuple):
    """One batch from the host: index (B,) of each image, and uint8 (B, H, W, C)."""

    index: Array
    images: Array


class LabelledBatch(NamedTuple):
    """Images (B, H, W, C) in [-1, 1] and their classes (B,)."""

    images: Images
    classes: Indices


@dataclasses.dataclass(frozen=True)
class Preparation:
    """What happens to an image before a network sees it.

    Attributes:
      augment: range of its distortion.
      background: of painted images.
      in_own_color: share of images that are painted in a colour of their class.
    """

    augment: Affine = dataclasses.field(default_factory=Affine)
    background: Background = "black"
    in_own_color: float = 0.0

    def __call__(self, key: Key, image: Array, color: Array | None) -> Images:
        """uint8 (H, W, C) -> (H, W, C) in [-1, 1]; noise per pixel dequantises it.

        Args:
          key: of distortion and noise.
          image: 0..255.
          color: (3,) in [0, 1], or None.
        """
        keys = jax.random.split(key)
        pixels = image.astype(jnp.float32)
        if self.augment.active:
            pixels = self.augment(keys[0], pixels)
        unit = (pixels + jax.random.uniform(keys[1], pixels.shape)) / 256.0
        if color is None:
            return 2.0 * unit - 1.0
        return colorize(unit[None], color[None], self.background)[0]


class EntryImages(NamedTuple):
    """Entries whose images are made at use.

    Attributes:
      variant: (n,), index of each entry's picture.
      rgb: (n, 3) in [0, 1], its colour; None: shown as it is.
      pictures: uint8 (m, H, W, C).
    """

    variant: Array
    rgb: Array | None
    pictures: Array


def entry_images(
    augment: Affine,
    background: Background,
    entries: EntryImages,
    index: Array,
    keys: Key,
) -> Images:
    """Images (b, H, W, C) in [-1, 1] of some entries, as ``ImageSet`` shows them.

    Args:
      augment: range of a fresh distortion of each.
      background: of painted images.
      entries: of the whole set.
      index: (b,), entries to show.
      keys: (b,), of the distortions.
    """
    pixels = entries.pictures[entries.variant[index]].astype(jnp.float32)
    if augment.active:
        pixels = jax.vmap(augment)(keys, pixels)
    unit = to_unit(pixels)
    if entries.rgb is None:
        return 2.0 * unit - 1.0
    return colorize(unit, entries.rgb[index], background)


def draw_images(
    preparation: Preparation, data: Any, key: Key, examples: Array
) -> tuple[Indices, Images]:
    """Draws image and colour of each example, and prepares it.

    Args:
      preparation: static.
      data: ``TrainingImages``, or ``Streamed`` ones with ``StreamedImages``.
      key: of this batch.
      examples: (B,), indices in the global batch.

    Returns:
      Index (B,) of the images, and images (B, H, W, C) in [-1, 1].
    """
    streamed = isinstance(data, Streamed)
    resident = data.resident if streamed else data

    def own_color(key, other, resident, index):
        bits_key, share_key = jax.random.split(key)
        own = resident.own_colors[resident.classes[index]]
        drawn = own[jax.random.bits(bits_key) % own.shape[0]]
        follows = jax.random.uniform(share_key) < preparation.in_own_color
        return jnp.where(follows, drawn, other)

    def draw_one(example):
        draw_key, image_key = jax.random.split(jax.random.fold_in(key, example))
        bits = jax.random.bits(draw_key, (2,))
        if streamed:
            index, image = (part[example] for part in data.batch)
        else:
            index = bits[0] % resident.images.shape[0]
            image = resident.images[index]
        color = None
        if resident.palette is not None:
            chosen = bits[1] % resident.palette.shape[0]
            if resident.own_colors is not None:
                chosen = own_color(draw_key, chosen, resident, index)
            color = resident.palette[chosen]
        return index, preparation(image_key, image, color)

    return jax.vmap(draw_one)(examples)


def draw_with_noise(
    preparation: Preparation,
    data: Any,
    key: Key,
    examples: Array,
    *,
    latent_dim: int,
) -> ImageBatch:
    """``draw_images``, and the noise of an autoencoder's posterior, (B, latent_dim)."""
    image_key, noise_key = jax.random.split(key)

    def noise(example):
        return jax.random.normal(jax.random.fold_in(noise_key, example), (latent_dim,))

    _, images = draw_images(preparation, data, image_key, examples)
    return ImageBatch(images, jax.vmap(noise)(examples))


def draw_labelled(
    preparation: Preparation, data: Any, key: Key, examples: Array
) -> LabelledBatch:
    """``draw_images``, and their classes."""
    index, images = draw_images(preparation, data, key, examples)
    resident = data.resident if isinstance(data, Streamed) else data
    return LabelledBatch(images, resident.classes[index])
