"""ResNet 18 to 152 (He et al., 2016, arXiv 1512.03385), as torchvision has them."""

from collections.abc import Iterable

import flax.linen as nn

from iin_jax.networks.backbones.base import (
    Backbone,
    Layer,
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
from iin_jax.weights import renames

WIDTHS = (64, 128, 256, 512)


class ResNet(Backbone):
    """Four stages of residual blocks, then the mean over positions, then classes.

    The stride of a bottleneck block is at its 3x3 convolution, as in torchvision.

    Attributes:
      depths: blocks per stage.
      bottleneck: blocks of 1x1, 3x3, 1x1 convolutions instead of two 3x3.
      num_classes: number of logits.
    """

    depths: tuple[int, ...]
    bottleneck: bool
    num_classes: int = 1000

    def chain(self) -> Iterable[tuple[str, Layer]]:
        yield "conv1", conv("conv1", 64, 7, 2, 3, bias=False)
        yield "bn1", batch_norm("bn1")
        yield "relu", nn.relu
        yield "maxpool", max_pool(3, 2, 1)
        for stage, depth in enumerate(self.depths, start=1):
            for index in range(depth):
                stride = 2 if stage > 1 and index == 0 else 1
                name = f"layer{stage}.{index}"
                yield name, self.block(name, WIDTHS[stage - 1], stride)
            yield f"layer{stage}", same
        yield "avgpool", global_mean
        yield "flatten", flatten
        yield "fc", nn.Dense(self.num_classes, name="fc")

    def block(self, name: str, width: int, stride: int) -> Layer:
        """A residual block with its last nonlinearity."""
        convolutions = (
            [(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)]
            if self.bottleneck
            else [(width, 3, stride), (width, 3, 1)]
        )

        def layer(x: Array) -> Array:
            y = x
            for number, (features, kernel, step) in enumerate(convolutions, start=1):
                y = nn.relu(y) if number > 1 else y
                y = conv(
                    f"{name}.conv{number}",
                    features,
                    kernel,
                    step,
                    kernel // 2,
                    bias=False,
                )(y)
                y = batch_norm(f"{name}.bn{number}")(y)
            if x.shape != y.shape:
                project = conv(
                    f"{name}.downsample.0", y.shape[-1], 1, stride, bias=False
                )
                x = batch_norm(f"{name}.downsample.1")(project(x))
            return nn.relu(x + y)

        return layer


TABLE = (
    *renames.conv(r"(?:layer\d\.\d+\.)?conv\d|layer\d\.0\.downsample\.0"),
    *renames.norm(r"(?:layer\d\.\d+\.)?bn\d|layer\d\.0\.downsample\.1"),
    *renames.dense("fc"),
)


def _architecture(
    depths: tuple[int, ...], bottleneck: bool, file: str, mebibytes: float
) -> Architecture:
    release = Release(TABLE, IMAGENET, torchvision_file(file, mebibytes))
    return Architecture(ResNet(depths, bottleneck), "flatten", (release,))


ARCHITECTURES = {
    "resnet18": _architecture((2, 2, 2, 2), False, "resnet18-f37072fd.pth", 44.661),
    "resnet34": _architecture((3, 4, 6, 3), False, "resnet34-b627a593.pth", 83.275),
    "resnet50": _architecture((3, 4, 6, 3), True, "resnet50-0676ba61.pth", 97.781),
    "resnet101": _architecture((3, 4, 23, 3), True, "resnet101-63fe2227.pth", 170.511),
    "resnet152": _architecture((3, 8, 36, 3), True, "resnet152-394f9c45.pth", 230.434),
}
