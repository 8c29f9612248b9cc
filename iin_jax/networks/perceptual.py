"""LPIPS: a distance of images that follows human judgement.

Zhang, Isola, Efros, Shechtman, Wang, *The Unreasonable Effectiveness of Deep Features
as a Perceptual Metric*, CVPR 2018 (arXiv 1801.03924).
"""

import dataclasses
import functools
import os

import jax
import jax.numpy as jnp
import numpy as np

from iin_jax.files.hints import nearest
from iin_jax.linen import apply
from iin_jax.networks.backbones.base import Backbone
from iin_jax.networks.base import check_image_values
from iin_jax.networks.pretrained import IMAGENET
from iin_jax.networks.registry import load
from iin_jax.types import Array, Images, PerExample, Tree
from iin_jax.weights import WeightsFile, locate, read_arrays
from iin_jax.weights.renames import Rename, rename

# variant -> backbone, and the layers whose features are compared
LAYERS: dict[str, tuple[str, tuple[int, ...]]] = {
    "alex": ("alexnet", (1, 4, 7, 9, 11)),
    "vgg": ("vgg16", (3, 8, 15, 22, 29)),
    "squeeze": ("squeezenet1_1", (1, 4, 7, 9, 10, 11, 12)),
}
VERSIONS = ("0.0", "0.1")
# LPIPS 0.1 standardises images in [-1, 1]; version 0.0 takes them as they are
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
EPSILON = 1e-10
HEADS = (Rename(r"(lin\d)\.model\.1\.weight", r"\1"),)
MIN_SIZE = 32

