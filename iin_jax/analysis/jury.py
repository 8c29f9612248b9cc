"""Judges over pairs of images: what each reads, of which pairs, and how surely."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from iin_jax.analysis.base import Values
from iin_jax.analysis.comparisons import PairedImages
from iin_jax.analysis.judges import Judge
from iin_jax.data.values import known_rows, plain
from iin_jax.types import Array, Images, Latents

V = TypeVar("V")
Interval = tuple[float, float]  # lower and upper bound


@dataclasses.dataclass(frozen=True)
class OfSwap(Generic[V]):
    """A value for every question on the swap of one concept.

    Attributes:
      transferred: value for the swapped concept.
      others_kept: attribute -> value, for the attributes that should stay.
    """

    transferred: V
    others_kept: dict[str, V]

    def of(self, concept: str) -> dict[str, V]:
        """Attribute -> value, the swapped ``concept`` first."""
        return {concept: self.transferred, **self.others_kept}


class Score(NamedTuple):
    """The figure of a judge over pairs.

    Attributes:
      figure: mean over the judged pairs; None if no pair is left.
      count: number of judged pairs.
      each: figure of every pair, (n,), NaN where it was not judged; None if the judge
        gives no figure per pair.
      is_share: whether each figure is right (1) or wrong (0).
    """

    figure: float | None
    count: int
    each: np.ndarray | None
    is_share: bool = False

    def interval(self, images: PairedImages) -> Interval | None:
        """95 % interval, which allows for pairs with an image in common."""
        if self.each is None or not self.count:
            return None
        interval = images.share_interval if self.is_share else images.interval
        return interval(self.each)


class JudgeInputs:
    """The inputs of judges: latents, and the network's output, decoded at first use.

    Args:
      z: latents (n, N), or of the network's own shape.
      decoded: returns the network's output for z.
    """

    def __init__(self, z: Latents, decoded: Callable[[], Array]):
        self.z, self.decoded = np.asarray(z).reshape(len(z), -1), decoded

    @functools.cached_property
    def output(self) -> Array:
        return self.decoded()

    def of(self, judge: Judge) -> Array:
        """The array that this judge reads, by its ``looks_at``."""
        return self.z if judge.looks_at == "z" else self.output


@dataclasses.dataclass(frozen=True, eq=False)
class Jury:
    """Judges, with their targets for either side of n pairs.

    Attributes:
      judges: attribute -> judge.
      targets_a, targets_b: attribute -> value that its judge should read if the edit
        keeps a, or takes over b.
      known_a, known_b: attribute -> where its value is known, bool (n,).
      count: number of pairs, n.
    """

    judges: Mapping[str, Judge]
    targets_a: Values
    targets_b: Values
    known_a: Values
    known_b: Values
    count: int

    def rows(self, concept: str) -> np.ndarray:
        """Pairs with both values of a concept known, all if it has none; bool (n,)."""
        if concept not in self.known_a:
            return np.ones(self.count, bool)
        return self.known_a[concept] & self.known_b[concept]

    def verdict(self, concept: str, inputs: JudgeInputs) -> OfSwap[Score]:
        """Scores of the edited images of one swap."""
        rows, judge = self.rows(concept), self.judges.get(concept)
        transferred = Score(None, 0, None)
        if judge is not None:
            target, unlike = self.targets_b[concept], rows
            if judge.measure == "accuracy":  # a class in common proves no transfer
                unlike = rows & (np.asarray(self.targets_a[concept]) != target)
            transferred = _score(judge, inputs.of(judge), target, unlike)
        kept = {}
        for name, other in self.judges.items():
            if name != concept:
                known = rows & self.known_a[name]
                kept[name] = _score(
                    other, inputs.of(other), self.targets_a[name], known
                )
        return OfSwap(transferred, kept)

    def unedited_scores(self, inputs: JudgeInputs) -> dict[str, Score]:
        """Attribute -> score of unedited images of side a."""
        return {
            name: _score(
                judge, inputs.of(judge), self.targets_a[name], self.known_a[name]
            )
            for name, judge in self.judges.items()
        }


def jury_of(
    images_a: Images,
    images_b: Images,
    values_a: Values,
    values_b: Values,
    judges: Mapping[str, Judge],
) -> Jury:
    """Judges with targets from the true values, or from the images they measure."""
    blind = [name for name in judges if name not in values_a or name not in values_b]
    if blind:
        raise ValueError(
            f"there is a judge of {blind[0]!r}, but the images have no values of it; "
            f"they have {list(values_a)}"
        )
    return Jury(
        judges,
        {name: judges[name].target(images_a, plain(values_a[name])) for name in judges},
        {name: judges[name].target(images_b, plain(values_b[name])) for name in judges},
        {name: known_rows(values) for name, values in values_a.items()},
        {name: known_rows(values) for name, values in values_b.items()},
        len(images_a),
    )


def _score(
    judge: Judge, outputs: Array, expected: np.ndarray, rows: np.ndarray
) -> Score:
    """The score of a judge on the chosen ``rows``, bool (n,)."""
    count = int(rows.sum())
    if count == 0:
        return Score(None, 0, None)
    if count < len(rows):
        outputs, expected = np.asarray(outputs)[rows], expected[rows]
    each = judge.each(outputs, expected)
    if each is None:
        return Score(judge.score(outputs, expected), count, None)
    each_pair = np.full(len(rows), np.nan)
    each_pair[rows] = each
    return Score(float(each.mean()), count, each_pair, judge.measure == "accuracy")
