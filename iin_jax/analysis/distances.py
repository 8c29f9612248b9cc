"""Fréchet and kernel distances between sets of images, with their protocol attached."""

import dataclasses
import functools
import warnings
from collections.abc import Callable
from typing import Any, Literal

import jax
import numpy as np

from iin_jax.analysis.base import Evidence, Record, Section, Table
from iin_jax.analysis.discrepancies import (
    checked_features,
    frechet,
    kernel_distance,
    moments,
)
from iin_jax.latents.batches import in_batches
from iin_jax.networks import load
from iin_jax.networks.backbones.inception import FID_FILE
from iin_jax.networks.pretrained import PretrainedNetwork
from iin_jax.types import Array, Images
from iin_jax.weights import locate, tree_digest

Kind = Literal["frechet", "kernel"]
VALUE_RANGE = (-1.0, 1.0)  # range of pixel values
FID_NETWORK, FID_LAYERS, FID_SIZE = "inception_v3_fid", ("avgpool", "flatten"), 299
SHORT = {"frechet": "FID", "kernel": "KID"}
FEATURES = {"squeezenet1_1": "features.12", FID_NETWORK: "flatten"}  # layers compared
WORDS = {
    "samples": "samples through T",
    "samples_without_flow": "samples without T",
}
LONG = {"frechet": "Fréchet distance", "kernel": "kernel distance"}


@dataclasses.dataclass(frozen=True)
class DistanceProtocol:
    """All that a distance between two sets of images depends on beside the images.

    Attributes:
      network: name of the network whose features are compared.
      layer: whose output they are, averaged over positions.
      weights: SHA-256 digest of the network's variables.
      images, reference_images: number of either.
      resize: H = W that the images were resized to, in pixels.
      value_range: of the images.
      weights_file: the publisher's file, if the variables were seen to be those of the
        FID; it is no condition for a comparison, the digest is.
    """

    network: str
    layer: str
    weights: str
    images: int
    reference_images: int
    resize: int
    value_range: tuple[float, float] = VALUE_RANGE
    weights_file: str | None = dataclasses.field(default=None, compare=False)

    @property
    def is_inception(self) -> bool:
        """Whether this is how FID and KID are measured."""
        return (
            self.weights_file == FID_FILE.name
            and self.network == FID_NETWORK
            and self.layer in FID_LAYERS
            and self.resize == FID_SIZE
        )


