"""Inception-v3 (Szegedy et al., 2016, arXiv 1512.00567), and the network of the FID.

Two variants that differ in pooling and in the number of classes. ``fid`` is the network
of December 2015 that Frechet inception distances are measured with (1,008 outputs):
averages leave padding out, and the last block pools by the maximum.
"""

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
)
from iin_jax.networks.pretrained import (
    Architecture,
    Preprocessing,
    Release,
    torchvision_file,
)
from iin_jax.types import Array
from iin_jax.weights import Rename, WeightsFile, renames

Window = int | tuple[int, int]


class InceptionV3(Backbone):
    """Convolutions, then blocks of parallel paths, the mean over positions, classes.

    Attributes:
      fid: the variant of December 2015.
      num_classes: number of logits.
    """

    fid: bool = False
    num_classes: int = 1000

    def chain(self) -> Iterable[tuple[str, Layer]]:
        yield "Conv2d_1a_3x3", unit("Conv2d_1a_3x3", 32, 3, 2)
        yield "Conv2d_2a_3x3", unit("Conv2d_2a_3x3", 32, 3)
        yield "Conv2d_2b_3x3", unit("Conv2d_2b_3x3", 64, 3, 1, 1)
        yield "maxpool1", max_pool(3, 2)
        yield "Conv2d_3b_1x1", unit("Conv2d_3b_1x1", 80, 1)
        yield "Conv2d_4a_3x3", unit("Conv2d_4a_3x3", 192, 3)
        yield "maxpool2", max_pool(3, 2)
        mean = avg_pool(3, 1, 1, count_padding=not self.fid)
        for letter, pooled in (("b", 32), ("c", 64), ("d", 64)):
            yield f"Mixed_5{letter}", block_a(f"Mixed_5{letter}", pooled, mean)
        yield "Mixed_6a", block_b("Mixed_6a")
        for letter, width in (("b", 128), ("c", 160), ("d", 160), ("e", 192)):
            yield f"Mixed_6{letter}", block_c(f"Mixed_6{letter}", width, mean)
        yield "Mixed_7a", block_d("Mixed_7a")
        yield "Mixed_7b", block_e("Mixed_7b", mean)
        last = max_pool(3, 1, 1) if self.fid else mean
        yield "Mixed_7c", block_e("Mixed_7c", last)
        yield "avgpool", global_mean
        yield "flatten", flatten
        yield "fc", nn.Dense(self.num_classes, name="fc")


def unit(
    name: str, features: int, kernel: Window, stride: int = 1, padding: Window = 0
) -> Layer:
    """Convolution, batch normalisation (epsilon 1e-3), ReLU."""
    convolution = conv(f"{name}.conv", features, kernel, stride, padding, bias=False)
    normalise = batch_norm(f"{name}.bn", 1e-3)
    return lambda x: nn.relu(normalise(convolution(x)))


def _in_turn(*layers: Layer) -> Layer:
    def path(x: Array) -> Array:
        for layer in layers:
            x = layer(x)
        return x

    return path


def _side_by_side(*paths: Layer) -> Layer:
    return lambda x: jnp.concatenate([path(x) for path in paths], axis=-1)


def block_a(name: str, pooled: int, pool: Layer) -> Layer:
    """35x35 at 299 pixels: 1x1, 5x5, twice 3x3, pooling."""
    branch = f"{name}.branch"
    return _side_by_side(
        unit(f"{branch}1x1", 64, 1),
        _in_turn(unit(f"{branch}5x5_1", 48, 1), unit(f"{branch}5x5_2", 64, 5, 1, 2)),
        _in_turn(
            unit(f"{branch}3x3dbl_1", 64, 1),
            unit(f"{branch}3x3dbl_2", 96, 3, 1, 1),
            unit(f"{branch}3x3dbl_3", 96, 3, 1, 1),
        ),
        _in_turn(pool, unit(f"{branch}_pool", pooled, 1)),
    )


