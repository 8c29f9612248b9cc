"""The network behind a convolutional judge, and one step of its training."""

import functools
from collections.abc import Iterator
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from iin_jax.analysis.judges.pictures import brightness
from iin_jax.linen import apply
from iin_jax.networks.convolution import convolve
from iin_jax.types import Array, Images, Key, Tree

View = Literal["brightness", "color"]
WIDTHS = (24, 48, 96)  # channels after each halving; the last is repeated


class JudgeNetwork(nn.Module):
    """Convolutions 3x3 with stride 2 down to 4x4 positions, one hidden layer, outputs.

    Nothing is normalised: on two cores that would double the time of a step.

    Attributes:
      outputs: number of logits, or of real values.
      halvings: number of convolutions.
    """

    outputs: int
    halvings: int

    @nn.compact
    def __call__(self, x: Images) -> Array:
        """(B, H, W, C) -> (B, outputs)."""
        for level in range(self.halvings):
            width = WIDTHS[min(level, len(WIDTHS) - 1)]
            x = nn.relu(nn.Conv(width, (3, 3), 2, 1, conv_general_dilated=convolve)(x))
        x = nn.relu(nn.Dense(128)(x.reshape(len(x), -1)))
        return nn.Dense(self.outputs)(x)


@functools.partial(jax.jit, static_argnums=(0, 1))
def first_params(module: JudgeNetwork, view: View, key: Key, images: Images) -> Tree:
    """Untrained parameters for images (B, H, W, C) in [-1, 1]."""
    return module.init(key, look(images, view))["params"]


@functools.partial(jax.jit, static_argnums=(0, 1))
def outputs_of(
    module: JudgeNetwork, view: View, params: Tree, images: Images
) -> jax.Array:
    """Images (B, H, W, C) in [-1, 1] -> (B, outputs)."""
    return apply(module, {"params": params}, look(images, view))


@functools.lru_cache(maxsize=8)
def judge_training(
    outputs: int, halvings: int, view: View, shift: int, steps: int, rate: float
):
    """What trains a judge, jitted once for all judges alike.

    Args:
      outputs, halvings: of the network.
      view: what it sees.
      shift: pixels by which images are moved, up to.
      steps: of the whole training.
      rate: peak of the one-cycle learning rate.

    Returns:
      The network, an optax transform, and a step: params, state, uint8 images, what is
      expected, key -> params and state anew. Expected are class indices (B,), integers,
      or real values (B, d), floats.
    """
    module = JudgeNetwork(outputs, halvings)
    tx = optax.adam(optax.cosine_onecycle_schedule(steps, rate))

    def loss(params: Tree, images: Images, expected: Array) -> jax.Array:
        found = outputs_of(module, view, params, images)
        if jnp.issubdtype(expected.dtype, jnp.integer):
            each = optax.softmax_cross_entropy_with_integer_labels(found, expected)
        else:
            each = optax.huber_loss(found, expected, delta=0.1)
        return each.mean()

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params: Tree, state, images: np.ndarray, expected: np.ndarray, key: Key):
        seen = shifted(to_signed(images), shift, key)
        gradients = jax.grad(loss)(params, seen, expected)
        updates, state = tx.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    return module, tx, step


def shifted(images: Images, shift: int, key: Key) -> Images:
    """Every image moved by up to ``shift`` pixels; its border is repeated."""
    if shift == 0:
        return images
    sides = (shift, shift)
    padded = jnp.pad(images, ((0, 0), sides, sides, (0, 0)), mode="edge")
    corners = jax.random.randint(key, (len(images), 2), 0, 2 * shift + 1)

    def crop(image: Array, corner: Array) -> Array:
        start = (corner[0], corner[1], 0)
        return jax.lax.dynamic_slice(image, start, images.shape[1:])

    return jax.vmap(crop)(padded, corners)


def look(images: Images, view: View) -> Array:
    """What a judge sees of images in [-1, 1]."""
    return brightness(images) if view == "brightness" else jnp.asarray(images)


def to_signed(images: Array) -> Array:
    """uint8 0..255 -> float32 [-1, 1]."""
    return jnp.asarray(images, jnp.float32) / 127.5 - 1.0


def batches(count: int, batch: int, steps: int, seed: int) -> Iterator[np.ndarray]:
    """Indices of every step: one permutation after the other, rests left out."""
    rng = np.random.default_rng([seed, 0x1D6E])
    per_epoch = count // batch
    for index in range(steps):
        if index % per_epoch == 0:
            order = rng.permutation(count)
        start = index % per_epoch * batch
        yield order[start : start + batch]
