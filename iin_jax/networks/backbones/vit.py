"""Vision transformers B and L (Dosovitskiy et al., 2021), as torchvision has them."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from iin_jax.networks.backbones.base import Backbone, Layer, conv, same
from iin_jax.networks.pretrained import (
    IMAGENET,
    Architecture,
    Release,
    torchvision_file,
)
from iin_jax.types import Array
from iin_jax.weights import Rename, renames

EPSILON = 1e-6
POSITION = "encoder.pos_embedding"


class VisionTransformer(Backbone):
    """Patches and a class token through transformer layers, then classes.

    Its position embedding belongs to one image size.

    Attributes:
      patch: H = W of a patch.
      width: channels of a token.
      depth: number of layers.
      heads: number of attention heads.
      hidden: width of a layer's two linear layers.
      num_classes: number of logits.
    """

    patch: int
    width: int
    depth: int
    heads: int
    hidden: int
    num_classes: int = 1000

    def sizes(self, params: Mapping[str, Any]) -> range | None:
        position = params.get(POSITION)
        if position is None or len(position.shape) != 3 or position.shape[1] < 2:
            return None
        side = math.isqrt(position.shape[1] - 1) * self.patch
        return range(side, side + self.patch)  # a partial patch is left out

    def chain(self) -> Iterable[tuple[str, Layer]]:
        yield "conv_proj", conv("conv_proj", self.width, self.patch, self.patch)
        yield "encoder.dropout", self.embed
        for index in range(self.depth):
            name = f"encoder.layers.encoder_layer_{index}"
            yield name, self.layer(name)
        yield "encoder.ln", nn.LayerNorm(EPSILON, name="encoder.ln")
        yield "encoder", same
        yield "class_token", lambda tokens: tokens[:, 0]
        yield "heads.head", nn.Dense(self.num_classes, name="heads.head")

    def embed(self, x: Array) -> Array:
        """(B, H, W, C) -> (B, 1 + H W, C): the class token first, positions added."""
        tokens = x.reshape(len(x), -1, self.width)
        zeros = nn.initializers.zeros_init()
        first = self.param("class_token", zeros, (1, 1, self.width))
        first = jnp.broadcast_to(first, (len(x), 1, self.width))
        tokens = jnp.concatenate([first, tokens], axis=1)
        position = self.param(POSITION, zeros, (1, tokens.shape[1], self.width))
        return tokens + position

    def layer(self, name: str) -> Layer:
        """Attention, then two linear layers, each normalised before and added."""

        def attend(x: Array) -> Array:
            projected = nn.Dense(3 * self.width, name=f"{name}.self_attention.in_proj")(
                x
            )
            shape = (*x.shape[:2], 3, self.heads, self.width // self.heads)
            query, key, value = jnp.moveaxis(projected.reshape(shape), 2, 0)
            mixed = jax.nn.dot_product_attention(query, key, value)
            out = nn.Dense(self.width, name=f"{name}.self_attention.out_proj")
            return out(mixed.reshape(x.shape))

        def layer(x: Array) -> Array:
            x = x + attend(nn.LayerNorm(EPSILON, name=f"{name}.ln_1")(x))
            y = nn.LayerNorm(EPSILON, name=f"{name}.ln_2")(x)
            y = nn.gelu(
                nn.Dense(self.hidden, name=f"{name}.mlp.0")(y), approximate=False
            )
            return x + nn.Dense(self.width, name=f"{name}.mlp.3")(y)

        return layer


IN_LAYER = r"encoder\.layers\.encoder_layer_\d+"
TABLE = (
    Rename("class_token", "params/class_token"),
    Rename(r"encoder\.pos_embedding", "params/encoder.pos_embedding"),
    Rename(
        rf"({IN_LAYER}\.self_attention\.in_proj)_weight", r"params/\1/kernel", "dense"
    ),
    Rename(rf"({IN_LAYER}\.self_attention\.in_proj)_bias", r"params/\1/bias"),
    *renames.conv("conv_proj"),
    *renames.norm(rf"{IN_LAYER}\.ln_[12]|encoder\.ln"),
    # torchvision's files write mlp.linear_1 for what its code calls mlp.0
    *renames.dense(rf"({IN_LAYER})\.mlp\.linear_1", r"\2.mlp.0"),
    *renames.dense(rf"({IN_LAYER})\.mlp\.linear_2", r"\2.mlp.3"),
    *renames.dense(
        rf"{IN_LAYER}\.self_attention\.out_proj|{IN_LAYER}\.mlp\.[03]|heads\.head"
    ),
)
BASE = (768, 12, 12, 3072)
LARGE = (1024, 24, 16, 4096)


def _architecture(
    patch: int, shape: tuple[int, int, int, int], file: str, mebibytes: float
) -> Architecture:
    release = Release(TABLE, IMAGENET, torchvision_file(file, mebibytes))
    return Architecture(VisionTransformer(patch, *shape), "class_token", (release,))


ARCHITECTURES = {
    "vit_b_16": _architecture(16, BASE, "vit_b_16-c867db91.pth", 330.285),
    "vit_b_32": _architecture(32, BASE, "vit_b_32-d86f8d99.pth", 336.604),
    "vit_l_16": _architecture(16, LARGE, "vit_l_16-852ce7e3.pth", 1161.023),
    "vit_l_32": _architecture(32, LARGE, "vit_l_32-c7638314.pth", 1169.449),
}