def block_b(name: str) -> Layer:
    """35x35 to 17x17."""
    branch = f"{name}.branch"
    return _side_by_side(
        unit(f"{branch}3x3", 384, 3, 2),
        _in_turn(
            unit(f"{branch}3x3dbl_1", 64, 1),
            unit(f"{branch}3x3dbl_2", 96, 3, 1, 1),
            unit(f"{branch}3x3dbl_3", 96, 3, 2),
        ),
        max_pool(3, 2),
    )


def block_c(name: str, width: int, pool: Layer) -> Layer:
    """17x17: 7x7 as 1x7 and 7x1, once and twice."""
    branch = f"{name}.branch"
    row: tuple[Window, int, Window] = ((1, 7), 1, (0, 3))
    column: tuple[Window, int, Window] = ((7, 1), 1, (3, 0))
    return _side_by_side(
        unit(f"{branch}1x1", 192, 1),
        _in_turn(
            unit(f"{branch}7x7_1", width, 1),
            unit(f"{branch}7x7_2", width, *row),
            unit(f"{branch}7x7_3", 192, *column),
        ),
        _in_turn(
            unit(f"{branch}7x7dbl_1", width, 1),
            unit(f"{branch}7x7dbl_2", width, *column),
            unit(f"{branch}7x7dbl_3", width, *row),
            unit(f"{branch}7x7dbl_4", width, *column),
            unit(f"{branch}7x7dbl_5", 192, *row),
        ),
        _in_turn(pool, unit(f"{branch}_pool", 192, 1)),
    )


def block_d(name: str) -> Layer:
    """17x17 to 8x8."""
    branch = f"{name}.branch"
    return _side_by_side(
        _in_turn(unit(f"{branch}3x3_1", 192, 1), unit(f"{branch}3x3_2", 320, 3, 2)),
        _in_turn(
            unit(f"{branch}7x7x3_1", 192, 1),
            unit(f"{branch}7x7x3_2", 192, (1, 7), 1, (0, 3)),
            unit(f"{branch}7x7x3_3", 192, (7, 1), 1, (3, 0)),
            unit(f"{branch}7x7x3_4", 192, 3, 2),
        ),
        max_pool(3, 2),
    )


def block_e(name: str, pool: Layer) -> Layer:
    """8x8: 3x3 as 1x3 beside 3x1."""
    branch = f"{name}.branch"

    def split(prefix: str) -> Layer:
        return _side_by_side(
            unit(f"{prefix}a", 384, (1, 3), 1, (0, 1)),
            unit(f"{prefix}b", 384, (3, 1), 1, (1, 0)),
        )

    return _side_by_side(
        unit(f"{branch}1x1", 320, 1),
        _in_turn(unit(f"{branch}3x3_1", 384, 1), split(f"{branch}3x3_2")),
        _in_turn(
            unit(f"{branch}3x3dbl_1", 448, 1),
            unit(f"{branch}3x3dbl_2", 384, 3, 1, 1),
            split(f"{branch}3x3dbl_3"),
        ),
        _in_turn(pool, unit(f"{branch}_pool", 192, 1)),
    )


TABLE = (
    Rename(r"AuxLogits\..*", None),  # a second head that is used in training alone
    *renames.conv(r".*\.conv"),
    *renames.norm(r".*\.bn"),
    *renames.dense("fc"),
)
HALF = (0.5, 0.5, 0.5)  # mean and deviation; both variants were trained on [-1, 1]
FID_NAME = "pt_inception-2015-12-05-6726825d.pth"
FID_FILE = WeightsFile(
    FID_NAME,
    f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{FID_NAME}",
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    bytes=95_628_359,
)

ARCHITECTURES = {
    "inception_v3": Architecture(
        InceptionV3(),
        "flatten",
        (
            Release(
                TABLE,
                Preprocessing(299, HALF, HALF),
                torchvision_file("inception_v3_google-0cc3c7bd.pth", 103.903),
            ),
        ),
    ),
    "inception_v3_fid": Architecture(
        InceptionV3(fid=True, num_classes=1008),
        "flatten",
        (Release(TABLE, Preprocessing(299, HALF, HALF, antialias=False), FID_FILE),),
    ),
}
