"""What layers of a classifier no longer distinguish: a section of its report."""

import dataclasses
from typing import Any

import jax
import numpy as np

from iin_jax.analysis.base import Evidence, Record, Section, Table
from iin_jax.invariances import Invariances
from iin_jax.types import Images

MOST_IMAGES = 500  # test images that samples are drawn for
SAMPLES = 4  # of each image
GRIDS = "invariances_"  # of the names of a layer's grid
FREE, FIXED = 0.8, 0.2  # bounds of freedom for these words


@dataclasses.dataclass(frozen=True)
class LayerInvariances:
    """Figures of the samples that one layer should not tell from their images.

    Attributes:
      context: numbers that the flow is given of the layer's output.
      samples: distance of a sample to its image in the layer's output, over that of two
        random images.
      reconstructions: the same of what the autoencoder makes of the image.
      same_answer: share of samples that the classifier answers as it answers the
        autoencoder's version of their image.
      mean_color: freedom of an image's mean colour: its variance among the samples of
        one image, over that among images.
      pixels: freedom of all pixels.
      bits_per_dim: of held-out latents under the flow.
      start_bits_per_dim: the same of its closed form, a linear Gaussian.
    """

    context: int
    samples: float
    reconstructions: float
    same_answer: float
    mean_color: float
    pixels: float
    bits_per_dim: float
    start_bits_per_dim: float


@dataclasses.dataclass(frozen=True)
class InvarianceRecord(Record):
    """Layer -> figures of its invariances, from input to output.

    Attributes:
      invariances: of every layer that a flow was trained for.
      invariance_images: test images behind them.
    """

    invariances: dict[str, LayerInvariances]
    invariance_images: int


class InvarianceAnalysis:
    """Measures what layers of a classifier leave open, on test images."""

    record = InvarianceRecord

    def measure(self, evidence: Evidence) -> InvarianceRecord | None:
        if not evidence.invariances:
            return None
        rows = evidence.test.some(MOST_IMAGES, evidence.seed)
        images = np.asarray(evidence.test.read(rows))
        key = jax.random.key(evidence.seed)
        figures = {
            layer: _figures(found, images, key)
            for layer, found in evidence.invariances.items()
        }
        return InvarianceRecord(figures, len(rows))

    def section(self, record: InvarianceRecord) -> Section:
        text = (
            "A flow under a context translates the latent of an autoencoder, given "
            "what a layer puts out for the image. Its samples are images that the "
            "layer should hardly tell from the given one: what varies among them, the "
            "layer has thrown away. Distance is that of a sample to its image in the "
            "layer's output over that of two random images; no sample can be expected "
            "below what the autoencoder's own reconstruction has. Freedom is the "
            "variance among samples of one image over that among images: 0 where the "
            "layer fixes it, 1 where it says nothing of it."
        )
        head = (
            "layer",
            "context",
            "distance",
            "reconstructed",
            "same answer",
            "freedom of mean colour",
            "freedom of pixels",
            "bits/dim (linear)",
        )
        rows = [_row(layer, x) for layer, x in record.invariances.items()]
        words = [_sentence(layer, x) for layer, x in record.invariances.items()]
        note = f"On {record.invariance_images} test images, {SAMPLES} samples of each."
        grids = [f"{GRIDS}{layer}" for layer in record.invariances]
        title = "What layers no longer distinguish"
        tables = [Table(head, rows)]
        return Section(title, [text, *words], tables, [note], grids=grids)


def mean_color(images: Images) -> Any:
    """Mean of an image's pixels in every channel, (B, H, W, C) -> (B, C)."""
    return np.asarray(images).mean((1, 2))


def _figures(found: Invariances, images: Images, key: jax.Array) -> LayerInvariances:
    distance = found.distance(images, key, SAMPLES)
    samples = found.sample(images, key, SAMPLES)
    own = _answers(found, found.reconstructed(images))
    same = [(_answers(found, each) == own).mean() for each in samples]
    return LayerInvariances(
        found.context.axes.shape[1],
        distance["samples"],
        distance["reconstructions"],
        float(np.mean(same)),
        found.freedom(images, mean_color, key, SAMPLES),
        found.freedom(images, lambda x: x, key, SAMPLES),
        found.record["bits_per_dim"],
        found.record["start_bits_per_dim"],
    )


def _answers(found: Invariances, images: Images) -> np.ndarray:
    """The class that the classifier sees in each image."""
    classifier = found.classifier
    return np.asarray(classifier.decode(classifier.encode(images))).argmax(-1)


def _row(layer: str, x: LayerInvariances) -> list[str]:
    return [
        layer,
        str(x.context),
        f"{x.samples:.3f}",
        f"{x.reconstructions:.3f}",
        f"{100 * x.same_answer:.1f} %",
        f"{x.mean_color:.2f}",
        f"{x.pixels:.2f}",
        f"{x.bits_per_dim:.2f} ({x.start_bits_per_dim:.2f})",
    ]


def _sentence(layer: str, x: LayerInvariances) -> str:
    if x.mean_color >= FREE:
        color = "says nothing of the mean colour"
    elif x.mean_color <= FIXED:
        color = "fixes the mean colour"
    else:
        color = f"leaves a part of the mean colour open ({x.mean_color:.2f})"
    return (
        f"Layer {layer} {color}; {100 * x.same_answer:.0f} % of its samples get the "
        "answer that their image gets."
    )
