"""Columns of labels: classes or real numbers, known or missing values."""

import collections
import numbers
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

MISSING = -1  # code of a missing class
MISSING_TEXT = ("nan", "NaN", "NaT", "<NA>")  # what missing values are as text
MOST_NUMBER_CLASSES = 20  # most different numbers that are classes beyond doubt


def label_columns(labels: Any, kind: str = "concept") -> dict[str, np.ndarray]:
    """Labels in any form that people have, as arrays of numbers, truth values or text.

    Args:
      labels: name -> column, see ``label_column``: a mapping, or a data frame of pandas
        or polars; None: there are none.
      kind: what a column is, for messages.

    Raises:
      ValueError: no mapping, names that are not text or not different, or a column that
        cannot be read.
    """
    if labels is None:
        return {}
    if not isinstance(labels, Mapping) and not hasattr(labels, "columns"):
        raise ValueError(
            f"labels are a dictionary or data frame, {kind} -> values, as in "
            f"{{'name': values}}; got {type(labels).__name__}"
        )
    names = [*(labels if isinstance(labels, Mapping) else labels.columns)]
    for name, count in collections.Counter(names).items():
        if not isinstance(name, str):
            raise ValueError(f"the name of a {kind} is text; got {_brief(name)}")
        if count > 1:
            raise ValueError(f"{count} columns of the labels are called {name!r}")
    return {name: label_column(labels[name], f"{kind} {name!r}") for name in names}


def label_column(values: Any, what: str) -> np.ndarray:
    """One column of labels in any form that people have, as an array.

    Arrays of numbers, truth values or text stay as they are; lists, tensors and columns
    of pandas (categories, nullable types, objects) become one of these, and dates,
    intervals and the like text. Entries that are None, NaN, NA, NaT, or the text of
    one, are masked; NaN in an array of floating-point numbers stays, and is missing.

    Args:
      values: (n,) or (n, d).
      what: the column, for messages.

    Raises:
      ValueError: one value for all, or values of several types.
    """
    array = _as_array(values, what)
    if array.ndim == 0:
        raise ValueError(f"{what} needs a value per entry; got {_brief(values)}")
    absent = _absent(array)
    if np.ma.isMaskedArray(values):
        absent = absent | np.ma.getmaskarray(values)
    if array.dtype.kind == "M":
        array = np.datetime_as_string(array)
    elif array.dtype.kind == "m":
        array = array.astype(np.int64)
    elif array.dtype.kind == "O":
        known = _of_one_type(array[~absent], what)
        array = np.full(array.shape, known[0] if known.size else np.nan, known.dtype)
        array[~absent] = known
    return np.ma.array(array, mask=absent) if absent.any() else array


def _as_array(values: Any, what: str) -> np.ndarray:
    """Values as a NumPy array without a mask; nullable and categorical ones as objects.

    NumPy would turn nullable integers with a missing value into floating point.
    """
    from pandas.api.extensions import ExtensionDtype

    nullable = isinstance(getattr(values, "dtype", None), ExtensionDtype)
    try:
        if np.ma.isMaskedArray(values):
            return np.ma.getdata(values)
        return np.asarray(values, object if nullable else None)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{what} cannot be read as an array: {reason}") from error


def _absent(array: np.ndarray) -> np.ndarray:
    """Entries that hold no value, but for NaN in an array of numbers."""
    if array.dtype.kind == "U":
        return np.isin(array, MISSING_TEXT)
    if array.dtype.kind in "mM":
        return np.isnat(array)
    if array.dtype.kind == "O":
        import pandas as pd

        text = [isinstance(x, str) and x in MISSING_TEXT for x in array.flat]
        return np.asarray(pd.isna(array)) | np.reshape(text, array.shape)
    return np.zeros(array.shape, bool)


def _of_one_type(known: np.ndarray, what: str) -> np.ndarray:
    """Objects (n,) as numbers, truth values or text."""
    types = {*map(type, known)}
    if all(issubclass(x, numbers.Number | np.bool_) for x in types):
        array = np.asarray(known.tolist())
        if array.dtype.kind != "O":
            return array
        whole = all(issubclass(x, numbers.Integral) for x in types)
        return known.astype(str if whole else np.float64)
    if len(types) > 1 and not all(issubclass(x, str) for x in types):
        listed = ", ".join(sorted(x.__name__ for x in types))
        raise ValueError(f"{what} has values of several types: {listed}; make them one")
    return np.array([str(x) for x in known])


def _brief(value: Any) -> str:
    return f"{type(value).__name__} {' '.join(repr(value).split())[:60]}"


def are_measurements(distinct: np.ndarray) -> bool:
    """Whether different labels (k,) are measurements: many numbers with fractions."""
    if is_class(distinct) or len(distinct) <= MOST_NUMBER_CLASSES:
        return False
    return bool((distinct != np.round(distinct)).any())


def one_word_spelled_apart(words: Iterable[str]) -> list[str]:
    """Words that differ from another one in upper and lower case alone, sorted."""
    words = sorted({*words})
    counts = collections.Counter(word.casefold() for word in words)
    return [word for word in words if counts[word.casefold()] > 1]


def is_class(values: np.ndarray) -> bool:
    """Whether values are classes, which is any type other than floating point."""
    return np.asarray(values).dtype.kind != "f"


def known_rows(values: np.ndarray) -> np.ndarray:
    """Rows of values (n,) or (n, d) without a masked or NaN entry, bool (n,)."""
    missing = np.ma.getmaskarray(values)
    if not is_class(values):
        missing = missing | np.isnan(plain(values))
    return np.logical_not(missing.max(axis=tuple(range(1, missing.ndim))))


def plain(values: np.ndarray) -> np.ndarray:
    """The values without their mask; masked entries hold meaningless values."""
    return np.ma.getdata(values)


def class_codes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integer codes of values, (n,) or (n, d), one for each distinct value or row.

    Returns:
      Codes from 0, (n,), ``MISSING`` where a value is not known; and the value of each
      code, sorted, (k,) or (k, d).
    """
    known = known_rows(values)
    present = plain(values)[known]
    distinct, known_codes = np.unique(present, return_inverse=True, axis=0)
    codes = np.full(len(known), MISSING)
    codes[known] = known_codes.reshape(-1)
    return codes, distinct


def is_vector(values: np.ndarray) -> bool:
    """Whether each value is a vector, as in (n, d)."""
    return np.ndim(values) > 1


def is_color(values: np.ndarray) -> bool:
    """Whether values are colours: (n, 3) real numbers in [0, 1], where known."""
    if is_class(values) or np.shape(values)[1:] != (3,):
        return False
    known = plain(values)[known_rows(values)]
    return bool(((known >= 0.0) & (known <= 1.0)).all())
