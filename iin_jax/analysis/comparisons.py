"""Is an edit better than its baseline? Paired differences, with intervals, in words."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from iin_jax.concepts.pair_forms import GivenPairs
from iin_jax.concepts.shared_directions import central_95

RESAMPLES = 1000
BASELINES = {"linear": "the linear edit", "start": "the linear start T_0 alone"}


@dataclasses.dataclass(frozen=True)
class Difference:
    """How much better one edit is than another, on the same pairs.

    Attributes:
      value: mean difference; positive if the first is better, whatever the measure.
      interval: 95 %, images resampled.
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


class PairResampling:
    """Resamples the images that pairs are made of.

    Args:
      first, second: (n,), which image each half of a pair is of.
      seed: of the resampling.
    """

    def __init__(self, first: np.ndarray, second: np.ndarray, seed: int = 0):
        count = len(first)
        _, image = np.unique(np.concatenate([first, second]), return_inverse=True)
        halves = np.arange(count), count + np.arange(count)
        pairs = GivenPairs(*halves, np.full(count, 1 / count), image.reshape(-1))
        rng = np.random.default_rng([seed, 0xB007])
        weights = [pairs.resampled_weights(rng) for _ in range(RESAMPLES)]
        self.weights = np.stack(weights)  # (RESAMPLES, n)

    def interval(self, values: np.ndarray) -> tuple[float, float]:
        """95 % interval of the mean of (n,) values; NaN where there is none."""
        known = ~np.isnan(values)
        weights = self.weights[:, known]
        totals = weights.sum(axis=1)
        means = (weights @ values[known])[totals > 0] / totals[totals > 0]
        return central_95(means)

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
        if found is None or found.is_ahead or not (own or found.is_behind):
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
    lines: Sequence[str | None] = [
        unbeaten(concept, baseline, differences, measures)
        for concept, baselines in compared.items()
        for baseline, differences in baselines.items()
    ]
    return [line for line in lines if line is not None]


def _shown(found: Difference, measure: str) -> str:
    low, high = found.interval
    if measure == "accuracy":
        points = tuple(100 * x for x in (found.value, low, high))
        return "{:+.1f} points, 95 % {:+.1f} to {:+.1f}".format(*points)
    return f"{found.value:+.4f} in error avoided, 95 % {low:+.4f} to {high:+.4f}"
