"""Is an edit better than its baseline? Paired differences, with intervals, in words."""

import dataclasses
from collections.abc import Mapping

import numpy as np

NORMAL_95 = 1.96  # standard errors on either side of a mean
BASELINES = {"linear": "the linear edit", "start": "the linear start T_0 alone"}


@dataclasses.dataclass(frozen=True)
class Difference:
    """How much better one edit is than another, on the same pairs.

    Attributes:
      value: mean difference; positive if the first is better, whatever the measure.
      interval: 95 %.
      count: number of pairs.
    """

    value: float
    interval: tuple[float, float]
    count: int

    @property
    def is_ahead(self) -> bool:
        """The interval lies above zero."""
        return self.interval[0] > 0.0

    @property
    def is_behind(self) -> bool:
        """The interval lies below zero."""
        return self.interval[1] < 0.0


class PairedImages:
    """The images that pairs are made of: two pairs with a common image depend.

    The variance of a mean over pairs counts every two pairs with an image in common
    (Aronow, Samii and Assenova, 2015); weights of both images multiplied, in a
    bootstrap, would count each pair's own noise three times.

    Args:
      first, second: (n,), which image each half of a pair is of.
    """

    def __init__(self, first: np.ndarray, second: np.ndarray):
        count = len(first)
        _, image = np.unique(np.concatenate([first, second]), return_inverse=True)
        self.first, self.second = image.reshape(2, count)
        dyad = np.sort(image.reshape(2, count), axis=0)
        self.dyad = np.unique(dyad, axis=1, return_inverse=True)[1].reshape(-1)

    def interval(self, values: np.ndarray) -> tuple[float, float]:
        """95 % interval of the mean of (n,) values; NaN where there is none."""
        known = ~np.isnan(values)
        mean = float(values[known].mean())
        rest = np.where(known, values - mean, 0.0)
        both = np.concatenate([self.first, self.second])
        by_image = np.bincount(both, np.concatenate([rest, rest]))
        by_dyad = np.bincount(self.dyad, rest)
        # pairs of the same two images are in both images' sums
        total = np.square(by_image).sum() - np.square(by_dyad).sum()
        error = np.sqrt(max(total, np.square(rest).sum())) / known.sum()
        return mean - NORMAL_95 * error, mean + NORMAL_95 * error

    def difference(
        self, edit: np.ndarray, baseline: np.ndarray, measure: str
    ) -> Difference | None:
        """How much better an edit does; None where no pair was judged.

        Args:
          edit, baseline: (n,), right (1) or wrong (0), or errors; NaN if not judged.
          measure: ``"accuracy"``, or an error, which is better the lower it is.
        """
        sign = 1.0 if measure == "accuracy" else -1.0
        each = sign * (edit - baseline)
        known = ~np.isnan(each)
        if not known.any():
            return None
        value = float(each[known].mean())
        return Difference(value, self.interval(each), int(known.sum()))


def unbeaten(
    concept: str,
    baseline: str,
    differences: Mapping[str, Difference | None],
    measures: Mapping[str, str],
) -> str | None:
    """One line on what T does not do better than a baseline; None if it does it all.

    Args:
      concept: that was swapped.
      baseline: a key of ``BASELINES``.
      differences: attribute -> T less the baseline; the concept's own is what was
        transferred, any other what was kept.
      measures: attribute -> the measure of its judge.
    """
    parts = []
    for name, found in differences.items():
        own = name == concept
        if found is None or found.is_ahead:
            continue
        verb = "transferred" if own else "kept"
        word = "loses" if found.is_behind else "is not ahead"
        shown = _shown(found, measures[name])
        parts.append(f"{word} in {name} {verb} ({shown})")
    if not parts:
        return None
    return f"{concept}: against {BASELINES[baseline]} T {'; '.join(parts)}"


def unbeaten_lines(
    compared: Mapping[str, Mapping[str, Mapping[str, Difference | None]]],
    measures: Mapping[str, str],
) -> list[str]:
    """All such lines: concept -> baseline -> attribute -> difference."""
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


def _shown(found: Difference, measure: str) -> str:
    low, high = found.interval
    if measure == "accuracy":
        points = tuple(100 * x for x in (found.value, low, high))
        return "{:+.1f} points, 95 % {:+.1f} to {:+.1f}".format(*points)
    return f"{found.value:+.4f} in error avoided, 95 % {low:+.4f} to {high:+.4f}"
