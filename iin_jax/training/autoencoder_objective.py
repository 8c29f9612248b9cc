"""What an autoencoder minimises on a batch; pure."""

import dataclasses
from typing import Any, NamedTuple

import chex
import jax.numpy as jnp

from iin_jax.linen import apply
from iin_jax.losses import AutoencoderOutputs, WeightedSum
from iin_jax.networks.perceptual import Perceptual
from iin_jax.networks.trained.autoencoder import Autoencoder
from iin_jax.training.parallel import Metrics
from iin_jax.types import Array, Images, Latents, PerExample, Tree

# reconstructions, mean, log_var, gamma
ModuleOutputs = tuple[Images, Latents, Latents, Array]


class ImageBatch(NamedTuple):
    """Images (B, H, W, C) in [-1, 1] and the posterior's noise (B, N)."""

    images: Images
    noise: Latents


@dataclasses.dataclass(frozen=True)
class AutoencoderObjective:
    """What an autoencoder minimises, without the generator's loss.

    Attributes:
      module, loss, perceptual: as in ``autoencoder_step``.
    """

    module: Autoencoder
    loss: WeightedSum
    perceptual: Perceptual | None

    def __call__(
        self, params: Tree, batch: ImageBatch, state: Any, data: Any
    ) -> tuple[Array, Metrics]:
        """Mean loss over a batch; each term, the mean absolute error and gamma.

        Args:
          params, batch: of the autoencoder.
          state: as in ``training.step.Objective``; not used.
          data: with the weights of LPIPS as ``perceptual``, if that takes part.
        """
        del state
        outputs = apply(self.module, {"params": params}, batch.images, batch.noise)
        return self.of_outputs(data, batch.images, outputs)

    def of_outputs(
        self, data: Any, images: Images, module_outputs: ModuleOutputs
    ) -> tuple[Array, Metrics]:
        """The same, from what the autoencoder makes of the images."""
        reconstructions, mean, log_var, log_scale = module_outputs
        chex.assert_equal_shape([images, reconstructions])
        chex.assert_equal_shape([mean, log_var])
        distance = self._distance(data, images, reconstructions)
        outputs = AutoencoderOutputs(images, *module_outputs, distance)
        total = self.loss(outputs).mean()
        terms = {name: x.mean() for name, x in self.loss.terms(outputs).items()}
        if self.perceptual is not None:
            terms["perceptual"] = distance.mean()
        error = jnp.abs(images - reconstructions).mean()
        return total, {**terms, "loss": total, "l1": error, "log_scale": log_scale}

    def _distance(self, data: Any, a: Images, b: Images) -> PerExample:
        if self.perceptual is None:
            return jnp.zeros(len(a))
        weights = getattr(data, "perceptual", None)
        if weights is None:
            raise ValueError(
                "this step needs the weights of LPIPS: give its "
                "TrainingImages(perceptual=perceptual.variables)"
            )
        return self.perceptual.distance(weights, a, b)
