"""Fréchet and kernel distances between sets of images, each with its protocol."""

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
from iin_jax.types import Array, Images, Tree
from iin_jax.weights import locate, tree_digest

Kind = Literal["frechet", "kernel"]
VALUE_RANGE = (-1.0, 1.0)  # range of pixel values
# network, layers with equal features, and image size in pixels of FID and KID
FID_NETWORK, FID_LAYERS, FID_SIZE = "inception_v3_fid", ("avgpool", "flatten"), 299
INCEPTION_NAMES = {"frechet": "FID", "kernel": "KID"}
FEATURES = {"squeezenet1_1": "features.12", FID_NETWORK: "flatten"}  # layers compared
ROW_NAMES = {
    "samples": "samples through T",
    "samples_without_flow": "samples without T",
}
KIND_NAMES = {"frechet": "Fréchet distance", "kernel": "kernel distance"}


@dataclasses.dataclass(frozen=True)
class DistanceProtocol:
    """Everything beside the images on which a distance between two sets depends.

    Attributes:
      network: name of the network whose features are compared.
      layer: layer whose output, averaged over positions, gives the features.
      weights: SHA-256 digest of the network's variables, in hexadecimal.
      images, reference_images: number of images in either set.
      resize: H = W that the images were resized to, in pixels.
      value_range: least and largest pixel value of the images.
      weights_file: name of the publisher's file if the variables are those of the FID,
        else None; comparisons go by the digest and leave it out.
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
        """Whether network, weights, layer and size are those of FID and KID."""
        return (
            self.weights_file == FID_FILE.name
            and self.network == FID_NETWORK
            and self.layer in FID_LAYERS
            and self.resize == FID_SIZE
        )


@dataclasses.dataclass(frozen=True)
class Distance:
    """A distance between two sets of images.

    Distances compare only within one kind and protocol: ``a < b`` and ``a - b`` raise a
    ValueError that names the fields in which two distances differ.

    Attributes:
      kind: ``"frechet"`` or ``"kernel"``.
      value: the distance; a kernel distance is unbiased and may be negative.
      standard_error: standard error of a kernel distance; None for a Fréchet distance
        and for a kernel distance of a single block.
      protocol: how the distance was measured.
    """

    kind: Kind
    value: float
    standard_error: float | None
    protocol: DistanceProtocol

    @property
    def name(self) -> str:
        """``"FID"`` or ``"KID"`` if measured so, else kind, network and layer."""
        if self.protocol.is_inception:
            return INCEPTION_NAMES[self.kind]
        return (
            f"{KIND_NAMES[self.kind]} ({self.protocol.network}, {self.protocol.layer})"
        )

    def __lt__(self, other: "Distance") -> bool:
        self._check_comparable(other)
        return self.value < other.value

    def __sub__(self, other: "Distance") -> float:
        self._check_comparable(other)
        return self.value - other.value

    def as_dict(self) -> dict[str, Any]:
        """Field -> JSON value, and ``"name"``."""
        return {"name": self.name, **dataclasses.asdict(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Distance":
        """The distance that ``as_dict`` described, also after JSON."""
        protocol = dict(values["protocol"])
        protocol["value_range"] = tuple(protocol["value_range"])
        return cls(
            values["kind"],
            values["value"],
            values["standard_error"],
            DistanceProtocol(**protocol),
        )

    def _check_comparable(self, other: "Distance") -> None:
        left, right = ({"kind": d.kind, **vars(d.protocol)} for d in (self, other))
        unlike = [
            f"{name} ({left[name]} and {right[name]})"
            for name in left
            if name != "weights_file" and left[name] != right[name]
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

    Later layers are not computed. Images are resized bilinearly, with antialiasing if
    they shrink.

    Args:
      network: a network from ``networks.load``.
      layer: one of its ``layers()``: ``"flatten"`` for the FID (inception_v3_fid),
        ``"features.12"`` for SqueezeNet 1.1.
      images: slice -> images (b, H, H, C) in [-1, 1]; a single channel is repeated to
        three.
      count: number of images.
      resize: H = W of the resized images, in pixels; 299 for the FID.
      batch_size: images per call of the network.

    Returns:
      Features (count, D), float64.

    Raises:
      ValueError: a count below 1, an unknown layer, images that are too small for the
        network, not square or outside [-1, 1], or another number of images than asked
        for.
    """
    cut, features = _compiled_features(network, layer, resize)

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
    features_of = functools.partial(features, cut.variables)
    batches = in_batches(features_of, read, count, batch_size)
    return np.concatenate([np.asarray(part, np.float64) for _, part in batches])


