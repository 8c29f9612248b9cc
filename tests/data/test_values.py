"""Columns of labels in every form that people have, as arrays with a mask."""

import datetime
import decimal

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from iin_jax.data import label_column, label_columns

DAYS = ["2020-03-01", "2021-05-02"]

# what a user has -> the values that are known, and which entries these are
COLUMNS = {
    "list of words": (["b", "a"], ["b", "a"], [0, 1]),
    "words with None": (["b", None, "a"], ["b", "a"], [0, 2]),
    "words with NaN": (["b", np.nan, "a"], ["b", "a"], [0, 2]),
    "objects with NA": (np.array(["b", pd.NA], object), ["b"], [0]),
    "text of missing values": (
        np.array(["b", "nan", "NaT", "<NA>", "None"]),
        ["b", "None"],
        [0, 4],
    ),
    "masked words": (np.ma.array(["b", "a"], mask=[True, False]), ["a"], [1]),
    "masked objects": (
        np.ma.array(["b", None, "a"], mask=[True, False, False], dtype=object),
        ["a"],
        [2],
    ),
    "series": (pd.Series(["b", "a"], index=[7, 3]), ["b", "a"], [0, 1]),
    "string": (pd.Series(["b", pd.NA], dtype="string"), ["b"], [0]),
    "category": (pd.Categorical(["b", None, "a"]), ["b", "a"], [0, 2]),
    "numbers as categories": (pd.Categorical([4, None, 2]), [4, 2], [0, 2]),
    "intervals": (
        pd.cut([1.0, np.nan, 9.0], [0, 5, 10]),
        ["(0.0, 5.0]", "(5.0, 10.0]"],
        [0, 2],
    ),
    "whole numbers with NA": (pd.array([2, pd.NA, 5], "Int64"), [2, 5], [0, 2]),
    "large numbers with NA": (pd.array([2**60 + 1, pd.NA]), [2**60 + 1], [0]),
    "numbers with None": ([1, None, 0], [1, 0], [0, 2]),
    "decimals": ([decimal.Decimal("0.5"), None], [0.5], [0]),
    "truth with NA": (pd.array([True, pd.NA], "boolean"), [True], [0]),
    "truth with None": (np.array([False, None], object), [False], [0]),
    "dates with NaT": (pd.Series(pd.to_datetime([None, *DAYS])), None, [1, 2]),
    "days": ([*map(datetime.date.fromisoformat, DAYS), None], DAYS, [0, 1]),
    "durations": (np.array([60, "NaT"], "m8[s]"), [60], [0]),
    "jax": (jnp.array([3, 1]), [3, 1], [0, 1]),
    "nothing known": ([None, None], [], []),
}


@pytest.mark.parametrize("form", COLUMNS)
def test_a_column_has_its_values_where_they_are_known(form):
    values, expected, entries = COLUMNS[form]
    column = label_column(values, "concept 'x'")
    assert column.dtype.kind in "biufU" and column.shape == (len(values),)
    known = ~np.ma.getmaskarray(column)
    assert np.flatnonzero(known).tolist() == entries
    present = np.ma.getdata(column)[known].tolist()
    if expected is None:  # dates, to as many digits as this pandas keeps
        expected = [np.datetime64(day) for day in DAYS]
        present = [np.datetime64(text) for text in present]
    assert present == expected


def test_arrays_of_numbers_and_words_are_unchanged():
    real = np.array([0.5, np.nan])
    colors = np.zeros((2, 3))
    for array in (real, colors, np.array([1, 2]), np.array(["", "x"]), real > 0):
        assert label_column(array, "x") is array
    assert label_column(torch_like(), "x").tolist() == [1.0, 2.0]


def torch_like():
    class Tensor:
        dtype = "torch.float32"

        def __array__(self, dtype=None, copy=None):
            return np.array([1.0, 2.0], dtype)

    return Tensor()


def test_tables_are_mappings_of_columns():
    frame = pd.DataFrame({"a": ["x", None], "b": [1, 2]}, index=[5, 2])
    columns = label_columns(frame)
    assert list(columns) == ["a", "b"] and columns["b"].tolist() == [1, 2]
    assert columns["a"].mask.tolist() == [False, True]
    assert label_columns(None) == {} == label_columns({})


class Refuses:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("call detach()\nfirst")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(4), "dictionary or data frame, concept -> values.*got ndarray"),
        (["a", "b"], "got list"),
        (pd.Series([1, 2], name="x"), "got Series"),
        (pd.DataFrame([[1, 2]]), "name of a concept is text; got int 0"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "2 columns .* called 'a'"),
        (
            {"x": np.array([1, "a"], object)},
            "'x' has values of several types: int, str",
        ),
        ({"x": 3}, "concept 'x' needs a value per entry; got int 3"),
        ({"x": {1, 2}}, "concept 'x' needs a value per entry; got set"),
        ({"x": [[1, 2], [3]]}, "concept 'x' cannot be read as an array"),
        (
            {"x": Refuses()},
            r"concept 'x' cannot be read as an array: call detach\(\) first",
        ),
    ],
)
def test_what_is_no_column_is_one_clear_line(labels, message):
    with pytest.raises(ValueError, match=message) as error:
        label_columns(labels)
    assert "\n" not in str(error.value)
