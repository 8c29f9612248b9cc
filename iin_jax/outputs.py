"""What the terms of a loss see of one step."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp

from iin_jax.types import Array, Images, Latents, PerExample, Shared


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepMaps:
    """The maps of one step, for terms that look through them; pure and jittable.

    Attributes:
      translate, invert: T and its inverse, with the parameters that are trained,
        (b, N) -> (b, N); None outside a training.
      encode: E, frozen, images (b, H, W, C) -> z (b, N); None without a network that
        puts out images.
      decode: G, frozen, z (b, N) -> what the network puts out; None without a network.
    """

    translate: Callable[[Latents], Latents] | None = None
    invert: Callable[[Latents], Latents] | None = None
    encode: Callable[[Images], Latents] | None = None
    decode: Callable[[Latents], Array] | None = None


@dataclasses.dataclass(frozen=True)
class PairOutputs(StepMaps):
    """What a flow makes of a batch of pairs; with the maps of the step.

    Attributes:
      z_tilde_a, z_tilde_b: (B, N).
      log_det_a, log_det_b: (B,).
      shared: (B, K+1), True where the pair shares the factor.
      sigma: similarity, in any shape that ``pair_nll`` takes.
      z_a, z_b: (B, N), what T was given.
      labels_a, labels_b: int (B, K), discrete values as codes 0 .. their number - 1, -1
        where missing; None where pairs do not come from labels.
    """

    z_tilde_a: Latents
    z_tilde_b: Latents
    log_det_a: PerExample
    log_det_b: PerExample
    shared: Shared
    sigma: Array
    z_a: Latents | None = None
    z_b: Latents | None = None
    labels_a: Array | None = None
    labels_b: Array | None = None

    @property
    def z_tilde(self) -> Latents:
        """Both halves, (2B, N)."""
        return jnp.concatenate([self.z_tilde_a, self.z_tilde_b])


@dataclasses.dataclass(frozen=True)
class SampleOutputs(StepMaps):
    """What a flow makes of single latents; with the maps of the step.

    Attributes:
      z_tilde: (B, N).
      log_det: (B,).
      z: (B, N), what T was given.
    """

    z_tilde: Latents
    log_det: PerExample
    z: Latents | None = None


@dataclasses.dataclass(frozen=True)
class AutoencoderOutputs:
    """What an autoencoder makes of a batch of images.

    Attributes:
      images, reconstructions: (B, H, W, C) in [-1, 1].
      mean, log_var: (B, N), the posterior.
      log_scale: scalar, the learned logarithm gamma of the reconstruction's scale.
      perceptual: (B,), LPIPS of images and reconstructions; zeros without it.
    """

    images: Images
    reconstructions: Images
    mean: Latents
    log_var: Latents
    log_scale: Array
    perceptual: PerExample
