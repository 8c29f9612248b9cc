"""What layers of a classifier no longer distinguish: a section of its report."""

import dataclasses

import jax
import numpy as np

from iin_jax.analysis.base import Evidence, Record, Section, Table, shown
from iin_jax.invariances import Invariances
from iin_jax.types import Images

MOST_IMAGES = 500  # most test images that samples are drawn for
SAMPLES = 4  # samples per image
GRIDS = "invariances_"  # beginning of the name of a layer's grid
GREY = 1e-3  # most deviation of the tint among grey images
CHANNELS = 3  # number of channels of an image that has a tint
DARK = 1e-6  # least brightness of an image that has a tint
FREE = 0.8  # least freedom of a property of which a layer says nothing
FIXED = 0.2  # most freedom of a property that a layer fixes


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
      brightness: freedom of an image's brightness, the mean of its pixels: its variance
        among the samples of one image, over that among images.
      tint: freedom of the shares that the three channels have in the brightness; None
        for grey images.
      pixels: freedom of all pixels.
      bits_per_dim: what held-out latents cost under the flow.
      start_bits_per_dim: the same of its closed form, a linear Gaussian.
    """

    context: int
    samples: float
    reconstructions: float
    same_answer: float
    brightness: float
    pixels: float
    bits_per_dim: float
    start_bits_per_dim: float
    tint: float | None = None


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
            layer: _figures(invariances, images, key)
            for layer, invariances in evidence.invariances.items()
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
            "layer fixes it, 1 where it says nothing of it. Tint is the share of each "
            "channel in the brightness."
        )
        head = (
            "layer",
            "context",
            "distance",
            "reconstructed",
            "same answer",
            "freedom of brightness",
            "of tint",
            "of pixels",
            "bits/dim (linear)",
        )
        rows = [_row(layer, x) for layer, x in record.invariances.items()]
        words = [_sentence(layer, x) for layer, x in record.invariances.items()]
        note = (
            f"On {record.invariance_images} test images, {SAMPLES} samples of each. A "
            "row of a picture begins with a test image and what the autoencoder makes "
            "of it; then follow samples that the layer should hardly tell from it."
        )
        grids = [f"{GRIDS}{layer}" for layer in record.invariances]
        title = "What layers no longer distinguish"
        tables = [Table(head, rows)]
        return Section(title, [text, *words], tables, [note], grids=grids)


def brightness(images: Images) -> np.ndarray:
    """Mean of an image's pixels, (B, H, W, C) in [-1, 1] -> (B,) in [0, 1]."""
    return np.asarray(images, np.float64).mean((1, 2, 3)) / 2 + 0.5


def tint(images: Images) -> np.ndarray:
    """Share of each channel in the brightness, (B, H, W, C) -> (B, C), sums of 1."""
    channels = np.asarray(images, np.float64).mean((1, 2)) + 1.0
    return channels / np.maximum(channels.sum(axis=1, keepdims=True), DARK)


def _figures(
    invariances: Invariances, images: Images, key: jax.Array
) -> LayerInvariances:
    def answers(shown: Images) -> np.ndarray:
        z = invariances.classifier.encode(shown)
        return np.asarray(invariances.classifier.decode(z)).argmax(-1)

    distance = invariances.distance(images, key, SAMPLES)
    samples = invariances.sample(images, key, SAMPLES)
    expected = answers(invariances.reconstructed(images))
    same = [(answers(each) == expected).mean() for each in samples]
    colored = images.shape[-1] == CHANNELS and tint(images).std(axis=0).max() > GREY
    return LayerInvariances(
        invariances.context.axes.shape[1],
        distance["samples"],
        distance["reconstructions"],
        float(np.mean(same)),
        invariances.freedom(images, brightness, key, SAMPLES),
        invariances.freedom(images, lambda x: x, key, SAMPLES),
        invariances.record["bits_per_dim"],
        invariances.record["start_bits_per_dim"],
        invariances.freedom(images, tint, key, SAMPLES) if colored else None,
    )


def _row(layer: str, x: LayerInvariances) -> list[str]:
    return [
        layer,
        str(x.context),
        f"{x.samples:.3f}",
        f"{x.reconstructions:.3f}",
        f"{100 * x.same_answer:.1f} %",
        shown(x.brightness, "freedom"),
        shown(x.tint, "freedom"),
        shown(x.pixels, "freedom"),
        f"{x.bits_per_dim:.2f} ({x.start_bits_per_dim:.2f})",
    ]


def _sentence(layer: str, x: LayerInvariances) -> str:
    properties = {"brightness": x.brightness, "tint": x.tint}
    parts = [_in_words(name, y) for name, y in properties.items() if y is not None]
    return (
        f"Layer {layer} {' and '.join(parts)}; {100 * x.same_answer:.0f} % of its "
        "samples get the answer that their image gets."
    )


def _in_words(name: str, freedom: float) -> str:
    if freedom >= FREE:
        return f"says nothing of an image's {name}"
    if freedom <= FIXED:
        return f"fixes an image's {name}"
    return f"leaves a part of an image's {name} open ({freedom:.2f})"
