"""Attributes of images from a CSV: checked rows, and columns as codes or numbers."""

import collections
import dataclasses
import os
import re
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from iin_jax.data.tables import read_cells
from iin_jax.data.values import (
    MISSING_TEXT,
    MOST_NUMBER_CLASSES,
    one_word_spelled_apart,
)
from iin_jax.files.hints import nearest, on_one_line, short

# missing values among numbers and truth values; among words they may be a class
NO_VALUE = ("", "na", "n/a", "null", "none", *(text.lower() for text in MISSING_TEXT))
TRUTH = {"true": "true", "yes": "true", "1": "true"}
TRUTH |= {"false": "false", "no": "false", "0": "false"}
# digits that number nothing: 007, 16 digits and more, 1e5
NAME_OF_DIGITS = re.compile(r"^[+-]?0[0-9]|[0-9]{16}|e", re.IGNORECASE)
NAMED = 3  # most names that a message lists


@dataclasses.dataclass(frozen=True)
class AttributeTable:
    """Cells of a CSV as text, one row per image.

    Attributes:
      images: path of each row's image, with ``/``, relative to the images' folder; all
        different.
      columns: attribute -> cells, (n,) strings.
    """

    images: tuple[str, ...]
    columns: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.images)

    def without(self, images: Collection[str]) -> "AttributeTable":
        """The table without the rows of some images, given by their paths."""
        kept = np.array([image not in images for image in self.images], bool)
        return AttributeTable(
            tuple(image for image in self.images if image not in images),
            {name: cells[kept] for name, cells in self.columns.items()},
        )


@dataclasses.dataclass(frozen=True)
class Attributes:
    """Attribute values read from the columns of a table.

    Attributes:
      labels: attribute -> values (n,). Discrete attributes have int32 codes from 0, in
        a masked array if some are missing; continuous ones float64, NaN where missing.
      classes: discrete attribute -> names of its codes.
      notes: a line for every attribute that was left out, has missing values, or whose
        cells can be understood in two ways.
    """

    labels: dict[str, np.ndarray]
    classes: dict[str, tuple[str, ...]]
    notes: tuple[str, ...]


def read_table(
    path: str | os.PathLike, image_column: str
) -> tuple[AttributeTable, list[str]]:
    """Reads a CSV with one row per image.

    Args:
      path: the CSV: UTF-8, separated by commas, semicolons or tabs, with names of
        columns in the first line; or a list in CelebA's form.
      image_column: name of the column with each image's path, relative to the images'
        folder.

    Returns:
      The table, in which identical rows stand once, and notes on what was left out.

    Raises:
      ValueError: a file that is missing, empty, not UTF-8 or not a table; a missing
        image column, a repeated column, a row without an image, or rows of one image
        that contradict each other.
    """
    image_column = composed(image_column)
    cells, notes = read_cells(Path(path), image_column)
    header, rows = [composed(name) for name in cells[0]], cells[1:]
    _check_header(header, image_column, path)
    if not len(rows):
        raise ValueError(f"{path} has names of columns, but no rows")
    image_index = header.index(image_column)
    nameless = np.flatnonzero(rows[:, image_index] == "")
    if nameless.size:
        raise ValueError(
            f"{nameless.size} rows of {path} name no image; the first is row "
            f"{nameless[0] + 1} below the header"
        )
    rows[:, image_index] = [_relative(name) for name in rows[:, image_index]]
    if "" in header:
        notes.append("columns without a name were left out")
        rows = rows[:, [name != "" for name in header]]
        header = [name for name in header if name]
    distinct = dict.fromkeys(map(tuple, rows))
    if len(distinct) < len(rows):
        notes.append(f"{len(rows) - len(distinct):,} rows of the CSV stood twice")
    rows = np.array(list(distinct), object)
    columns = dict(zip(header, rows.T, strict=True))
    images = columns.pop(image_column)
    _check_agreement(images, path)
    return AttributeTable(tuple(images), columns), notes


def encode_columns(table: AttributeTable, classes: Sequence[str] = ()) -> Attributes:
    """Turns text into codes of discrete attributes and numbers of continuous ones.

    Text, truth values, and whole numbers of at most 20 different values are discrete;
    other numbers are continuous. Cells that are empty, nan, NaN, NaT or <NA> are
    missing; na, n/a, null and none too, but among words, where a note counts them as
    classes. Truth may be spelled in several ways: true, True, yes, 1. Columns with a
    single value are left out.

    Args:
      table: the cells.
      classes: columns of numbers that are names, so that each number is a class.

    Raises:
      ValueError: infinite numbers, an unknown column in ``classes``, or no column with
        two different values.
    """
    for name in classes:
        if name not in table.columns:
            hint = nearest(name, table.columns)
            raise ValueError(f"data.classes: the CSV has no column {name!r}{hint}")
    labels: dict[str, np.ndarray] = {}
    names_of_codes: dict[str, tuple[str, ...]] = {}
    notes: list[str] = []
    for name, cells in table.columns.items():
        values, names, missing = _encode(cells, name, name in classes, notes)
        distinct = len(np.unique(values[~missing]))
        if distinct < 2:
            count = "one value" if distinct else "no value"
            notes.append(f"the attribute {name!r} was left out: it has {count} only")
            continue
        if missing.any():
            notes.append(f"{name!r} is missing for {missing.sum():,} images")
        labels[name] = values
        if names is not None:
            names_of_codes[name] = names
            labels[name] = (
                np.ma.MaskedArray(values, missing) if missing.any() else values
            )
    if not labels:
        reason = "; ".join(notes) or "the CSV has no column beside the images'"
        raise ValueError(f"no attribute is left to look at: {reason}")
    return Attributes(labels, names_of_codes, tuple(notes))


