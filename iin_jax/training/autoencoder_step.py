"""One step of the autoencoder's training; pure, in global view."""

import functools
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from iin_jax.data.augment import Affine
from iin_jax.data.palette import colorize
from iin_jax.flows.base import apply
from iin_jax.losses import AutoencoderOutputs, WeightedSum
from iin_jax.networks.autoencoder import Autoencoder
from iin_jax.training.parallel import Metrics, Step, mean_gradients
from iin_jax.training.state import TrainState
from iin_jax.types import Array, Images, Indices, Key, Latents


class ColoredGrey(NamedTuple):
    """Grey images that are coloured anew at every use.

    Attributes:
      grey: uint8 (n, H, W, 1).
      palette: (P, 3) in [0, 1].
    """

    grey: Array
    palette: Array


class ImageBatch(NamedTuple):
    """Images (B, H, W, C) in [-1, 1] and the posterior's noise (B, N)."""

    images: Images
    noise: Latents


def draw_images(
    augment: Affine, data: ColoredGrey, key: Key, examples: Array
) -> tuple[Indices, Images]:
    """Draws image, distortion, colour and dequantisation of each example.

    Returns:
      Index (B,) of the image, and images (B, H, W, 3) in [-1, 1].
    """

    def one(example):
        keys = jax.random.split(jax.random.fold_in(key, example), 3)
        bits = jax.random.bits(keys[0], (2,))
        index = bits[0] % data.grey.shape[0]
        color = bits[1] % data.palette.shape[0]
        grey = data.grey[index].astype(jnp.float32)
        if augment.active:
            grey = augment(keys[1], grey)
        grey = (grey + jax.random.uniform(keys[2], grey.shape)) / 256.0
        return index, grey, data.palette[color]

    index, grey, colors = jax.vmap(one)(examples)
    return index, colorize(grey, colors)


def draw_colored(
    latent_dim: int, augment: Affine, data: ColoredGrey, key: Key, examples: Array
) -> ImageBatch:
    """``draw_images``, and the noise of the posterior."""
    image_key, noise_key = jax.random.split(key)

    def noise(example):
        return jax.random.normal(jax.random.fold_in(noise_key, example), (latent_dim,))

    _, images = draw_images(augment, data, image_key, examples)
    return ImageBatch(images, jax.vmap(noise)(examples))


def autoencoder_step(
    module: Autoencoder, loss: WeightedSum, tx: optax.GradientTransformation
) -> Step:
    """The step for a module, a loss of ``AutoencoderOutputs`` and an optimiser."""
    return functools.partial(_step, module, loss, tx)


def autoencoder_metrics(
    module: Autoencoder, loss: WeightedSum, params: Any, batch: ImageBatch
) -> tuple[Array, Metrics]:
    """Mean loss over a batch, and each term, the mean absolute error and gamma."""
    outputs = AutoencoderOutputs(
        batch.images, *apply(module, {"params": params}, batch.images, batch.noise)
    )
    chex.assert_equal_shape([outputs.images, outputs.reconstructions])
    chex.assert_equal_shape([outputs.mean, outputs.log_var, batch.noise])
    total = loss(outputs).mean()
    terms = {name: value.mean() for name, value in loss.terms(outputs).items()}
    error = jnp.abs(outputs.images - outputs.reconstructions).mean()
    extra = {"loss": total, "l1": error, "log_scale": outputs.log_scale}
    return total, {**terms, **extra}


def _step(
    module: Autoencoder,
    loss: WeightedSum,
    tx: optax.GradientTransformation,
    state: TrainState,
    batches: ImageBatch,
    axis_name: str | None,
) -> tuple[TrainState, Metrics]:
    objective = functools.partial(autoencoder_metrics, module, loss)
    gradients, metrics = mean_gradients(objective, state.params, batches, axis_name)
    return state.apply_gradients(tx, gradients), metrics
