"""Image judges without a network of their own: shape and colour."""

import dataclasses
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from iin_jax.analysis.judges.base import JudgeTest, ReadingJudge
from iin_jax.data.values import known_rows, plain
from iin_jax.types import Array, Images

if TYPE_CHECKING:
    from sklearn.svm import SVC

BRIGHT = 0.85  # least brightness of a coloured pixel, as a share of the image's maximum


@dataclasses.dataclass(frozen=True)
class ShapeJudge(ReadingJudge):
    """Reads classes by shape alone, for images in any colour.

    The model is a support vector machine (Gaussian kernel) on ``brightness``. It suits
    small sets, since its training time grows with the square of the number of images.

    Attributes:
      model: trained classifier of brightnesses (n, H * W).
      test_accuracy: share of right classes on the test images given to ``train``, in
        [0, 1]; None without test images.
    """

    model: "SVC"
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
        """Trains a support vector machine.

        Args:
          images: (n, H, W, C), 0..255.
          classes: (n,); masked rows are left out.
          test: held-out images and classes, in the same form, for ``test_accuracy``.

        Raises:
          ValueError: no known class, or a single one.
        """
        from sklearn.svm import SVC

        rows = known_rows(classes)
        flat = _flat_brightness(images[rows] / 127.5 - 1.0)
        judge = cls(SVC(C=10.0).fit(flat, plain(classes)[rows]))
        if test is None:
            return judge
        rows = known_rows(test[1])
        accuracy = judge.score(test[0][rows] / 127.5 - 1.0, plain(test[1])[rows])
        return dataclasses.replace(judge, test_accuracy=accuracy)

    @property
    def classes(self) -> np.ndarray:
        """Classes that it tells apart, sorted, (k,)."""
        return self.model.classes_

    def read(self, images: Images) -> np.ndarray:
        """Predicted classes (B,) of images (B, H, W, C) in [-1, 1]."""
        return self.model.predict(_flat_brightness(images))


@dataclasses.dataclass(frozen=True)
class ColorJudge(ReadingJudge):
    """Measures the colour of bright pixels; targets are colours of real images."""

    measure = "mean_abs_error"
    kind = "mean colour of the bright pixels, without training"

    def read(self, images: Images) -> np.ndarray:
        """Colours (B, 3) in [0, 1] of images (B, H, W, 3) in [-1, 1].

        A colour is the mean over the pixels whose largest channel, in [0, 1], is at
        least 0.85 of the image's maximum.
        """
        unit = (np.asarray(images, np.float32) + 1.0) / 2.0
        pixels = unit.reshape(len(unit), -1, unit.shape[-1])
        peaks = pixels.max(axis=-1)
        bright = peaks >= BRIGHT * peaks.max(axis=1, keepdims=True)
        totals = np.einsum("bp,bpc->bc", bright.astype(np.float32), pixels)
        return totals / bright.sum(axis=1, keepdims=True)

    def target(self, images: Images, values: np.ndarray) -> np.ndarray:
        """Measured colours (B, 3) of the real images; ``values`` is not used."""
        return self.read(images)


def brightness(images: Images) -> Array:
    """Shape without colour: images (B, H, W, C), any range -> (B, H, W, 1) in [0, 1].

    The maximum over channels is stretched so that each image ranges from 0 to 1. A
    background that is not black (the colour's negative) thus becomes 0, too.
    """
    peaks = jnp.asarray(images, jnp.float32).max(axis=-1, keepdims=True)
    low = peaks.min(axis=(1, 2, 3), keepdims=True)
    high = peaks.max(axis=(1, 2, 3), keepdims=True)
    return (peaks - low) / jnp.maximum(high - low, 1e-6)


def _flat_brightness(images: Images) -> np.ndarray:
    """Brightnesses (B, H * W) of images (B, H, W, C)."""
    return np.asarray(brightness(images)).reshape(len(images), -1)
