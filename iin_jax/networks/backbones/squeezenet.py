"""SqueezeNet 1.0 and 1.1 (Iandola et al., 2016, arXiv 1602.07360)."""

from collections.abc import Iterable

import flax.linen as nn
import jax.numpy as jnp

from iin_jax.networks.backbones.base import (
    Backbone,
    Layer,
    conv,
    flatten,
    global_mean,
    max_pool,
)
from iin_jax.networks.pretrained import (
    IMAGENET,
    Architecture,
    Preprocessing,
    Release,
    torchvision_file,
)
from iin_jax.types import Array
from iin_jax.weights import Rename, renames

# index in ``features`` -> channels of a Fire module: squeezed, and each expansion's
FIRES_1_0 = {3: (16, 64), 4: (16, 64), 5: (32, 128), 7: (32, 128), 8: (48, 192)}
FIRES_1_0 |= {9: (48, 192), 10: (64, 256), 12: (64, 256)}
FIRES_1_1 = {3: (16, 64), 4: (16, 64), 6: (32, 128), 7: (32, 128), 9: (48, 192)}
FIRES_1_1 |= {10: (48, 192), 11: (64, 256), 12: (64, 256)}


class SqueezeNet(Backbone):
    """Convolution, eight Fire modules, a 1x1 convolution to classes, global mean.

    A Fire module squeezes its channels by a 1x1 convolution, then expands them by a 1x1
    and a 3x3 one; ``features.N.squeeze`` is a narrow cut before the nonlinearity.

    Attributes:
      version: ``"1_0"`` or ``"1_1"``.
      head_padding: around the last 1x1 convolution: 1 in Caffe's 1.0, else 0.
      num_classes: number of logits.
    """

    version: str = "1_1"
    head_padding: int = 0
    num_classes: int = 1000

    def chain(self) -> Iterable[tuple[str, Layer]]:
        first, fires = (
            (conv("features.0", 96, 7, 2), FIRES_1_0)
            if self.version == "1_0"
            else (conv("features.0", 64, 3, 2), FIRES_1_1)
        )
        yield "features.0", first
        yield "features.1", nn.relu
        yield "features.2", max_pool(3, 2, ceil=True)
        for index in range(3, 13):
            name = f"features.{index}"
            if index not in fires:
                yield name, max_pool(3, 2, ceil=True)
                continue
            squeezed, expanded = fires[index]
            yield f"{name}.squeeze", conv(f"{name}.squeeze", squeezed, 1)
            yield f"{name}.squeeze_activation", nn.relu
            yield name, _expand(name, expanded)
        head = conv("classifier.1", self.num_classes, 1, 1, self.head_padding)
        yield "classifier.1", head
        yield "classifier.2", nn.relu
        yield "classifier.3", global_mean
        yield "flatten", flatten


def _expand(name: str, channels: int) -> Layer:
    def layer(x: Array) -> Array:
        small = conv(f"{name}.expand1x1", channels, 1)(x)
        large = conv(f"{name}.expand3x3", channels, 3, 1, 1)(x)
        return nn.relu(jnp.concatenate([small, large], axis=-1))

    return layer


CAFFE_IMAGES = Preprocessing(
    227, (104.0, 117.0, 123.0), (1.0, 1.0, 1.0), maximum=255.0, channel_order="BGR"
)
TORCHVISION = renames.conv(
    r"features\.\d+(?:\.(?:squeeze|expand1x1|expand3x3))?|classifier\.1"
)


def _caffe(fires: dict[int, tuple[int, int]]) -> tuple[Rename, ...]:
    """fire2 to fire9, in order, are the Fire modules; conv1 and conv10 the ends."""
    table = renames.conv("conv1", "features.0") + renames.conv("conv10", "classifier.1")
    for number, index in enumerate(fires, start=2):
        for ours in ("squeeze", "expand1x1", "expand3x3"):
            theirs = "squeeze1x1" if ours == "squeeze" else ours
            table += renames.conv(f"fire{number}/{theirs}", f"features.{index}.{ours}")
    return table


ARCHITECTURES = {
    "squeezenet1_0": Architecture(
        SqueezeNet("1_0"),
        "features.12",
        (
            Release(
                TORCHVISION,
                IMAGENET,
                torchvision_file("squeezenet1_0-b66bff10.pth", 4.778),
            ),
            Release(_caffe(FIRES_1_0), CAFFE_IMAGES, settings={"head_padding": 1}),
        ),
    ),
    "squeezenet1_1": Architecture(
        SqueezeNet("1_1"),
        "features.12",
        (
            Release(
                TORCHVISION,
                IMAGENET,
                torchvision_file("squeezenet1_1-b8a52dc0.pth", 4.729),
            ),
            Release(_caffe(FIRES_1_1), CAFFE_IMAGES),
        ),
    ),
}
