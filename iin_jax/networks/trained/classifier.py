"""The published classifier: the autoencoder's encoder, then one linear layer."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import flax.linen as nn
from flax.linen.initializers import normal

from iin_jax.files.hints import nearest
from iin_jax.linen import apply
from iin_jax.networks.base import ModuleNetwork
from iin_jax.networks.trained.autoencoder import Encoder, layer_widths
from iin_jax.types import Array, Images, Tree

LATENT = "latent"  # name of the layer before the linear one
HALVED = "down"  # beginning of the name of a layer behind a halving


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

    def encode(self, images: Images, until: int | None = None) -> Array:
        """images (B, H, W, C) in [-1, 1] -> z (B, N), or a map after halvings."""
        return self.encoder(images, until=until)

    def decode(self, z: Array, after: int | None = None) -> Array:
        """z (B, N), or a map after halvings -> logits (B, classes)."""
        return self.head(z if after is None else self.encoder(z, after))

    def __call__(self, images: Images) -> Array:
        return self.decode(self.encode(images))


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ClassifierNetwork(ModuleNetwork):
    """A trained ``Classifier``, cut before its linear layer or behind a halving.

    Attributes:
      layer: one of ``layers()``: ``"latent"``, or ``"down1"``, ``"down2"``, ... for
        the map (H, W, C) behind so many halvings of the image.
    """

    layer: str = LATENT

    module_class = Classifier
    architecture = "classifier"
    output = "logits"

    def __post_init__(self):
        if self.layer not in self.layers():
            raise ValueError(
                f"the classifier has no layer {self.layer!r} to be cut at"
                f"{nearest(self.layer, self.layers())}"
            )

    @property
    def cut(self) -> str:
        return self.layer

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return self.layers()[self.layer]

    def layers(self) -> dict[str, tuple[int, ...]]:
        """Every layer, in order: the maps behind each halving, then the latent."""
        module, shapes = self.module, {}
        for level, width in enumerate(layer_widths(module.base, module.num_down), 1):
            side = module.image_size // 2**level
            shapes[f"{HALVED}{level}"] = (side, side, width)
        return {**shapes, LATENT: (module.latent_dim,)}

    def cut_at(self, layer: str) -> "ClassifierNetwork":
        """The same network, cut elsewhere.

        Raises:
          ValueError: no such layer; the message names the nearest ones.
        """
        return dataclasses.replace(self, layer=layer)

    def encode_pure(self, variables: Tree, images: Images) -> Array:
        halvings = _halvings(self.layer)
        return apply(self.module, variables, images, halvings, method="encode")

    def decode_pure(self, variables: Tree, z: Array) -> Array:
        halvings = _halvings(self.layer)
        return apply(self.module, variables, z, halvings, method="decode")

    def features_pure(
        self, variables: Tree, images: Images, layers: Iterable[str] | None = None
    ) -> dict[str, Array]:
        names = list(self.layers() if layers is None else layers)
        return {
            name: apply(
                self.module, variables, images, _halvings(name), method="encode"
            )
            for name in names
        }

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "layer": self.layer}

    @classmethod
    def build(cls, settings: dict[str, Any], variables: Tree) -> "ClassifierNetwork":
        fields = dict(settings)
        layer = fields.pop("layer", LATENT)  # descriptions of before have none
        return cls(cls.module_class(**fields), variables, layer)


def _halvings(layer: str) -> int | None:
    """How many halvings lie before a layer; None: the latent."""
    return None if layer == LATENT else int(layer.removeprefix(HALVED))
