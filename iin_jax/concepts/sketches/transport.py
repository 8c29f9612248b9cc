"""Sliced optimal transport between the patches of an image and those of a sketch.

Rabin, Peyré, Delon and Bernot, *Wasserstein Barycenter and its Application to Texture
Mixing*, SSVM 2011: along a direction the cheapest transport between two clouds of
points matches them in sorted order, so a cloud becomes the other in a few steps along
the axes of random rotations. Here the points are the patches of one image that hold
ink, so that a stroke takes the sketch's profile where it is, and nothing else moves.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from iin_jax.concepts.sketches.ink import (
    background,
    brightness,
    holds_ink,
    in_hues,
    is_grey,
    with_moments,
)
from iin_jax.types import Array, Images

Rotations = tuple[Array, ...]  # (rounds, steps, d, d) for every size of patch

BATCH = 32  # images per call, filled up
RATE = 0.7  # share of the way to the sketch's patches per rotation


@dataclasses.dataclass(frozen=True)
class Transport:
    """The styliser that needs nothing but the package.

    A grey sketch changes the brightness of coloured images alone, a coloured one all
    channels, and brings mean and deviation of their ink near to its own. An image in
    its own manner comes back as it is, up to rounding.

    Attributes:
      sizes: sides of the patches, odd; the results of all are averaged.
      rounds: how often patches are cut out, moved and laid over each other again.
      steps: random rotations per round.
      seed: of the rotations.
    """

    sizes: tuple[int, ...] = (3, 5)
    rounds: int = 2
    steps: int = 8
    seed: int = 0

    @property
    def settings(self) -> str:
        """What the results depend on, as text."""
        return f"transport 3 {dataclasses.asdict(self)}"

    def __call__(self, images: Images, sketch: Array, /) -> Images:
        """Stylised images, (n, H, W, C) in [-1, 1]; see ``Styliser``."""
        images, sketch = np.asarray(images, np.float32), np.asarray(sketch, np.float32)
        channels, change = images.shape[-1], _transported
        if channels == 3:
            channels = 1 if is_grey(sketch) else 3
            change = _rebrightened if channels == 1 else _recolored
        rotations = self._rotations(channels)
        result = np.empty_like(images)
        for start in range(0, len(images), BATCH):
            part = images[start : start + BATCH]
            filled = np.concatenate([part, np.repeat(part[:1], BATCH - len(part), 0)])
            changed = change(filled, sketch, rotations)
            result[start : start + BATCH] = np.asarray(changed)[: len(part)]
        return result

    def _rotations(self, channels: int) -> tuple[np.ndarray, ...]:
        """For every size the rotations of all rounds, (rounds, steps, d, d)."""
        result = []
        for size in self.sizes:
            rng = np.random.default_rng([self.seed, size])
            dim = size * size * channels
            normal = rng.standard_normal((self.rounds, self.steps, dim, dim))
            result.append(np.linalg.qr(normal)[0].astype(np.float32))
        return tuple(result)


@jax.jit
def _rebrightened(images: Images, sketch: Array, rotations: Rotations) -> Images:
    """Coloured images whose brightness takes the manner of a grey sketch."""
    changed = _transported(brightness(images), sketch[..., :1], rotations)
    return in_hues(images, changed)


@jax.jit
def _recolored(images: Images, sketch: Array, rotations: Rotations) -> Images:
    """Coloured images in the manner of a coloured sketch."""
    return with_moments(_transported(images, sketch, rotations), sketch)


@jax.jit
def _transported(images: Images, sketch: Array, rotations: Rotations) -> Images:
    """Images (n, H, W, C) whose patches take the distribution of the sketch's."""

    def one_round(images, rotations):
        moved = [
            jax.vmap(_moved, (0, None, None))(images, sketch, r) for r in rotations
        ]
        return jnp.clip(sum(moved) / len(moved), -1.0, 1.0), None

    return jax.lax.scan(one_round, images, rotations)[0]


def _moved(image: Array, sketch: Array, rotations: Array) -> Array:
    """One image after a round with patches of one size, (H, W, C)."""
    size = round((rotations.shape[-1] // image.shape[-1]) ** 0.5)
    patches, ink = _patches(image, size)
    target, target_ink = _patches(sketch, size)

    def step(patches, rotation):
        goal = _matched(patches @ rotation, ink, target @ rotation, target_ink)
        way = jnp.where(ink[:, None], goal - patches @ rotation, 0.0)
        return patches + RATE * way @ rotation.T, None

    return _laid_over(jax.lax.scan(step, patches, rotations)[0], image.shape, size)


def _matched(x: Array, ink: Array, target: Array, target_ink: Array) -> Array:
    """For every column of x, the target's value of the same rank among ink, (P, d)."""
    rank = jnp.arange(len(x))
    order = _order(x, ink)
    ordered = jnp.sort(jnp.where(target_ink[:, None], target, jnp.inf), axis=0)
    last, target_last = ink.sum() - 1, target_ink.sum() - 1
    place = jnp.minimum(rank, last) * (target_last / jnp.maximum(last, 1))
    below = jnp.floor(place).astype(jnp.int32)
    above = jnp.minimum(below + 1, target_last)
    part = (place - below)[:, None]
    values = ordered[below] + part * (ordered[above] - ordered[below])
    columns = jnp.arange(x.shape[1])
    return jnp.zeros_like(x).at[order, columns].set(values, unique_indices=True)


def _order(x: Array, ink: Array) -> Array:
    """For every column of x (P, d) its rows by value, those without ink last, (P, d).

    Value and row go into one integer each, which CPUs sort seven times as fast as pairs
    of a float and its row; values nearer than 2^-17 of their range may change places.
    """
    bits = max(1, (len(x) - 1).bit_length())
    levels = 2 ** (31 - bits) - 2
    low = jnp.where(ink[:, None], x, jnp.inf).min(axis=0)
    high = jnp.where(ink[:, None], x, -jnp.inf).max(axis=0)
    share = (x - low) / jnp.maximum(high - low, 1e-12)
    level = jnp.clip(jnp.nan_to_num(share) * levels, 0, levels).astype(jnp.int32)
    level = jnp.where(ink[:, None], level, levels + 1)
    row = jnp.arange(len(x), dtype=jnp.int32)[:, None]
    keys = jnp.sort(((level << bits) | row).T, axis=-1)
    return (keys & (2**bits - 1)).T


def _patches(image: Array, size: int) -> tuple[Array, Array]:
    """Patches about every pixel, (H W, size size C), and which hold ink, (H W,)."""
    half, (height, width, channels) = size // 2, image.shape
    padded = jnp.pad(image, ((half, half), (half, half), (0, 0)), mode="edge")
    shifts = [
        padded[top : top + height, left : left + width]
        for top in range(size)
        for left in range(size)
    ]
    patches = jnp.stack(shifts, axis=2).reshape(height * width, -1, channels)
    ink = jnp.any(holds_ink(patches, background(image)), axis=1)
    return patches.reshape(height * width, -1), ink


def _laid_over(patches: Array, shape: tuple[int, ...], size: int) -> Array:
    """The image of which every pixel is the mean of all patches over it."""
    half, (height, width, channels) = size // 2, shape
    patches = patches.reshape(height, width, size, size, channels)
    total = jnp.zeros((height + 2 * half, width + 2 * half, channels))
    count = jnp.zeros((height + 2 * half, width + 2 * half, 1))
    for top in range(size):
        for left in range(size):
            place = slice(top, top + height), slice(left, left + width)
            total = total.at[place].add(patches[:, :, top, left])
            count = count.at[place].add(1.0)
    return (total / count)[half : half + height, half : half + width]
