"""Judges for networks that put out no pictures: they read logits, or z itself."""

import dataclasses
from typing import Any

import numpy as np
from sklearn.kernel_ridge import KernelRidge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from iin_jax.analysis.judges.base import ReadingJudge
from iin_jax.data.values import is_class, known_rows, plain
from iin_jax.types import Array, Latents

RIDGE: Any = {"alpha": 0.1}  # ridge regression of real values from z


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
    looks_at = "z"

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
