"""What a column of labels is: classes or real numbers, and where it is known."""

import numpy as np

MISSING = -1  # code of a missing class


def is_class(values: np.ndarray) -> bool:
    """Whether an attribute's values are classes rather than real numbers."""
    return np.asarray(values).dtype.kind != "f"


def known_rows(values: np.ndarray) -> np.ndarray:
    """Where an attribute (n,) or (n, d) is known: neither masked nor NaN; bool (n,)."""
    missing = np.ma.getmaskarray(values)
    if not is_class(values):
        missing = missing | np.isnan(plain(values))
    return np.logical_not(missing.max(axis=tuple(range(1, missing.ndim))))


def plain(values: np.ndarray) -> np.ndarray:
    """The values without a mask; what stands at masked places means nothing."""
    return np.ma.getdata(values)


def class_codes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes 0.. of the values of a column (n,) or rows (n, d), and what each means.

    Returns:
      int (n,), ``MISSING`` where a value is not known; and the different known values,
      sorted.
    """
    known = known_rows(values)
    present = plain(values)[known]
    meaning, code = np.unique(present, return_inverse=True, axis=0)
    codes = np.full(len(known), MISSING)
    codes[known] = code.reshape(-1)
    return codes, meaning


def is_vector(values: np.ndarray) -> bool:
    """Whether each value is several numbers, (n, d)."""
    return np.ndim(values) > 1


def is_color(values: np.ndarray) -> bool:
    """Whether each value is a colour: three real numbers in [0, 1]."""
    if is_class(values) or np.shape(values)[1:] != (3,):
        return False
    known = plain(values)[known_rows(values)]
    return bool(((known >= 0.0) & (known <= 1.0)).all())
