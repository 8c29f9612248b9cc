"""Pairs that labels define: entries that agree in a concept, or differ in one alone."""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np

from iin_jax.concepts.base import Pairs, PairSource
from iin_jax.concepts.columns import read_columns
from iin_jax.concepts.continuous import quantile_classes
from iin_jax.concepts.labels import (
    PairTable,
    entry_codes,
    pair_table,
    pairs_from_labels,
)
from iin_jax.concepts.pair_forms import ClassPairs, GivenPairs, PairForm
from iin_jax.concepts.rules import Others, check_others
from iin_jax.data.values import MISSING, label_columns

DIFFERING_PAIRS = 20_000  # pairs drawn for a concept that pairs only differ in


@dataclasses.dataclass(frozen=True, eq=False)
class LabelPairs(PairSource):
    """Pairs from labels; all arguments as in ``concepts.pair_table``.

    Raises ValueError for what is no value of ``others``.

    Attributes:
      labels: concept -> discrete values, (n,); a dictionary or data frame, whose
        columns become arrays, see ``concepts.pair_table``.
      graded: concept -> numbers, (n,), likewise.
      image: int (n,), which image each entry is of, 0 .. images - 1.
      identity: (n,), equal for entries of the same thing, where pairs differ in one
        concept alone; None: unknown.
      agree: concepts to agree in; None: all.
      differ: concepts to differ in.
      others: the other concepts of pairs that agree in one: "free" or "differ".
      bins: number of quantiles within which graded concepts pair, for estimates.
      classes: concept -> int (n,), codes that mean the same in every part of the set,
        -1 where missing; None: they are counted among these entries.
    """

    labels: Mapping[str, np.ndarray]
    graded: Mapping[str, np.ndarray]
    image: np.ndarray
    identity: np.ndarray | None = None
    agree: tuple[str, ...] | None = None
    differ: tuple[str, ...] = ()
    others: Others = "free"
    bins: int = 10
    classes: Mapping[str, np.ndarray] | None = None

    def __post_init__(self) -> None:
        check_others(self.others)
        object.__setattr__(self, "labels", label_columns(self.labels))
        object.__setattr__(self, "graded", label_columns(self.graded))
        image = np.asarray(self.image)
        object.__setattr__(self, "image", image)
        if self.identity is not None:
            identity = entry_codes(self.identity, "identity", len(image))
            object.__setattr__(self, "identity", identity)

    @property
    def names(self) -> tuple[str, ...]:
        """Labels, then graded concepts."""
        return (*self.labels, *self.graded)

    def draws(self) -> PairTable:
        return self._table

    @functools.cached_property
    def _table(self) -> PairTable:
        return pair_table(
            self.labels,
            agree=self.agree,
            differ=self.differ,
            identity=self.identity,
            graded=self.graded,
            others=self.others,
            drop_alone=True,
            image=self.image,
        )

    @property
    def alone(self) -> dict[str, int]:
        """Concept -> how many of its entries have no partner, where there are some.

        Of a concept that pairs both agree and differ in, the larger number.
        """
        names = (*(self.names if self.agree is None else self.agree), *self.differ)
        counts: dict[str, int] = {}
        for name, alone in zip(names, np.asarray(self.draws().alone), strict=True):
            counts[name] = max(int(alone), counts.get(name, 0))
        return {name: alone for name, alone in counts.items() if alone}

    def scored(self, count: int, seed: int) -> Pairs:
        return pairs_from_labels(
            {**self.labels, **self._quantiles},
            count,
            seed,
            drop_alone=True,
            image=self.image,
        )

    def among(self, entries: np.ndarray) -> "LabelPairs":
        def subset(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {name: values[entries] for name, values in columns.items()}

        return dataclasses.replace(
            self,
            labels=subset(self.labels),
            graded=subset(self.graded),
            image=np.unique(self.image[entries], return_inverse=True)[1].reshape(-1),
            identity=None if self.identity is None else self.identity[entries],
            classes=subset(self._codes),
        )

    def forms(self, seed: int) -> dict[str, PairForm]:
        """Concept -> its pairs, all others drawn without regard to them.

        Graded concepts pair within quantiles, which leaves an exact permutation null.
        A concept that pairs only differ in, while all else is shared (``identity``), is
        taken from drawn pairs that do; any other from all pairs that agree in it.
        """
        agree = self.names if self.agree is None else self.agree
        result: dict[str, PairForm] = {}
        for name in self.names:
            only_differs = name in self.differ and name not in agree
            if only_differs and self.identity is not None:
                result[name] = self._differing(name, seed)
            else:
                result[name] = ClassPairs(self._codes[name], self.image)
        return result

    def _differing(self, name: str, seed: int) -> PairForm:
        drawn = pairs_from_labels(
            self.labels,
            DIFFERING_PAIRS,
            seed,
            agree=(),
            differ=(name,),
            identity=self.identity,
            graded=self.graded,
            drop_alone=True,
        )
        coefficient = np.full(DIFFERING_PAIRS, 1 / DIFFERING_PAIRS)
        return GivenPairs(drawn.a, drawn.b, coefficient, self.image, differs=True)

    @functools.cached_property
    def _codes(self) -> Mapping[str, np.ndarray]:
        """Concept -> codes of its values or quantiles."""
        if self.classes is not None:
            return self.classes
        columns = read_columns(self.labels, self.graded)
        codes = dict(zip(columns.names, columns.codes.T, strict=True))
        for name, classes in self._quantiles.items():
            codes[name] = np.ma.filled(classes, MISSING)
        return codes

    @property
    def _quantiles(self) -> dict[str, np.ma.MaskedArray]:
        return {
            name: quantile_classes(values, self.bins, f"concept {name!r}")
            for name, values in self.graded.items()
        }
