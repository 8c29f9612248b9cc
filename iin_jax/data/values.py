"""Columns of labels: classes or real numbers, known or missing values."""

import numpy as np

MISSING = -1  # code of a missing class


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
