"""Judges of pictures that need no network: shape, and colour."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from sklearn.svm import SVC

from iin_jax.analysis.judges.base import JudgeTest, ReadingJudge
from iin_jax.data.values import known_rows, plain
from iin_jax.types import Array, Images

BRIGHT = 0.85  # share of an image's maximum that a coloured pixel has


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

    def tested(self) -> JudgeTest | None:
        if self.test_accuracy is None:
            return None
        return JudgeTest(self.kind, self.test_accuracy, None)

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
