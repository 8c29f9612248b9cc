"""The published classifier: the autoencoder's encoder, then one linear layer."""

import flax.linen as nn
from flax.linen.initializers import normal

from iin_jax.linen import apply
from iin_jax.networks.base import ModuleNetwork
from iin_jax.networks.trained.autoencoder import Encoder
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


class ClassifierNetwork(ModuleNetwork):
    """A trained ``Classifier``, cut before its linear layer."""

    module_class = Classifier
    architecture = "classifier"
    output = "logits"

    def encode_pure(self, variables: Tree, images: Images) -> Latents:
        return apply(self.module, variables, images, method="encode")
