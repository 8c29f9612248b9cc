"""Judges for networks without image output: they read logits, or z itself."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from iin_jax.analysis.judges.base import ReadingJudge
from iin_jax.concepts.probes import fitted_probe
from iin_jax.data.values import is_class, known_rows, plain
from iin_jax.types import Array, Latents

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


@dataclasses.dataclass(frozen=True)
class LogitsJudge(ReadingJudge):
    """Reads the class from a classifier's own logits; classes are indices of logits."""

    measure = "accuracy"
    kind = "the network's own largest logit"

    def read(self, images: Array) -> np.ndarray:
        """Index of the largest logit (B,), from logits (B, classes)."""
        return np.asarray(images).argmax(axis=-1)


@dataclasses.dataclass(frozen=True)
class LatentJudge(ReadingJudge):
    """Reads an attribute from z, for networks whose output does not show it.

    The model is a support vector machine for classes and a kernel ridge regression for
    real values, both with a Gaussian kernel on standardised components of z.

    Attributes:
      model: the trained pipeline.
      measure: ``"accuracy"`` or ``"mean_abs_error"``.
    """

    model: "Pipeline"
    measure: str
    kind = "kernel method that reads z"
    looks_at = "z"

    @classmethod
    def train(cls, z: Latents, values: np.ndarray) -> "LatentJudge":
        """Trains on unedited latents.

        Args:
          z: latents (n, N), or maps (n, H, W, C).
          values: classes (n,), or real values (n,) or (n, d); rows whose value is
            masked or NaN are left out.

        Raises:
          ValueError: no known value, or a single class.
        """
        classes, rows = is_class(values), known_rows(values)
        model = fitted_probe(_flat(z)[rows], plain(values)[rows], classes=classes)
        return cls(model, "accuracy" if classes else "mean_abs_error")

    def read(self, images: Array) -> np.ndarray:
        """Classes (B,), or real values (B,) or (B, d), of latents (B, N) or maps."""
        return self.model.predict(_flat(images))


def _flat(z: Array) -> np.ndarray:
    return np.asarray(z).reshape(len(z), -1)
