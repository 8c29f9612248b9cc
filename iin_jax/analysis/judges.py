"""Outside judges of edited images: they never see the flow, nor its training."""

import dataclasses
from typing import Any, Protocol

import numpy as np
from sklearn.kernel_ridge import KernelRidge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from iin_jax.types import Array, Images, Latents

RIDGE: Any = {"alpha": 0.1}  # of judges that read real values from z
BRIGHTEST_SHARE = 0.01  # of the pixels, over which a colour is measured


class Judge(Protocol):
    """Reads one attribute from an edited image; scores it against true values.

    Attributes:
      measure: ``"accuracy"`` (higher is better) or ``"mean_abs_error"`` (lower is).
    """

    @property
    def measure(self) -> str: ...

    def score(self, outputs: Array, expected: np.ndarray) -> float:
        """The measure on images in [-1, 1], on logits, or on latents (B, N)."""
        ...


@dataclasses.dataclass(frozen=True)
class ShapeJudge:
    """Tells classes by shape alone, for images in any colour.

    A support vector machine (RBF kernel) on brightness: the maximum over channels,
    divided by the image's own maximum.

    Attributes:
      model: trained classifier of (n, H * W) brightnesses.
    """

    model: SVC
    measure = "accuracy"

    @classmethod
    def train(cls, grey: np.ndarray, classes: np.ndarray) -> "ShapeJudge":
        """Trains on grey images (n, H, W, 1), 0..255, with classes (n,)."""
        return cls(SVC(C=10.0).fit(_brightness(grey / 127.5 - 1.0), classes))

    def read(self, images: Images) -> np.ndarray:
        """Predicted classes (B,) of images (B, H, W, C) in [-1, 1]."""
        return self.model.predict(_brightness(images))

    def score(self, outputs: Images, expected: np.ndarray) -> float:
        return float((self.read(outputs) == expected).mean())


@dataclasses.dataclass(frozen=True)
class ColorJudge:
    """Measures the colour of the brightest pixels."""

    measure = "mean_abs_error"

    def read(self, images: Images) -> np.ndarray:
        """Colours (B, 3) in [0, 1] of images (B, H, W, 3) in [-1, 1].

        The mean over the brightest 1 % of the pixels, by their largest channel.
        """
        unit = (np.asarray(images) + 1.0) / 2.0
        pixels = unit.reshape(len(unit), -1, unit.shape[-1])
        count = max(1, round(BRIGHTEST_SHARE * pixels.shape[1]))
        brightest = np.argsort(-pixels.max(axis=-1), axis=1)[:, :count]
        return np.take_along_axis(pixels, brightest[..., None], axis=1).mean(axis=1)

    def score(self, outputs: Images, expected: np.ndarray) -> float:
        return float(np.abs(self.read(outputs) - expected).mean())


def _brightness(images: Images) -> np.ndarray:
    unit = (np.asarray(images, np.float32) + 1.0) / 2.0
    brightness = unit.max(axis=-1).reshape(len(unit), -1)
    return brightness / np.maximum(brightness.max(axis=1, keepdims=True), 1e-6)


@dataclasses.dataclass(frozen=True)
class LogitsJudge:
    """Reads the class from a classifier's own logits."""

    measure = "accuracy"

    def score(self, outputs: Array, expected: np.ndarray) -> float:
        """Share of logits (B, classes) whose largest is the expected class."""
        return float((np.asarray(outputs).argmax(axis=-1) == expected).mean())


@dataclasses.dataclass(frozen=True)
class LatentJudge:
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
        """Trains on latents (n, N) with classes (n,), or real values (n,) or (n, d)."""
        classes = is_class(values)
        model = SVC(C=10.0) if classes else KernelRidge(kernel="rbf", **RIDGE)
        fitted = make_pipeline(StandardScaler(), model).fit(np.asarray(z), values)
        return cls(fitted, "accuracy" if classes else "mean_abs_error")

    def score(self, outputs: Latents, expected: np.ndarray) -> float:
        read = self.model.predict(np.asarray(outputs))
        if self.measure == "accuracy":
            return float((read == expected).mean())
        return float(np.abs(read - expected).mean())


def is_class(values: np.ndarray) -> bool:
    """Whether an attribute's values are classes rather than real numbers."""
    return np.asarray(values).dtype.kind != "f"