@dataclasses.dataclass(frozen=True)
class Distance:
    """A distance that compares with others of its kind and protocol alone.

    ``a < b`` and ``a - b`` raise ValueError if kind or protocol differ, and name the
    fields that do.

    Attributes:
      kind: ``"frechet"`` or ``"kernel"``.
      value: the distance; a kernel distance is unbiased and may be negative.
      standard_error: of a kernel distance; None for the other, or for a single block.
      protocol: how it was measured.
    """

    kind: Kind
    value: float
    standard_error: float | None
    protocol: DistanceProtocol

    @property
    def name(self) -> str:
        """``"FID"`` or ``"KID"`` if measured like those, else after the network."""
        if self.protocol.is_inception:
            return SHORT[self.kind]
        return f"{LONG[self.kind]} ({self.protocol.network}, {self.protocol.layer})"

    def __lt__(self, other: "Distance") -> bool:
        self._check_comparable(other)
        return self.value < other.value

    def __sub__(self, other: "Distance") -> float:
        self._check_comparable(other)
        return self.value - other.value

    def as_dict(self) -> dict[str, Any]:
        """As JSON values, the name among them."""
        return {"name": self.name, **dataclasses.asdict(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Distance":
        """What ``as_dict`` gave, also after JSON."""
        protocol = dict(values["protocol"])
        protocol["value_range"] = tuple(protocol["value_range"])
        return cls(
            values["kind"],
            values["value"],
            values["standard_error"],
            DistanceProtocol(**protocol),
        )

    def _check_comparable(self, other: "Distance") -> None:
        mine, others = ({"kind": d.kind, **vars(d.protocol)} for d in (self, other))
        unlike = [
            f"{name} ({mine[name]} and {others[name]})"
            for name in mine
            if name != "weights_file" and mine[name] != others[name]
        ]
        if unlike:
            raise ValueError(
                f"two distances of unlike protocols do not compare: {', '.join(unlike)}"
                "; measure both in the same way"
            )


def image_features(
    network: PretrainedNetwork,
    layer: str,
    images: Callable[[slice], Images],
    count: int,
    *,
    resize: int,
    batch_size: int = 64,
) -> np.ndarray:
    """Features of images at a layer of a frozen network, averaged over positions.

    Only the layers up to that one are computed. Images are resized bilinearly and, if
    they become smaller, averaged over pixels.

    Args:
      network: as ``networks.load`` gives it.
      layer: one of its ``layers()``: ``"flatten"`` for the FID (inception_v3_fid),
        ``"features.12"`` for SqueezeNet 1.1.
      images: slice -> images (b, H, H, C) in [-1, 1]; one channel is repeated to three.
      count: number of images.
      resize: H = W that the network sees, in pixels; 299 for the FID.
      batch_size: images per call of the network.

    Returns:
      (count, D), float64.

    Raises:
      ValueError: an unknown layer, images too small for the network, not square or
        outside [-1, 1], or fewer of them than asked for.
    """
    cut = dataclasses.replace(network, layer=layer, size=resize)

    @jax.jit
    def features(variables, batch: Images) -> Array:
        shape = (len(batch), resize, resize, 3)
        batch = jax.image.resize(batch, shape, "bilinear", antialias=True)
        z = cut.encode_pure(variables, batch)
        return z.mean(axis=tuple(range(1, z.ndim - 1)))

    def read(entries: slice) -> Images:
        batch = np.asarray(images(entries), np.float32)
        if batch.ndim == 4 and batch.shape[-1] == 1:
            batch = np.repeat(batch, 3, axis=-1)
        cut.check_images(batch)
        size = entries.stop - entries.start
        if len(batch) != size:
            raise ValueError(f"{size} images were asked for; got {len(batch)}")
        return batch

    if count < 1:
        raise ValueError(f"features are of one image at least; got count {count}")
    look = functools.partial(features, cut.variables)
    batches = in_batches(look, read, count, batch_size)
    return np.concatenate([np.asarray(part, np.float64) for _, part in batches])


def distances(
    network: PretrainedNetwork,
    layer: str,
    features: np.ndarray,
    reference_features: np.ndarray,
    resize: int,
) -> dict[Kind, Distance]:
    """Both distances between two sets of images, from ``image_features``.

    Args:
      network, layer, resize: that the features were computed with.
      features: (n, D).
      reference_features: of the real images, (m, D).

    Returns:
      ``"frechet"`` and ``"kernel"``.

    Raises:
      ValueError: fewer than two images, or features of another length or not finite.
    """
    x, y = checked_features(features, reference_features)
    fewest, dim = min(len(x), len(y)), x.shape[1]
    if fewest <= dim:
        warnings.warn(
            f"a Fréchet distance of {fewest} images in {dim} dimensions has a singular "
            "covariance and is biased upwards: compare only with the same number of "
            f"images, or take more than {dim}",
            stacklevel=2,
        )
    protocol = DistanceProtocol(
        network.name,
        layer,
        tree_digest(network.variables),
        len(x),
        len(y),
        resize,
        weights_file=_published_file(network),
    )
    frechet_value = frechet(*moments(x), *moments(y))
    kernel_value, standard_error = kernel_distance(x, y)
    return {
        "frechet": Distance("frechet", frechet_value, None, protocol),
        "kernel": Distance("kernel", kernel_value, standard_error, protocol),
    }


def _published_file(network: PretrainedNetwork) -> str | None:
    """The publisher's file of the FID if the variables are what it holds, else None.

    An architecture of that name may have any weights, so they are compared with the
    file, wherever weights are looked for.
    """
    if network.name != FID_NETWORK:
        return None
    try:
        published = load(FID_NETWORK, locate(FID_FILE))
    except (ValueError, ImportError) as error:
        warnings.warn(
            f"these distances are not called FID and KID: whether the network has the "
            f"weights of {FID_FILE.name} cannot be checked ({error})",
            stacklevel=3,
        )
        return None
    same = tree_digest(published.variables) == tree_digest(network.variables)
    return FID_FILE.name if same else None


@dataclasses.dataclass(frozen=True)
class DistanceFigures:
    """A distance as a scorecard has it; see ``Distance``."""

    name: str
    kind: str
    value: float
    standard_error: float | None
    protocol: DistanceProtocol


@dataclasses.dataclass(frozen=True)
class DistancesRecord(Record):
    """Set of pictures -> ``"frechet"`` and ``"kernel"``, against test images."""

    distances: dict[str, dict[str, DistanceFigures]]


class DistancesAnalysis:
    """Samples through T, samples without T and reconstructions, from test images."""

    record = DistancesRecord

    def measure(self, evidence: Evidence) -> DistancesRecord | None:
        wanted, interpreter = evidence.features, evidence.interpreter
        if wanted is None or evidence.network.output != "images":
            return None
        judge = load(wanted.name, download=wanted.download)
        size = wanted.size or judge.image_size[0]
        layer, real = FEATURES[wanted.name], evidence.test
        count = min(wanted.images, len(real))
        rng = np.random.default_rng([evidence.seed, 0xF1D])
        draws = rng.standard_normal((count, interpreter.layout.dim)).astype(np.float32)
        pictures: dict[str, Callable[[slice], Images]] = {
            "samples": lambda part: interpreter.decode(
                interpreter.untranslate(draws[part])
            ),
            "samples_without_flow": lambda part: interpreter.decode(draws[part]),
            "reconstructions": lambda part: interpreter.decode(
                interpreter.encode(real.read(part))
            ),
        }

        def features(images: Callable[[slice], Images]) -> np.ndarray:
            return image_features(judge, layer, images, count, resize=size)

        reference, result = features(real.read), {}
        for name, images in pictures.items():
            measured = distances(judge, layer, features(images), reference, size)
            result[name] = {
                kind: DistanceFigures(each.name, **vars(each))
                for kind, each in measured.items()
            }
        return DistancesRecord(result)

    def section(self, record: DistancesRecord) -> Section:
        first = next(iter(record.distances.values()))
        protocol = first["frechet"].protocol
        text = (
            "Distances between generated and held-out images, lower is better. They "
            f"compare only with distances of the same protocol: {protocol.network}, "
            f"layer {protocol.layer}, weights {protocol.weights[:12]}…, "
            f"{protocol.images} against {protocol.reference_images} images resized to "
            f"{protocol.resize} pixels, values in {list(protocol.value_range)}."
        )
        rows = []
        for name, measured in record.distances.items():
            kernel = measured["kernel"]
            shown = f"{kernel.value:.5f}"
            if kernel.standard_error is not None:
                shown += f" ± {kernel.standard_error:.5f}"
            value = f"{measured['frechet'].value:.3f}"
            rows.append([WORDS.get(name, name), value, shown])
        head = ("", first["frechet"].name, first["kernel"].name)
        return Section("Distances of samples", [text], [Table(head, rows)])
