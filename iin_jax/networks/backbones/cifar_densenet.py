"""DenseNet-BC for 32x32 images (Huang et al., 2017, section 3)."""

from collections.abc import Iterable

import flax.linen as nn

from iin_jax.networks.backbones.base import (
    Backbone,
    Layer,
    avg_pool,
    batch_norm,
    conv,
    flatten,
    global_mean,
    same,
)
from iin_jax.networks.backbones.densenet import dense_block
from iin_jax.networks.pretrained import Architecture, Preprocessing, Release
from iin_jax.weights import WeightsFile, renames

BLOCKS = 3


class CifarDenseNet(Backbone):
    """Three dense blocks of bottleneck layers with transitions that halve channels.

    Attributes:
      depth: number of convolutions and linear layers, ``6 n + 4``.
      growth: channels that each layer adds.
      num_classes: number of logits.
    """

    depth: int
    growth: int
    num_classes: int = 10

    def chain(self) -> Iterable[tuple[str, Layer]]:
        width, layers = 2 * self.growth, (self.depth - 4) // (2 * BLOCKS)
        yield "conv1", conv("conv1", width, 3, 1, 1, bias=False)
        for block in range(1, BLOCKS + 1):
            names = [f"block{block}.layer.{index}" for index in range(layers)]
            yield f"block{block}", dense_block(names, "bn", self.growth)
            width += layers * self.growth
            if block < BLOCKS:
                width //= 2
                name = f"trans{block}"
                yield f"{name}.bn1", batch_norm(f"{name}.bn1")
                yield f"{name}.relu", nn.relu
                yield f"{name}.conv1", conv(f"{name}.conv1", width, 1, bias=False)
                yield f"{name}.pool", avg_pool(2, 2)
                yield name, same
        yield "bn1", batch_norm("bn1")
        yield "relu", nn.relu
        yield "avgpool", global_mean
        yield "flatten", flatten
        yield "fc", nn.Dense(self.num_classes, name="fc")


IN_LAYER = r"block\d\.layer\.\d+\."
TABLE = (
    *renames.conv(rf"(?:{IN_LAYER}|trans\d\.)?conv\d"),
    *renames.norm(rf"(?:{IN_LAYER}|trans\d\.)?bn\d"),
    *renames.dense("fc"),
)
MEAN = (125.3 / 255, 123.0 / 255, 113.9 / 255)
IMAGES = Preprocessing(32, MEAN, (63.0 / 255, 62.1 / 255, 66.7 / 255))
FILE = WeightsFile(
    "pretrained_densenet_4012BC.pth.tar",
    "https://github.com/HazyResearch/ukb-cardiac-mri/raw/3177dde898a6/ukb/models/frame/"
    "pretrained_densenet_4012BC.pth.tar",
    "59022af12c32e581521a0970455bd663beffa3f2d32a7f1fe0ce865755321beb",
    bytes=752_836,
)

ARCHITECTURES = {
    "densenet_bc_40_12": Architecture(
        CifarDenseNet(40, 12), "flatten", (Release(TABLE, IMAGES, FILE),)
    ),
    "densenet_bc_100_12": Architecture(
        CifarDenseNet(100, 12), "flatten", (Release(TABLE, IMAGES),)
    ),
}
