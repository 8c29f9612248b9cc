"""The contract of an outside judge, which never sees the flow nor its training."""

import abc
import dataclasses
from typing import Literal

import numpy as np

from iin_jax.types import Array, Images


@dataclasses.dataclass(frozen=True)
class JudgeTest:
    """How well a judge reads unedited test images.

    Attributes:
      kind: kind of the judge's model, in words.
      held_out_accuracy: share of right classes, in [0, 1]; None for real values, and
        for a judge that was not tested.
      held_out_error: mean absolute error, in the attribute's units; None for classes,
        and for a judge that was not tested.
    """

    kind: str
    held_out_accuracy: float | None
    held_out_error: float | None


class Judge(abc.ABC):
    """Scores one attribute of edited images against expected values.

    Attributes:
      measure: ``"accuracy"``, in [0, 1] (higher is better), or ``"mean_abs_error"``
        (lower is better).
      kind: what the judge is, in words.
      looks_at: what the judge reads: the network's ``"output"`` (images in [-1, 1] or
        logits), or ``"z"`` (latents).
    """

    measure: str
    kind: str = "a judge without a description"
    looks_at: Literal["output", "z"] = "output"

    def tested(self) -> "JudgeTest | None":
        """How well it reads unedited test images; None where it was not tested."""
        return None

    @abc.abstractmethod
    def score(self, outputs: Array, expected: np.ndarray) -> float:
        """The judge's measure over B outputs.

        Args:
          outputs: images (B, H, W, C) in [-1, 1], logits (B, classes), or latents
            (B, N).
          expected: targets, (B,) or (B, d).
        """

    def each(self, outputs: Array, expected: np.ndarray) -> np.ndarray | None:
        """The measure of every single output, (B,), whose mean is the score.

        A judge without such a measure returns None; its figures have no intervals.

        Args:
          outputs, expected: as in ``score``.
        """
        return None

    def target(self, images: Images, values: np.ndarray) -> np.ndarray:
        """Expected values for edits that give images the attribute of these real ones.

        Args:
          images: unedited images, (B, H, W, C) in [-1, 1].
          values: true values of the attribute, (B,) or (B, d).

        Returns:
          Targets, (B,) or (B, d): the true values, unless a judge overrides this method
          with its own measurement of the images.
        """
        return values


class ReadingJudge(Judge):
    """A judge that reads a value from each output, scored by accuracy or error."""

    @abc.abstractmethod
    def read(self, images: Array) -> np.ndarray:
        """Classes (B,), or real values (B,) or (B, d), of outputs as in ``score``."""

    def each(self, outputs: Array, expected: np.ndarray) -> np.ndarray:
        read = self.read(outputs)
        if self.measure == "accuracy":
            return (read == expected).astype(np.float64)
        error = np.abs(read - expected)
        return error.reshape(len(error), -1).mean(axis=1)

    def score(self, outputs: Array, expected: np.ndarray) -> float:
        return float(self.each(outputs, expected).mean())