def some(names: Sequence[str]) -> str:
    """The first three names, joined by commas, with an ellipsis if there are more."""
    more = ", ..." if len(names) > NAMED else ""
    return ", ".join(on_one_line(name, 300) for name in names[:NAMED]) + more


def _relative(name: str) -> str:
    """A relative path with ``/``, in one form for all ways to write it."""
    return str(PurePosixPath(composed(name).replace("\\", "/")))


def composed(name: str) -> str:
    """A name in Unicode's composed form, in which accents are part of letters."""
    return unicodedata.normalize("NFC", name)


def _check_header(
    header: Sequence[str], image_column: str, path: str | os.PathLike
) -> None:
    """Raises ValueError without the image column, or if a column is repeated."""
    if image_column not in header:
        known = ", ".join(name for name in header if name)
        raise ValueError(
            f"{path} has no column {image_column!r}; it has: {short(known)}; name the "
            "one with the images' paths by --data.image-column (columns are separated "
            "by commas, semicolons or tabs)"
        )
    counts = collections.Counter(header)
    repeated = [name for name in header if name and counts[name] > 1]
    if repeated:
        raise ValueError(f"{path} has the column {repeated[0]!r} twice")


def _check_agreement(images: np.ndarray, path: str | os.PathLike) -> None:
    """Raises ValueError if an image has two rows.

    Identical rows were joined before, so two rows of one image contradict each other.
    """
    counts = collections.Counter(images)
    repeated = [image for image, count in counts.items() if count > 1]
    if repeated:
        raise ValueError(
            f"{len(repeated)} images have rows in {path} that contradict each other: "
            f"{some(repeated)}; keep one row per image"
        )


def _encode(
    cells: np.ndarray, name: str, as_classes: bool, notes: list[str]
) -> tuple[np.ndarray, tuple[str, ...] | None, np.ndarray]:
    """Codes with their names, or numbers with None; and where values are missing.

    Adds to the notes what can be understood in two ways.
    """
    lower = np.array([cell.lower() for cell in cells], object)
    absent = np.isin(lower, NO_VALUE)
    numbers = _numbers(cells, absent, as_classes)
    if numbers is None:
        return _encode_words(cells, lower, name, notes)
    if np.isinf(numbers).any():
        raise ValueError(
            f"the attribute {name!r} has {np.isinf(numbers).sum()} infinite values; "
            "leave such cells empty"
        )
    present = numbers[~absent]
    are_whole = (present == np.round(present)).all()
    distinct = len(np.unique(present))
    if are_whole and (as_classes or distinct <= MOST_NUMBER_CLASSES):
        return *_codes(numbers, absent), absent
    if as_classes:
        return *_codes(cells, absent), absent
    if are_whole:
        notes.append(
            f"{name!r} has {distinct} different whole numbers and counts as a "
            f"quantity; if they are names, --data.classes {name} makes each a class"
        )
    return numbers, None, absent


def _encode_words(
    cells: np.ndarray, lower: np.ndarray, name: str, notes: list[str]
) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
    """Codes of words with their names, and where words are missing.

    Args:
      cells: (n,) words.
      lower: the same in lower case.
      name: of the attribute.
      notes: gets a line on words that may be meant as others or as missing.
    """
    missing = np.isin(cells, ("", *MISSING_TEXT))
    unsure = np.isin(lower, NO_VALUE) & ~missing
    words = {*lower[~missing & ~unsure]}
    apart = one_word_spelled_apart(cells[~missing & ~unsure])
    if words and words <= {*TRUTH}:
        missing |= unsure
        if not words <= {"yes", "no"} and not words <= {"true", "false"}:
            notes.append(f"{name!r}: {some(sorted(words))} were read as true or false")
            cells = np.array([TRUTH.get(word, word) for word in lower], object)
        elif apart or words <= {"true", "false"}:
            cells = lower
        return *_codes(cells, missing), missing
    if apart:
        notes.append(
            f"{name!r} has words that differ in upper and lower case alone, which are "
            f"classes of their own: {some(apart)}"
        )
    if unsure.any():
        notes.append(
            f"{name!r} has the class {some(sorted({*cells[unsure]}))}; leave cells "
            "empty where a value is missing"
        )
    return *_codes(cells, missing), missing


def _numbers(
    cells: np.ndarray, absent: np.ndarray, as_classes: bool
) -> np.ndarray | None:
    """Cells as float64, NaN where absent; None unless all other cells are numbers.

    Digits that name things are none: 1_2, or 007 of a column of classes, or where there
    is a 7 too.
    """
    present = cells[~absent]
    if absent.all() or any("_" in cell for cell in present):
        return None
    numbers = np.full(len(cells), np.nan)
    try:
        numbers[~absent] = present.astype(np.float64)
    except ValueError:
        return None
    are_merged = len({*numbers[~absent]}) < len({*present})
    if (as_classes or are_merged) and any(map(NAME_OF_DIGITS.search, present)):
        return None
    return numbers


def _codes(
    values: np.ndarray, missing: np.ndarray
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Codes int32 in the order of the values, 0 where missing, and names of codes."""
    distinct, present = np.unique(values[~missing], return_inverse=True)
    codes = np.zeros(len(values), np.int32)
    codes[~missing] = present
    if distinct.dtype != object:
        distinct = map(int, distinct)
    return codes, tuple(map(str, distinct))