@functools.lru_cache(maxsize=4)
def _compiled_features(
    network: PretrainedNetwork, layer: str, resize: int
) -> tuple[PretrainedNetwork, Callable[[Tree, Images], Array]]:
    """The network cut at a layer, and its features, compiled once for all calls."""
    cut = dataclasses.replace(network, layer=layer, size=resize)

    @jax.jit
    def features(variables: Tree, batch: Images) -> Array:
        shape = (len(batch), resize, resize, 3)
        batch = jax.image.resize(batch, shape, "bilinear", antialias=True)
        z = cut.encode_pure(variables, batch)
        return z.mean(axis=tuple(range(1, z.ndim - 1)))

    return cut, features


def distances(
    network: PretrainedNetwork,
    layer: str,
    features: np.ndarray,
    reference_features: np.ndarray,
    resize: int,
) -> dict[Kind, Distance]:
    """Both distances between two sets of images, from ``image_features``.

    Warns if a side has no more images than dimensions, and if the network is named like
    that of the FID while its weights cannot be compared with the published file.

    Args:
      network, layer, resize: the arguments of ``image_features`` that gave both sets of
        features.
      features: features of the images in question, (n, D).
      reference_features: features of the real images, (m, D).

    Returns:
      kind -> distance, for ``"frechet"`` and ``"kernel"``.

    Raises:
      ValueError: fewer than two images on a side, features of unequal length, or
        features that are not finite.
    """
    x, y = checked_features(features, reference_features)
    smaller, dim = min(len(x), len(y)), x.shape[1]
    if smaller <= dim:
        warnings.warn(
            f"a Fréchet distance of {smaller} images in {dim} dimensions has a "
            "singular covariance and is biased upwards: compare only with the same "
            f"number of images, or take more than {dim}",
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
    """Name of the published file of the FID if the network has its weights, or None.

    A network of that architecture may have any weights, so its variables are compared
    with those of the file, which is looked for wherever weights are.
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
    """A distance in a scorecard; the fields are those of ``Distance``."""

    name: str
    kind: str
    value: float
    standard_error: float | None
    protocol: DistanceProtocol


@dataclasses.dataclass(frozen=True)
class DistancesRecord(Record):
    """Distances of generated images from test images.

    Attributes:
      distances: ``"samples"``, ``"samples_without_flow"`` or ``"reconstructions"`` ->
        ``"frechet"`` or ``"kernel"`` -> distance.
    """

    distances: dict[str, dict[str, DistanceFigures]]


class DistancesAnalysis:
    """Measures how far samples and reconstructions are from test images.

    Samples are decoded from a standard normal, through T and, for comparison, without.
    """

    record = DistancesRecord

    def measure(self, evidence: Evidence) -> DistancesRecord | None:
        settings, interpreter = evidence.features, evidence.interpreter
        if settings is None or evidence.network.output != "images":
            return None
        if settings.name not in FEATURES:
            raise ValueError(
                f"distances are measured by one of {list(FEATURES)}; got "
                f"{settings.name!r}"
            )
        network = load(settings.name, download=settings.download)
        size = settings.size or network.image_size[0]
        layer, real = FEATURES[settings.name], evidence.test
        rows = real.some(settings.images, evidence.seed)
        count = len(rows)
        rng = np.random.default_rng([evidence.seed, 0xF1D])
        draws = rng.standard_normal((count, interpreter.layout.dim)).astype(np.float32)
        generated: dict[str, Callable[[slice], Images]] = {
            "samples": lambda part: interpreter.decode(
                interpreter.untranslate(draws[part])
            ),
            "samples_without_flow": lambda part: interpreter.decode(draws[part]),
            "reconstructions": lambda part: interpreter.decode(
                interpreter.encode(real.read(rows[part]))
            ),
        }

        def features(images: Callable[[slice], Images]) -> np.ndarray:
            return image_features(network, layer, images, count, resize=size)

        reference, result = features(lambda part: real.read(rows[part])), {}
        for name, images in generated.items():
            measured = distances(network, layer, features(images), reference, size)
            result[name] = {
                kind: DistanceFigures(distance.name, **vars(distance))
                for kind, distance in measured.items()
            }
        return DistancesRecord(result)

    def section(self, record: DistancesRecord) -> Section:
        first = next(iter(record.distances.values()))
        protocol = first["frechet"].protocol
        text = (
            "Distances between generated and held-out images; lower is better. They "
            "can be compared only with distances of the same protocol: features of "
            f"{protocol.network}, "
            f"layer {protocol.layer}, weights {protocol.weights[:12]}…, "
            f"{protocol.images} against {protocol.reference_images} images resized to "
            f"{protocol.resize} pixels, values in {list(protocol.value_range)}."
        )
        rows = []
        for name, measured in record.distances.items():
            kernel = measured["kernel"]
            kernel_text = f"{kernel.value:.5f}"
            if kernel.standard_error is not None:
                kernel_text += f" ± {kernel.standard_error:.5f}"
            frechet_text = f"{measured['frechet'].value:.3f}"
            rows.append([ROW_NAMES.get(name, name), frechet_text, kernel_text])
        head = ("", first["frechet"].name, first["kernel"].name)
        return Section("Distances of samples", [text], [Table(head, rows)])
