"""ResNets for 32x32 images, shortcuts without parameters (He et al., 2016, §4.2)."""

from collections.abc import Iterable

import flax.linen as nn
import jax.numpy as jnp

from iin_jax.networks.backbones.base import (
    Backbone,
    Layer,
    batch_norm,
    conv,
    flatten,
    global_mean,
    same,
)
from iin_jax.networks.pretrained import IMAGENET, Architecture, Preprocessing, Release
from iin_jax.types import Array
from iin_jax.weights import WeightsFile, renames

WIDTHS = (16, 32, 64)


class CifarResNet(Backbone):
    """Three stages of two-convolution blocks, the mean over positions, classes.

    Where a stage halves the image, the shortcut takes every second pixel and fills the
    new channels with zeros, a quarter of the new width on each side (option A).

    Attributes:
      depth: blocks per stage; the network has ``6 * depth + 2`` layers.
      num_classes: number of logits.
    """

    depth: int
    num_classes: int = 10

    def chain(self) -> Iterable[tuple[str, Layer]]:
        yield "conv1", conv("conv1", 16, 3, 1, 1, bias=False)
        yield "bn1", batch_norm("bn1")
        yield "relu", nn.relu
        for stage, width in enumerate(WIDTHS, start=1):
            for index in range(self.depth):
                stride = 2 if stage > 1 and index == 0 else 1
                name = f"layer{stage}.{index}"
                yield name, _block(name, width, stride)
            yield f"layer{stage}", same
        yield "avgpool", global_mean
        yield "flatten", flatten
        yield "linear", nn.Dense(self.num_classes, name="linear")


def _block(name: str, width: int, stride: int) -> Layer:
    def layer(x: Array) -> Array:
        y = conv(f"{name}.conv1", width, 3, stride, 1, bias=False)(x)
        y = nn.relu(batch_norm(f"{name}.bn1")(y))
        y = conv(f"{name}.conv2", width, 3, 1, 1, bias=False)(y)
        y = batch_norm(f"{name}.bn2")(y)
        if x.shape != y.shape:
            zeros = width // 4
            x = jnp.pad(x[:, ::2, ::2], ((0, 0), (0, 0), (0, 0), (zeros, zeros)))
        return nn.relu(x + y)

    return layer


TABLE = (
    *renames.conv(r"(?:layer\d\.\d+\.)?conv\d"),
    *renames.norm(r"(?:layer\d\.\d+\.)?bn\d"),
    *renames.dense("linear"),
)
IMAGES = Preprocessing(32, IMAGENET.mean, IMAGENET.std)


def _architecture(depth: int, digest: str, size: int | None = None) -> Architecture:
    name = f"resnet{6 * depth + 2}-{digest[:8]}.th"
    url = (
        "https://github.com/akamaster/pytorch_resnet_cifar10/raw/d5489e8995e8/"
        f"pretrained_models/{name}"
    )
    release = Release(TABLE, IMAGES, WeightsFile(name, url, digest, bytes=size))
    return Architecture(CifarResNet(depth), "flatten", (release,))


DIGEST_20 = "12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8"
DIGEST_56 = "4bfd97631478d6b638d2764fd2baff3edb1d7d82252d54439343b6596b9b5367"
ARCHITECTURES = {
    "resnet20": _architecture(3, DIGEST_20, 1_099_231),
    "resnet32": _architecture(5, "d509ac18"),
    "resnet44": _architecture(7, "014dd654"),
    "resnet56": _architecture(9, DIGEST_56, 3_471_733),
    "resnet110": _architecture(18, "1d1ed7c2"),
}
