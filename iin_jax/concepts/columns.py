"""Concepts as columns of codes, checked: what pairs are formed from."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from iin_jax.concepts.continuous import known_numbers, normal_scores
from iin_jax.data.values import class_codes, known_rows, label_columns


@dataclasses.dataclass(frozen=True)
class Columns:
    """Concepts, one column each: labels in their order, then graded ones.

    Attributes:
      names: of the K concepts.
      codes: int (n, K), 0 .. number of values - 1, or ``MISSING``.
      values: what each code of a concept stands for, K arrays.
      graded: bool (K,), which concepts are graded.
      scores: (n, K), normal scores of graded concepts, 0 where missing and in all other
        columns; None if no concept is graded.
    """

    names: tuple[str, ...]
    codes: np.ndarray
    values: tuple[np.ndarray, ...]
    graded: np.ndarray
    scores: np.ndarray | None

    def __len__(self) -> int:
        return len(self.codes)


def read_columns(
    labels: Mapping[str, np.ndarray], graded: Mapping[str, np.ndarray]
) -> Columns:
    """Checks values and codes them.

    Args:
      labels: concept -> discrete values, (n,) each, as in ``data.label_columns``.
      graded: concept -> numbers, (n,) each; NaN or masked where missing.

    Raises:
      ValueError: no concept, one in both, columns of unlike length, empty or without a
        known value, infinite labels, or graded values that are infinite or all equal.
    """
    labels, graded = label_columns(labels), label_columns(graded)
    twice = [name for name in graded if name in labels]
    if twice or not (labels or graded):
        raise ValueError(
            f"a concept is either graded or has labels; {twice} are both"
            if twice
            else "pairs need labels: a dictionary concept -> values"
        )
    arrays = {name: np.ma.asarray(x) for name, x in {**labels, **graded}.items()}
    shapes = {name: column.shape for name, column in arrays.items()}
    if any(len(shape) != 1 for shape in shapes.values()) or len({*shapes.values()}) > 1:
        raise ValueError(f"labels must be (n,) each, all of one length; got {shapes}")
    coded = [
        _graded_codes(name, column) if name in graded else _label_codes(name, column)
        for name, column in arrays.items()
    ]
    scores = None
    if graded:
        zeros = np.zeros(shapes[next(iter(graded))])
        scores = np.stack(
            [
                np.nan_to_num(normal_scores(x, name)) if name in graded else zeros
                for name, x in arrays.items()
            ],
            axis=1,
        )
    return Columns(
        tuple(arrays),
        np.stack([codes for codes, _ in coded], axis=1),
        tuple(values for _, values in coded),
        np.array([name in graded for name in arrays]),
        scores,
    )


def _label_codes(name: str, column: np.ma.MaskedArray):
    present = column.data[known_rows(column)]
    if column.size == 0:
        raise ValueError(f"concept {name!r} has no labels: the array is empty")
    if present.size == 0:
        raise ValueError(
            f"concept {name!r} has no labels: all {len(column)} are masked or NaN"
        )
    if present.dtype.kind == "f" and not np.isfinite(present).all():
        raise ValueError(
            f"concept {name!r} has infinite labels; NaN stands for missing ones"
        )
    return class_codes(column)


def _graded_codes(name: str, column: np.ma.MaskedArray):
    numbers, _ = known_numbers(column, f"concept {name!r}")
    return class_codes(numbers)
