"""AlexNet in one tower (Krizhevsky, 2014, arXiv 1404.5997), as torchvision has it."""

from collections.abc import Iterable

import flax.linen as nn

from iin_jax.networks.backbones.base import (
    Backbone,
    Layer,
    adaptive_avg_pool,
    conv,
    flatten,
    max_pool,
)
from iin_jax.networks.pretrained import (
    IMAGENET,
    Architecture,
    Release,
    torchvision_file,
)
from iin_jax.weights import renames

HIDDEN = 4096


class AlexNet(Backbone):
    """Five convolutions with maxima between some, then three linear layers.

    Attributes:
      num_classes: number of logits.
    """

    num_classes: int = 1000

    def chain(self) -> Iterable[tuple[str, Layer]]:
        yield "features.0", conv("features.0", 64, 11, 4, 2)
        yield "features.1", nn.relu
        yield "features.2", max_pool(3, 2)
        yield "features.3", conv("features.3", 192, 5, 1, 2)
        yield "features.4", nn.relu
        yield "features.5", max_pool(3, 2)
        yield "features.6", conv("features.6", 384, 3, 1, 1)
        yield "features.7", nn.relu
        yield "features.8", conv("features.8", 256, 3, 1, 1)
        yield "features.9", nn.relu
        yield "features.10", conv("features.10", 256, 3, 1, 1)
        yield "features.11", nn.relu
        yield "features.12", max_pool(3, 2)
        yield "avgpool", adaptive_avg_pool(6)
        yield "flatten", flatten
        yield "classifier.1", nn.Dense(HIDDEN, name="classifier.1")
        yield "classifier.2", nn.relu
        yield "classifier.4", nn.Dense(HIDDEN, name="classifier.4")
        yield "classifier.5", nn.relu
        yield "classifier.6", nn.Dense(self.num_classes, name="classifier.6")


TABLE = (
    *renames.conv(r"features\.(?:0|3|6|8|10)"),
    *renames.dense(r"classifier\.[146]"),
)
FILE = torchvision_file("alexnet-owt-7be5be79.pth", 233.087)

ARCHITECTURES = {
    "alexnet": Architecture(
        AlexNet(), "classifier.5", (Release(TABLE, IMAGENET, FILE),)
    )
}