DIGESTS = {  # (variant, version) -> SHA-256 and bytes of the heads' file
    ("alex", "0.0"): (
        "18720f55913d0af89042f13faa7e536a6ce1444a0914e6db9461355ece1e8cd5",
        5455,
    ),
    ("squeeze", "0.0"): (
        "c27abd3a0145541baa50990817df58d3759c3f8154949f42af3b59b4e042d0bf",
        10057,
    ),
    ("vgg", "0.0"): (
        "b9e4236260c3dd988fc79d2a48d645d885afcbb21f9fd595e6744cf7419b582c",
        6735,
    ),
    ("alex", "0.1"): (
        "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
        6009,
    ),
    ("squeeze", "0.1"): (
        "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
        10811,
    ),
    ("vgg", "0.1"): (
        "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        7289,
    ),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Perceptual:
    """LPIPS with its weights; frozen.

    Attributes:
      variant: ``"alex"``, ``"vgg"`` or ``"squeeze"``.
      version: version of the heads, ``"0.0"`` or ``"0.1"``.
      module: the backbone.
      variables: ``{"backbone", "heads"}``; a head is one weight per channel, (C,).
    """

    variant: str
    version: str
    module: Backbone = dataclasses.field(repr=False)
    variables: Tree = dataclasses.field(repr=False)

    def __call__(self, a: Images, b: Images) -> PerExample:
        """Distance per pair of images, (B,), >= 0.

        Args:
          a, b: (B, H, W, 3), RGB in [-1, 1], H and W at least 32.

        Raises:
          ValueError: shapes disagree, or values outside [-1, 1].
        """
        for images in (a, b):
            shape = tuple(np.shape(images))
            if len(shape) != 4 or shape[3] != 3 or min(shape[1:3]) < MIN_SIZE:
                raise ValueError(
                    f"LPIPS compares images (B, H, W, 3) of at least {MIN_SIZE} "
                    f"pixels; got {shape}"
                )
            check_image_values(images)
        if a.shape != b.shape:
            raise ValueError(f"LPIPS compares like with like; got {a.shape}, {b.shape}")
        return self._jitted(self.variables, jnp.asarray(a), jnp.asarray(b))

    def distance(self, variables: Tree, a: Images, b: Images) -> PerExample:
        """``__call__`` as a pure function of the weights; checks nothing.

        Grey images (B, H, W, 1) count as RGB with three equal channels.
        """
        total = jnp.zeros(len(a), jnp.result_type(a))
        # apart, so that no gradient is computed for images that are constant
        pairs = zip(
            self._features(variables, a), self._features(variables, b), strict=True
        )
        for number, (unit_a, unit_b) in enumerate(pairs):
            weights = variables["heads"][f"lin{number}"]
            total += (jnp.square(unit_a - unit_b) @ weights).mean(axis=(1, 2))
        return total

    def _features(self, variables: Tree, images: Images) -> list[Array]:
        """Features of every compared layer, of unit length at each position."""
        x = images
        if x.shape[-1] == 1:
            x = jnp.repeat(x, 3, axis=-1)
        if self.version == "0.1":
            x = (x - jnp.asarray(SHIFT)) / jnp.asarray(SCALE)
        names = [f"features.{index}" for index in LAYERS[self.variant][1]]
        outputs = apply(self.module, variables["backbone"], x, until=names[-1])
        # a floor under the root: its gradient is finite where all features are 0
        squares = [jnp.square(outputs[n]).sum(-1, keepdims=True) for n in names]
        norms = [jnp.sqrt(square + EPSILON**2) for square in squares]
        return [
            outputs[name] / (norm + EPSILON)
            for name, norm in zip(names, norms, strict=True)
        ]

    @functools.cached_property
    def _jitted(self):
        return jax.jit(self.distance)


def lpips(
    variant: str = "squeeze",
    version: str = "0.1",
    *,
    backbone: str | os.PathLike | None = None,
    heads: str | os.PathLike | None = None,
    download: bool = False,
) -> Perceptual:
    """LPIPS with published weights.

    Args:
      variant: ``"alex"``, ``"vgg"`` or ``"squeeze"``.
      version: of the heads, ``"0.0"`` or ``"0.1"``.
      backbone, heads: files of the weights; None: by name, as in ``networks.load``.
      download: fetch missing weights from their publishers.

    Raises:
      ValueError: an unknown variant or version; weights that are missing or wrong, or
        want other than ImageNet's preprocessing (Caffe's).
    """
    if variant not in LAYERS:
        raise ValueError(f"no LPIPS variant {variant!r}{nearest(variant, LAYERS)}")
    if version not in VERSIONS:
        raise ValueError(f"LPIPS has the versions {VERSIONS}; got {version!r}")
    name, indices = LAYERS[variant]
    network = load(name, backbone, download=download)
    expected = network.preprocessing
    if expected != IMAGENET:
        raise ValueError(
            f"{backbone or f'the weights of {name}'} want {expected.channel_order} "
            f"images in [0, {expected.maximum:g}] less {expected.mean}, not "
            "torchvision's preprocessing, on which LPIPS rests; give torchvision's "
            "weights as backbone"
        )
    template = {
        f"lin{number}": jax.ShapeDtypeStruct(
            network.layers()[f"features.{index}"][-1:], jnp.float32
        )
        for number, index in enumerate(indices)
    }
    if heads is None:
        heads = locate(heads_file(variant, version), download=download)
    arrays = read_arrays(heads)
    flat = {key: np.asarray(array).reshape(-1) for key, array in arrays.items()}
    what = f"the LPIPS {version} heads of {variant}"
    renamed = rename(flat, HEADS, template, what, path=heads)
    variables = {"backbone": network.variables, "heads": renamed}
    return Perceptual(
        variant, version, network.module, jax.tree.map(jnp.asarray, variables)
    )


def heads_file(variant: str, version: str) -> WeightsFile:
    """The publisher's file of the heads."""
    digest, size = DIGESTS[variant, version]
    url = (
        "https://github.com/richzhang/PerceptualSimilarity/raw/082bb24f84c0/lpips/"
        f"weights/v{version}/{variant}.pth"
    )
    return WeightsFile(f"lpips/v{version}_{variant}.pth", url, digest, bytes=size)
