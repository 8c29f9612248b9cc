"""How far the middle between two images is from data, along three paths."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from iin_jax.analysis.base import Evidence, Record, Section, Table
from iin_jax.analysis.comparisons import Difference, PairedImages
from iin_jax.analysis.distances import FEATURES, distances, image_features
from iin_jax.factors import Path
from iin_jax.networks import load
from iin_jax.types import Array, Images

PAIRS = 5000  # most pairs, and most images that their mid-points are compared with
LINE_IN_Z = "line in z"  # the path that the others are held to
PATHS: dict[str, Path] = {"line through T": "line", "arc through T": "arc"}
FEWEST = 3  # least number of pairs
ROW_NAMES = {"images": "test images", "reconstructions": "reconstructed test images"}
BLOCK = 512  # images whose distances from all others are computed at once


@dataclasses.dataclass(frozen=True)
class Midpoints:
    """The middle of a path between two images, over many pairs.

    Attributes:
      frechet: Fréchet distance of the decoded mid-points from held-out images.
      nearest: mean distance of a mid-point's features from those of the nearest
        held-out image.
      interval: its 95 % interval.
      nearer: how much nearer than the mid-point of the line in z, pair by pair; None
        for that line and for images that are no mid-points.
    """

    frechet: float
    nearest: float
    interval: tuple[float, float]
    nearer: Difference | None = None


@dataclasses.dataclass(frozen=True)
class MidpointsRecord(Record):
    """Mid-points between images, and what they are compared with.

    Attributes:
      midpoints: path, or ``"images"`` and ``"reconstructions"`` of the ends, -> how far
        they are from held-out images none of which is an end.
      midpoint_pairs: number of pairs.
      midpoint_features: network, layer and size in pixels of the features.
    """

    midpoints: dict[str, Midpoints]
    midpoint_pairs: int
    midpoint_features: str


class MidpointsAnalysis:
    """Compares straight lines in z, and lines and arcs in z_tilde.

    Half of the test images are ends, each of two pairs; the others are what mid-points
    are compared with.
    """

    record = MidpointsRecord

    def measure(self, evidence: Evidence) -> MidpointsRecord | None:
        settings, interpreter = evidence.features, evidence.interpreter
        if settings is None or evidence.network.output != "images":
            return None
        network = load(settings.name, download=settings.download)
        size = settings.size or network.image_size[0]
        layer, test, layout = FEATURES[settings.name], evidence.test, interpreter.layout
        rng = np.random.default_rng([evidence.seed, 0x31D])
        rows = rng.permutation(np.unique(test.picture, return_index=True)[1])
        count = min(PAIRS, settings.images, len(rows) // 2)
        if count < FEWEST:
            return None
        first, rest = rows[:count], rows[count : 2 * count]
        second = np.roll(first, 1)

        def features(images: Callable[[slice], Images]) -> np.ndarray:
            return image_features(network, layer, images, count, resize=size)

        def ends(part: slice) -> tuple[Array, Array]:
            pair = test.read(first[part]), test.read(second[part])
            return interpreter.encode(pair[0]), interpreter.encode(pair[1])

        def in_z(part: slice) -> Images:
            z_a, z_b = ends(part)
            return interpreter.decode(0.5 * (z_a + z_b))

        def through_flow(path: Path, part: slice) -> Images:
            a, b = (interpreter.translate(z) for z in ends(part))
            middle = layout.interpolate(a, b, layout.names, steps=3, path=path)[1]
            return interpreter.decode(interpreter.untranslate(middle))

        looked_at: dict[str, Callable[[slice], Images]] = {
            "images": lambda part: test.read(first[part]),
            "reconstructions": lambda part: interpreter.decode(ends(part)[0]),
            LINE_IN_Z: in_z,
            **{n: functools.partial(through_flow, path) for n, path in PATHS.items()},
        }
        reference = features(lambda part: test.read(rest[part]))
        pairs, nearest, result = PairedImages(first, second), {}, {}
        for name, images in looked_at.items():
            found = features(images)
            measured = distances(network, layer, found, reference, size)
            nearest[name] = nearest_distance(found, reference)
            nearer = None
            if name in PATHS:
                nearer = pairs.difference(nearest[name], nearest[LINE_IN_Z], "error")
            result[name] = Midpoints(
                measured["frechet"].value,
                float(nearest[name].mean()),
                pairs.interval(nearest[name]),
                nearer,
            )
        text = f"{network.name}, layer {layer}, {size} pixels"
        return MidpointsRecord(result, count, text)

    def section(self, record: MidpointsRecord) -> Section:
        rows = []
        for name, measured in record.midpoints.items():
            low, high = measured.interval
            nearer = "-"
            if measured.nearer is not None:
                bounds = measured.nearer.interval
                nearer = f"{measured.nearer.value:.3f} ({bounds[0]:.3f} to "
                nearer += f"{bounds[1]:.3f})"
            rows.append(
                [
                    ROW_NAMES.get(name, f"middle of the {name}"),
                    f"{measured.frechet:.1f}",
                    f"{measured.nearest:.3f} ({low:.3f} to {high:.3f})",
                    nearer,
                ]
            )
        head = ("", "Fréchet distance", "nearest image", "nearer than line in z")
        return Section(
            "Between two images",
            [
                "Half-way between the latents of two test images, decoded: along a "
                "straight line in z, and along a line and an arc in T's space. The "
                "nearer to images that are no ends of a path, the better."
            ],
            [Table(head, rows)],
            [
                f"{record.midpoint_pairs} pairs, each image in two of them, and as "
                "many other test images that they are compared with, by features of "
                f"{record.midpoint_features}. nearest image: mean distance of features "
                "from those of the nearest of these, with its 95 % interval; blurred "
                "images are near to many."
            ],
        )


def nearest_distance(features: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Euclidean distance of each vector from the nearest of others, (n,).

    Args:
      features, reference: (n, D) and (m, D), finite.
    """
    squared = np.square(reference).sum(axis=1)
    result = np.empty(len(features))
    for start in range(0, len(features), BLOCK):
        part = features[start : start + BLOCK]
        nearest = (squared - 2.0 * part @ reference.T).min(axis=1)
        result[start : start + BLOCK] = np.square(part).sum(axis=1) + nearest
    return np.sqrt(np.maximum(result, 0.0))
