"""Outside judges of edited images: they never see the flow, nor its training."""

import abc
import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from sklearn.kernel_ridge import KernelRidge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from iin_jax.data.values import is_class, known_rows, plain
from iin_jax.types import Array, Images, Latents

RIDGE: Any = {"alpha": 0.1}  # ridge regression of real values from z
BRIGHT = 0.85  # share of an image's maximum that a coloured pixel has


class Judge(abc.ABC):
    """Reads one attribute from an edited image; scores it against what is expected.

    Attributes:
      measure: ``"accuracy"`` (higher is better) or ``"mean_abs_error"`` (lower is).
    """

    measure: str

    @abc.abstractmethod
    def score(self, outputs: Array, expected: np.ndarray) -> float:
        """The measure on images in [-1, 1], on logits, or on latents (B, N)."""

    def each(self, outputs: Array, expected: np.ndarray) -> np.ndarray | None:
        """The measure of every output alone, (B,), whose mean is the score.

        None, as here, if a judge has none: then its figures have no intervals.
        """
        return None

    def target(self, images: Images, values: np.ndarray) -> np.ndarray:
        """What is expected of an edit that gives the attribute of these real images.

        Args:
          images: (B, H, W, C) in [-1, 1], unedited.
          values: their true values, (B,) or (B, d).

        Returns:
          (B,) or (B, d): the values, unless the judge measures the images itself.
        """
        return values


class ReadingJudge(Judge):
    """A judge that reads each output: right or wrong, or off by so much."""

    @abc.abstractmethod
    def read(self, images: Array) -> np.ndarray:
        """What it sees: classes (B,), or real values (B,) or (B, d)."""

    def each(self, outputs: Array, expected: np.ndarray) -> np.ndarray:
        read = self.read(outputs)
        if self.measure == "accuracy":
            return (read == expected).astype(np.float64)
        error = np.abs(read - expected)
        return error.reshape(len(error), -1).mean(axis=1)

    def score(self, outputs: Array, expected: np.ndarray) -> float:
        return float(self.each(outputs, expected).mean())


@dataclasses.dataclass(frozen=True)
class ShapeJudge(ReadingJudge):
    """Tells classes by shape alone, for images in any colour.

    A support vector machine (RBF kernel) on ``brightness``: for small sets, since its
    training takes time with the square of the number of images.

    Attributes:
      model: trained classifier of (n, H * W) brightnesses.
      test_accuracy: on the test images given to ``train``; None without.
    """

    model: SVC
    test_accuracy: float | None = None
    measure = "accuracy"
    kind = "support vector machine"

    @classmethod
    def train(
        cls,
        images: np.ndarray,
        classes: np.ndarray,
        *,
        test: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> "ShapeJudge":
        """Trains on images (n, H, W, C), 0..255, with classes (n,).

        Rows whose class is missing are left out; ``test`` is images and classes again.
        """
        rows = known_rows(classes)
        seen = _flat_brightness(images[rows] / 127.5 - 1.0)
        judge = cls(SVC(C=10.0).fit(seen, plain(classes)[rows]))
        if test is None:
            return judge
        rows = known_rows(test[1])
        accuracy = judge.score(test[0][rows] / 127.5 - 1.0, plain(test[1])[rows])
        return dataclasses.replace(judge, test_accuracy=accuracy)

    @property
    def classes(self) -> np.ndarray:
        """What it tells apart, sorted, (k,)."""
        return self.model.classes_

    def read(self, images: Images) -> np.ndarray:
        """Predicted classes (B,) of images (B, H, W, C) in [-1, 1]."""
        return self.model.predict(_flat_brightness(images))


@dataclasses.dataclass(frozen=True)
class ColorJudge(ReadingJudge):
    """Measures the colour of the bright pixels; expects what a real image shows."""

    measure = "mean_abs_error"

    def read(self, images: Images) -> np.ndarray:
        """Colours (B, 3) in [0, 1] of images (B, H, W, 3) in [-1, 1].

        The mean over the pixels whose largest channel is at least 0.85 of the image's
        own maximum, both in [0, 1].
        """
        unit = (np.asarray(images, np.float32) + 1.0) / 2.0
        pixels = unit.reshape(len(unit), -1, unit.shape[-1])
        peaks = pixels.max(axis=-1)
        bright = peaks >= BRIGHT * peaks.max(axis=1, keepdims=True)
        totals = np.einsum("bp,bpc->bc", bright.astype(np.float32), pixels)
        return totals / bright.sum(axis=1, keepdims=True)

    def target(self, images: Images, values: np.ndarray) -> np.ndarray:
        return self.read(images)


@dataclasses.dataclass(frozen=True)
class LogitsJudge(ReadingJudge):
    """Reads the class from a classifier's own logits."""

    measure = "accuracy"

    def read(self, images: Array) -> np.ndarray:
        """The largest of each logits (B, classes), (B,)."""
        return np.asarray(images).argmax(axis=-1)


@dataclasses.dataclass(frozen=True)
class LatentJudge(ReadingJudge):
    """Reads an attribute from z, for networks whose output does not show it.

    A support vector machine for classes, kernel ridge regression for real values, both
    with a Gaussian kernel on standardised components, trained on unedited latents.

    Attributes:
      model: the trained pipeline.
      measure: ``"accuracy"`` or ``"mean_abs_error"``.
    """

    model: Pipeline
    measure: str

    @classmethod
    def train(cls, z: Latents, values: np.ndarray) -> "LatentJudge":
        """Trains on latents (n, N) with classes (n,), or real values (n,) or (n, d).

        Rows whose value is missing are left out.
        """
        classes, rows = is_class(values), known_rows(values)
        model = SVC(C=10.0) if classes else KernelRidge(kernel="rbf", **RIDGE)
        fitted = make_pipeline(StandardScaler(), model)
        fitted.fit(np.asarray(z)[rows], plain(values)[rows])
        return cls(fitted, "accuracy" if classes else "mean_abs_error")

    def read(self, images: Array) -> np.ndarray:
        """What latents (B, N) show."""
        return self.model.predict(np.asarray(images))


def brightness(images: Images) -> Array:
    """Shape without colour: images (B, H, W, C), any range -> (B, H, W, 1) in [0, 1].

    The maximum over channels, stretched from the image's least to its greatest, so that
    a background that is not black (the colour's negative) counts as 0 too.
    """
    peaks = jnp.asarray(images, jnp.float32).max(axis=-1, keepdims=True)
    low = peaks.min(axis=(1, 2, 3), keepdims=True)
    high = peaks.max(axis=(1, 2, 3), keepdims=True)
    return (peaks - low) / jnp.maximum(high - low, 1e-6)


def _flat_brightness(images: Images) -> np.ndarray:
    return np.asarray(brightness(images)).reshape(len(images), -1)
