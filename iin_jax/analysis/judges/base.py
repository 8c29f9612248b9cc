"""Outside judges of edited images: they never see the flow, nor its training."""

import abc
import dataclasses
from typing import Literal

import numpy as np

from iin_jax.types import Array, Images


@dataclasses.dataclass(frozen=True)
class JudgeTest:
    """How well a judge reads unedited test pictures.

    Attributes:
      kind: what it is.
      held_out_accuracy: share that it reads right; None for real values.
      held_out_error: mean absolute error; None for classes.
    """

    kind: str
    held_out_accuracy: float | None
    held_out_error: float | None


class Judge(abc.ABC):
    """Reads one attribute from an edited image; scores it against what is expected.

    Attributes:
      measure: ``"accuracy"`` (higher is better) or ``"mean_abs_error"`` (lower is).
      looks_at: the network's ``"output"``, or ``"z"``.
    """

    measure: str
    looks_at: Literal["output", "z"] = "output"

    def tested(self) -> "JudgeTest | None":
        """How it did on unedited test pictures; None where it was not tested."""
        return None

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
