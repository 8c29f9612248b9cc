"""Background, ink and colours of images, as every styliser takes them."""

import jax
import jax.numpy as jnp
import numpy as np

from iin_jax.types import Array, Images

INK = 0.1  # least difference of ink from the background, in [0, 2]
GREY = 1e-3  # most difference between the channels of a grey sketch
DARK = 0.05  # brightness below which a pixel shows no hue, in [0, 1]
FULL = 0.5  # difference from the background from which on ink is ink alone
FLAT = 1e-3  # deviation of ink below which there is none to speak of


def background(image: Array) -> Array:
    """The median colour of an image's border, (C,)."""
    top_and_bottom = image[jnp.array([0, -1])].reshape(-1, image.shape[-1])
    sides = image[:, jnp.array([0, -1])].reshape(-1, image.shape[-1])
    return jnp.median(jnp.concatenate([top_and_bottom, sides]), axis=0)


def holds_ink(pixels: Array, ground: Array) -> Array:
    """Which pixels (..., C) differ from a background (C,) in any channel, (...)."""
    return jnp.any(jnp.abs(pixels - ground) > INK, axis=-1)


def is_grey(sketch: Array) -> bool:
    """Whether a sketch (H, W, C) shows no colour."""
    return bool(np.ptp(np.asarray(sketch), axis=-1).max() < GREY)


def brightness(images: Images) -> Images:
    """The brightest channel of every pixel, (B, H, W, C) -> (B, H, W, 1) in [-1, 1]."""
    return images.max(axis=-1, keepdims=True)


def in_hues(images: Images, changed: Images) -> Images:
    """Images of another brightness, each pixel in its hue, (B, H, W, 3) in [-1, 1].

    A pixel that shows no hue takes the image's mean one, by brightness.

    Args:
      images: (B, H, W, 3) in [-1, 1].
      changed: their new ``brightness``, (B, H, W, 1) in [-1, 1].
    """
    unit, changed = (images + 1.0) / 2.0, (changed + 1.0) / 2.0
    value = unit.max(axis=-1, keepdims=True)
    total = jnp.maximum(value.sum(axis=(1, 2), keepdims=True), DARK)
    mean_hue = unit.sum(axis=(1, 2), keepdims=True) / total
    hue = jnp.where(value > DARK, unit / jnp.maximum(value, DARK), mean_hue)
    same = jnp.abs(changed - value) < 1e-6
    return jnp.where(same, images, jnp.clip(2.0 * changed * hue - 1.0, -1.0, 1.0))


def with_moments(images: Images, sketch: Array) -> Images:
    """Images whose ink takes the mean and deviation of a sketch's, channel by channel.

    Ink that differs from the background by less than ``FULL`` is moved by as much less,
    so that no halo grows around edges; hence moments come near, and do not agree.

    Args:
      images: (B, H, W, C) in [-1, 1].
      sketch: (H, W, C) in [-1, 1].

    Returns:
      (B, H, W, C) in [-1, 1].
    """
    target_mean, target_deviation = _moments(sketch)

    def one(image: Array) -> Array:
        mean, deviation = _moments(image)
        ratio = jnp.where(deviation > FLAT, target_deviation / deviation, 1.0)
        moved = (image - mean) * ratio + target_mean
        return jnp.clip(image + _ink(image, FULL) * (moved - image), -1.0, 1.0)

    return jax.vmap(one)(images)


def _ink(image: Array, full: float) -> Array:
    """How far a pixel is ink, (H, W, 1) in [0, 1]: 1 from a difference ``full`` on."""
    difference = jnp.abs(image - background(image)).max(axis=-1, keepdims=True)
    return jnp.clip(difference / full, 0.0, 1.0)


def _moments(image: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of an image's ink, each (C,); deviations above 0."""
    ink = _ink(image, INK)
    total = jnp.maximum(ink.sum(), 1e-6)
    mean = (ink * image).sum(axis=(0, 1)) / total
    variance = (ink * jnp.square(image - mean)).sum(axis=(0, 1)) / total
    return mean, jnp.sqrt(variance + 1e-12)
