"""The network of a convolutional judge, and one step of its training."""

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
WIDTHS = (24, 48, 96)  # channels of each convolution; further ones have the last


class JudgeNetwork(nn.Module):
    """3x3 convolutions of stride 2, a hidden layer of 128 units, and a linear output.

    There is no normalisation layer: on two cores it would double the time of a step.

    Attributes:
      outputs: number of logits, or of real values.
      halvings: number of convolutions, each of which halves height and width.
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
    """Outputs (B, outputs) of a judge's network for images (B, H, W, C) in [-1, 1]."""
    return apply(module, {"params": params}, look(images, view))


@functools.lru_cache(maxsize=8)
def judge_training(
    outputs: int, halvings: int, view: View, shift: int, steps: int, rate: float
):
    """Network, optimiser and training step, compiled once for judges of one kind.

    The step maps (params, optimiser state, uint8 images (B, H, W, C), targets, key) to
    new params and optimiser state. Targets are class indices (B,), integers, with a
    cross-entropy loss, or standardised real values (B, d), floats, with a Huber loss.

    Args:
      outputs, halvings: attributes of the network.
      view: input of the network, ``"brightness"`` or ``"color"``.
      shift: largest random shift of an image, in pixels.
      steps: number of steps of the whole training.
      rate: peak of the one-cycle learning rate.

    Returns:
      The network, an optax transform, and the step.
    """
    module = JudgeNetwork(outputs, halvings)
    tx = optax.adam(optax.cosine_onecycle_schedule(steps, rate))

    def loss(params: Tree, images: Images, expected: Array) -> jax.Array:
        predicted = outputs_of(module, view, params, images)
        if jnp.issubdtype(expected.dtype, jnp.integer):
            each = optax.softmax_cross_entropy_with_integer_labels(predicted, expected)
        else:
            each = optax.huber_loss(predicted, expected, delta=0.1)
        return each.mean()

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params: Tree, state, images: np.ndarray, expected: np.ndarray, key: Key):
        augmented = shifted(to_signed(images), shift, key)
        gradients = jax.grad(loss)(params, augmented, expected)
        updates, state = tx.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    return module, tx, step


def shifted(images: Images, shift: int, key: Key) -> Images:
    """Moves every image by up to ``shift`` random pixels; its border is repeated."""
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
    """A judge's input: images (B, H, W, C) in [-1, 1], or their brightness."""
    return brightness(images) if view == "brightness" else jnp.asarray(images)


def to_signed(images: Array) -> Array:
    """Images uint8 0..255 as float32 in [-1, 1]."""
    return jnp.asarray(images, jnp.float32) / 127.5 - 1.0


def batches(count: int, batch: int, steps: int, seed: int) -> Iterator[np.ndarray]:
    """Indices (batch,) of every step, from one permutation per epoch.

    An epoch's incomplete last batch is left out.

    Args:
      count: number of images, at least ``batch``.
      batch: images per step.
      steps: number of steps.
      seed: seed of the permutations.
    """
    rng = np.random.default_rng([seed, 0x1D6E])
    per_epoch = count // batch
    for index in range(steps):
        if index % per_epoch == 0:
            order = rng.permutation(count)
        start = index % per_epoch * batch
        yield order[start : start + batch]
