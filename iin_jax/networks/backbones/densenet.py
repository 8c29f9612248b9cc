"""DenseNet 121 to 201 (Huang et al., 2017, arXiv 1608.06993), as in torchvision."""

from collections.abc import Iterable

import flax.linen as nn
import jax.numpy as jnp

from iin_jax.networks.backbones.base import (
    Backbone,
    Layer,
    avg_pool,
    batch_norm,
    conv,
    flatten,
    global_mean,
    max_pool,
    same,
)
from iin_jax.networks.pretrained import (
    IMAGENET,
    Architecture,
    Release,
    torchvision_file,
)
from iin_jax.types import Array
from iin_jax.weights import Rename, renames

BOTTLENECK = 4  # channels of a layer's 1x1 convolution, over its growth


class DenseNet(Backbone):
    """Dense blocks, in which each layer adds channels, and transitions that halve them.

    Attributes:
      depths: layers per dense block.
      growth: channels that each of them adds.
      width: channels after the first convolution.
      num_classes: number of logits.
    """

    depths: tuple[int, ...]
    growth: int
    width: int
    num_classes: int = 1000

    def chain(self) -> Iterable[tuple[str, Layer]]:
        yield "features.conv0", conv("features.conv0", self.width, 7, 2, 3, bias=False)
        yield "features.norm0", batch_norm("features.norm0")
        yield "features.relu0", nn.relu
        yield "features.pool0", max_pool(3, 2, 1)
        width = self.width
        for block, depth in enumerate(self.depths, start=1):
            name = f"features.denseblock{block}"
            layers = [f"{name}.denselayer{index}" for index in range(1, depth + 1)]
            yield name, dense_block(layers, "norm", self.growth)
            width += depth * self.growth
            if block < len(self.depths):
                width //= 2
                yield from _transition(f"features.transition{block}", width)
        yield "features.norm5", batch_norm("features.norm5")
        yield "features", same
        yield "relu", nn.relu
        yield "avgpool", global_mean
        yield "flatten", flatten
        yield "classifier", nn.Dense(self.num_classes, name="classifier")


def dense_block(names: Iterable[str], norm: str, growth: int) -> Layer:
    """Layers of 1x1 and 3x3 convolutions, each of which sees all channels so far.

    Args:
      names: names of the layers.
      norm: name of their normalisations, less the number.
      growth: channels that each layer adds.
    """

    def layer(x: Array) -> Array:
        for name in names:
            y = nn.relu(batch_norm(f"{name}.{norm}1")(x))
            y = conv(f"{name}.conv1", BOTTLENECK * growth, 1, bias=False)(y)
            y = nn.relu(batch_norm(f"{name}.{norm}2")(y))
            y = conv(f"{name}.conv2", growth, 3, 1, 1, bias=False)(y)
            x = jnp.concatenate([x, y], axis=-1)
        return x

    return layer


def _transition(name: str, width: int) -> Iterable[tuple[str, Layer]]:
    yield f"{name}.norm", batch_norm(f"{name}.norm")
    yield f"{name}.relu", nn.relu
    yield f"{name}.conv", conv(f"{name}.conv", width, 1, bias=False)
    yield f"{name}.pool", avg_pool(2, 2)
    yield name, same


# torchvision's files write denselayer1.norm.1 for what its code calls denselayer1.norm1
IN_LAYER = r"features\.denseblock\d+\.denselayer\d+"
TABLE = (
    Rename(rf"({IN_LAYER})\.conv\.?([12])\.weight", r"params/\1.conv\2/kernel", "conv"),
    *(
        Rename(rf"({IN_LAYER})\.norm\.?([12])\.{theirs}", rf"{kind}/\1.norm\2/{ours}")
        for theirs, kind, ours in (
            ("weight", "params", "scale"),
            ("bias", "params", "bias"),
            ("running_mean", "batch_stats", "mean"),
            ("running_var", "batch_stats", "var"),
        )
    ),
    Rename(r".*\.num_batches_tracked", None),
    *renames.conv(r"features\.conv0|features\.transition\d+\.conv"),
    *renames.norm(r"features\.norm[05]|features\.transition\d+\.norm"),
    *renames.dense("classifier"),
)


def _architecture(
    depths: tuple[int, ...], growth: int, width: int, file: str, mebibytes: float
) -> Architecture:
    release = Release(TABLE, IMAGENET, torchvision_file(file, mebibytes))
    return Architecture(DenseNet(depths, growth, width), "flatten", (release,))


ARCHITECTURES = {
    "densenet121": _architecture(
        (6, 12, 24, 16), 32, 64, "densenet121-a639ec97.pth", 30.845
    ),
    "densenet161": _architecture(
        (6, 12, 36, 24), 48, 96, "densenet161-8d451a50.pth", 110.369
    ),
    "densenet169": _architecture(
        (6, 12, 32, 32), 32, 64, "densenet169-b2777c0a.pth", 54.708
    ),
    "densenet201": _architecture(
        (6, 12, 48, 32), 32, 64, "densenet201-c1103571.pth", 77.373
    ),
}
