"""VGG 11 to 19, with and without batch normalisation (Simonyan, Zisserman, 2015)."""

from collections.abc import Iterable

import flax.linen as nn

from iin_jax.networks.backbones.base import (
    Backbone,
    Layer,
    adaptive_avg_pool,
    batch_norm,
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
from iin_jax.weights.renames import Table

WIDTHS = (64, 128, 256, 512, 512)
DEPTHS = {  # layers with weights -> convolutions per stage
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
HIDDEN = 4096


class VGG(Backbone):
    """Five stages of 3x3 convolutions with maxima between, then three linear layers.

    Attributes:
      depth: number of layers with weights: 11, 13, 16 or 19.
      with_norm: batch normalisation after every convolution.
      num_classes: number of logits.
    """

    depth: int
    with_norm: bool = False
    num_classes: int = 1000

    def chain(self) -> Iterable[tuple[str, Layer]]:
        for index, (kind, width) in enumerate(stack(self.depth, self.with_norm)):
            name = f"features.{index}"
            if kind == "conv":
                yield name, conv(name, width, 3, 1, 1)
            elif kind == "norm":
                yield name, batch_norm(name)
            else:
                yield name, nn.relu if kind == "relu" else max_pool(2, 2)
        yield "avgpool", adaptive_avg_pool(7)
        yield "flatten", flatten
        yield "classifier.0", nn.Dense(HIDDEN, name="classifier.0")
        yield "classifier.1", nn.relu
        yield "classifier.3", nn.Dense(HIDDEN, name="classifier.3")
        yield "classifier.4", nn.relu
        yield "classifier.6", nn.Dense(self.num_classes, name="classifier.6")


def stack(depth: int, with_norm: bool) -> list[tuple[str, int]]:
    """(kind, channels) of every entry of ``features``."""
    after = ["norm", "relu"] if with_norm else ["relu"]
    entries = []
    for width, count in zip(WIDTHS, DEPTHS[depth], strict=True):
        entries += [(kind, width) for kind in ["conv", *after]] * count
        entries.append(("pool", width))
    return entries


def _table(depth: int, with_norm: bool) -> Table:
    """Convolutions and norms share one count, so each name is told by its place."""
    kinds = [kind for kind, _ in stack(depth, with_norm)]
    indices = {
        layer: "|".join(str(i) for i, kind in enumerate(kinds) if kind == layer)
        for layer in ("conv", "norm")
    }
    norms = renames.norm(rf"features\.(?:{indices['norm']})") if with_norm else ()
    return (
        *renames.conv(rf"features\.(?:{indices['conv']})"),
        *norms,
        *renames.dense(r"classifier\.[036]"),
    )


def _architecture(
    depth: int, with_norm: bool, file: str, mebibytes: float
) -> Architecture:
    release = Release(
        _table(depth, with_norm), IMAGENET, torchvision_file(file, mebibytes)
    )
    return Architecture(VGG(depth, with_norm), "classifier.4", (release,))


ARCHITECTURES = {
    "vgg11": _architecture(11, False, "vgg11-8a719046.pth", 506.84),
    "vgg11_bn": _architecture(11, True, "vgg11_bn-6002323d.pth", 506.881),
    "vgg13": _architecture(13, False, "vgg13-19584684.pth", 507.545),
    "vgg13_bn": _architecture(13, True, "vgg13_bn-abd245e5.pth", 507.59),
    "vgg16": _architecture(16, False, "vgg16-397923af.pth", 527.796),
    "vgg16_bn": _architecture(16, True, "vgg16_bn-6c64b313.pth", 527.866),
    "vgg19": _architecture(19, False, "vgg19-dcbb9e9d.pth", 548.051),
    "vgg19_bn": _architecture(19, True, "vgg19_bn-c79401a0.pth", 548.143),
}
