"""Palettes of colours, and grey images painted in them."""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from iin_jax.types import Array, Images

MIN_BRIGHTNESS = 0.2  # least value of a colour's brightest channel

Background = Literal["black", "negative"]


def palette(count: int = 4096, seed: int = 0) -> np.ndarray:
    """Colours drawn uniformly from the RGB cube, fixed by the seed.

    Args:
      count: number of colours, >= 1.
      seed: seed of the draw; palettes of two seeds have no colour in common.

    Returns:
      RGB colours float32 (count, 3) in [0, 1], their brightest channel at least 0.2.

    Raises:
      ValueError: a count below 1.
    """
    if count < 1:
        raise ValueError(f"a palette needs at least one colour; got {count}")
    rng = np.random.default_rng([seed, 0xC0105])
    colors = np.empty((0, 3))
    while len(colors) < count:
        drawn = rng.uniform(size=(2 * count, 3))
        colors = np.concatenate([colors, drawn[drawn.max(axis=1) >= MIN_BRIGHTNESS]])
    return colors[:count].astype(np.float32)


def colors_by_hue(colors: np.ndarray, groups: int) -> np.ndarray:
    """Colours in groups of like hue, as many in each.

    Args:
      colors: RGB, (P, 3) in [0, 1].
      groups: number of groups, 1 to P.

    Returns:
      Indices of the colours of each group, (groups, P // groups); the rest is in none.

    Raises:
      ValueError: more groups than colours, or none.
    """
    from skimage.color import rgb2hsv

    if not 1 <= groups <= len(colors):
        raise ValueError(
            f"{len(colors)} colours make 1 to {len(colors)} groups; got {groups}"
        )
    order = np.argsort(rgb2hsv(colors)[:, 0], kind="stable")
    size = len(colors) // groups
    return order[: groups * size].reshape(groups, size)


@functools.partial(jax.jit, static_argnames="background")
def colorize(grey: Array, colors: Array, background: Background = "black") -> Images:
    """Paints grey images by multiplying their brightness with a colour.

    Args:
      grey: grey images, (B, H, W, 1) in [0, 1].
      colors: a colour per image, (B, 3) in [0, 1].
      background: ``"black"``, or ``"negative"`` as in the authors' code, which
        multiplies images in [-1, 1]: the background becomes minus the colour.

    Returns:
      Painted images, (B, H, W, 3) in [-1, 1].
    """
    colors = jnp.asarray(colors)[:, None, None, :]
    if background == "negative":
        return (2.0 * grey - 1.0) * colors
    return 2.0 * grey * colors - 1.0


@jax.jit
def to_unit(images: Array) -> Array:
    """Images uint8 0..255 as float32 in [0, 1]."""
    return jnp.asarray(images, jnp.float32) / 255.0
