"""Paired differences between an edit and its baselines, with 95 % intervals."""

import dataclasses
from collections.abc import Mapping

import numpy as np

NORMAL_95 = 1.96  # standard errors on either side of a mean, two-sided 95 %
# baseline -> its name in sentences
BASELINES = {"linear": "the linear edit", "start": "the linear start T_0 alone"}


@dataclasses.dataclass(frozen=True)
class Difference:
    """How much better one edit is than another, on the same pairs.

    Attributes:
      value: mean difference, in shares for accuracies and in the judge's units for
        errors; positive if the first edit is better, whatever the measure.
      interval: bounds of the 95 % interval of the mean.
      count: number of pairs.
    """

    value: float
    interval: tuple[float, float]
    count: int

    @property
    def is_ahead(self) -> bool:
        """Whether the interval lies above zero."""
        return self.interval[0] > 0.0

    @property
    def is_tie(self) -> bool:
        """Whether no pair differs."""
        return self.value == 0.0 and self.interval == (0.0, 0.0)

    @property
    def is_behind(self) -> bool:
        """Whether the interval lies below zero."""
        return self.interval[1] < 0.0


class PairedImages:
    """The images of n pairs, for intervals of means over the pairs.

    Two pairs with an image in common depend on each other, so the variance of a mean
    has a covariance term for every two such pairs (Aronow, Samii and Assenova, 2015). A
    bootstrap that multiplies the weights of both images would count each pair's own
    noise three times.

    Args:
      first, second: (n,), index of the image in each half of a pair.
    """

    def __init__(self, first: np.ndarray, second: np.ndarray):
        count = len(first)
        _, image = np.unique(np.concatenate([first, second]), return_inverse=True)
        self.first, self.second = image.reshape(2, count)
        dyad = np.sort(image.reshape(2, count), axis=0)
        self.dyad = np.unique(dyad, axis=1, return_inverse=True)[1].reshape(-1)

    def interval(self, values: np.ndarray) -> tuple[float, float]:
        """Bounds of the 95 % interval of the mean of values (n,), NaN left out."""
        mean, error = self._mean_and_error(values)
        return mean - NORMAL_95 * error, mean + NORMAL_95 * error

    def share_interval(self, right: np.ndarray) -> tuple[float, float]:
        """``interval`` of a share, which stays within [0, 1]; (n,), NaN left out.

        Wilson's, for as many independent pairs as would have this standard error; where
        all are right or all wrong, for half as many as there are images.
        """
        share, error = self._mean_and_error(right)
        count = share * (1.0 - share) / error**2 if error else self._images(right) / 2
        square = NORMAL_95**2 / count
        centre = (share + square / 2) / (1.0 + square)
        spread = np.sqrt(share * (1.0 - share) * square + square**2 / 4)
        half = spread / (1.0 + square)
        return float(max(centre - half, 0.0)), float(min(centre + half, 1.0))

    def _images(self, values: np.ndarray) -> int:
        """How many images the judged pairs have."""
        known = ~np.isnan(values)
        return len(np.unique(np.concatenate([self.first[known], self.second[known]])))

    def _mean_and_error(self, values: np.ndarray) -> tuple[float, float]:
        """Mean of values (n,) and its standard error."""
        known = ~np.isnan(values)
        mean = float(values[known].mean())
        residual = np.where(known, values - mean, 0.0)
        halves = np.concatenate([self.first, self.second])
        by_image = np.bincount(halves, np.concatenate([residual, residual]))
        by_dyad = np.bincount(self.dyad, residual)
        # the sums of both images count pairs of the same two images twice
        total = np.square(by_image).sum() - np.square(by_dyad).sum()
        error = np.sqrt(max(total, np.square(residual).sum())) / known.sum()
        return mean, float(error)

    def difference(
        self, edit: np.ndarray, baseline: np.ndarray, measure: str
    ) -> Difference | None:
        """How much better an edit does than a baseline, pair by pair.

        Args:
          edit, baseline: (n,), one figure per pair: right (1) or wrong (0), or an
            error; NaN where the pair was not judged.
          measure: ``"accuracy"``; any other measure is an error, better if lower.

        Returns:
          The mean difference over pairs judged for both; None if there is no such pair.
        """
        sign = 1.0 if measure == "accuracy" else -1.0
        gains = sign * (edit - baseline)
        known = ~np.isnan(gains)
        if not known.any():
            return None
        value = float(gains[known].mean())
        return Difference(value, self.interval(gains), int(known.sum()))


def unbeaten(
    concept: str,
    baseline: str,
    differences: Mapping[str, Difference | None],
    measures: Mapping[str, str],
) -> str | None:
    """One line on the attributes in which T is not better than a baseline.

    Args:
      concept: the swapped concept.
      baseline: a key of ``BASELINES``.
      differences: attribute -> T less the baseline: how much more of ``concept`` is
        transferred, and how much more of every other attribute is kept.
      measures: attribute -> the measure of its judge.

    Returns:
      The line; None if T is ahead in every attribute that was judged.
    """
    parts, ties = [], []
    for name, difference in differences.items():
        if difference is None or difference.is_ahead:
            continue
        what = f"{name} {'transferred' if name == concept else 'kept'}"
        if difference.is_tie:
            ties.append(what)
            continue
        outcome = "loses" if difference.is_behind else "is not ahead"
        parts.append(f"{outcome} in {what} ({_in_words(difference, measures[name])})")
    if ties:
        parts.append(f"is not ahead in {', '.join(ties)} (no pair differs)")
    if not parts:
        return None
    return f"{concept}: against {BASELINES[baseline]} T {'; '.join(parts)}"


def unbeaten_lines(
    compared: Mapping[str, Mapping[str, Mapping[str, Difference | None]]],
    measures: Mapping[str, str],
) -> list[str]:
    """A line for every concept and baseline where T is not ahead, or is not judged.

    Args:
      compared: concept -> baseline -> attribute -> difference, as in ``unbeaten``.
      measures: attribute -> the measure of its judge.
    """
    lines: list[str | None] = []
    for concept, baselines in compared.items():
        for baseline, differences in baselines.items():
            if differences.get(concept) is None:
                lines.append(
                    f"{concept}: no judge reads it from these outputs, so it is not "
                    f"known whether T transfers more of it than {BASELINES[baseline]}"
                )
            lines.append(unbeaten(concept, baseline, differences, measures))
    return [line for line in lines if line is not None]


def _in_words(difference: Difference, measure: str) -> str:
    """A difference and its interval, accuracies in percentage points."""
    low, high = difference.interval
    if measure == "accuracy":
        points = tuple(100 * x for x in (difference.value, low, high))
        return "{:+.1f} points, 95 % {:+.1f} to {:+.1f}".format(*points)
    return f"{difference.value:+.4f} in error avoided, 95 % {low:+.4f} to {high:+.4f}"
