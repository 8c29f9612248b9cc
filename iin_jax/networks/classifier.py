"""The published classifier: the autoencoder's encoder, then one linear layer."""

import dataclasses
from typing import Any

import flax.linen as nn
from flax.linen.initializers import normal

from iin_jax.flows.base import apply
from iin_jax.networks.autoencoder import Encoder, module_fields
from iin_jax.networks.base import Network
from iin_jax.types import Array, Images, Latents, Tree


class Classifier(nn.Module):
    """Images -> z (B, N) -> logits (B, classes); trained with sigmoid cross-entropy.

    Attributes:
      num_classes: number of logits.
      latent_dim: N.
      image_size: H = W.
      channels: C.
      num_down, base: of the encoder.
    """

    num_classes: int = 10
    latent_dim: int = 64
    image_size: int = 32
    channels: int = 3
    num_down: int = 4
    base: int = 64

    def setup(self):
        self.encoder = Encoder(self.latent_dim, self.num_down, self.base)
        self.head = nn.Dense(self.num_classes, kernel_init=normal(0.02))

    def encode(self, images: Images) -> Latents:
        """images (B, H, W, C) in [-1, 1] -> z (B, N)."""
        return self.encoder(images)

    def decode(self, z: Latents) -> Array:
        """z (B, N) -> logits (B, classes)."""
        return self.head(z)

    def __call__(self, images: Images) -> Array:
        return self.decode(self.encode(images))


@dataclasses.dataclass(frozen=True, eq=False)
class ClassifierNetwork(Network):
    """A trained ``Classifier``, cut before its linear layer."""

    module: Classifier
    variables: Tree

    architecture = "classifier"
    output = "logits"

    @property
    def channels(self) -> int:
        return self.module.channels

    @property
    def image_size(self) -> tuple[int, int]:
        return self.module.image_size, self.module.image_size

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.module.latent_dim,)

    def encode_pure(self, variables: Tree, images: Images) -> Latents:
        return apply(self.module, variables, images, method="encode")

    def decode_pure(self, variables: Tree, z: Latents) -> Array:
        return apply(self.module, variables, z, method="decode")

    def settings(self) -> dict[str, Any]:
        return module_fields(self.module)

    @classmethod
    def build(cls, settings: dict[str, Any], variables: Tree) -> "ClassifierNetwork":
        return cls(Classifier(**settings), variables)
