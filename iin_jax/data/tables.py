"""Tables as text files: commas, semicolons or tabs between cells, or CelebA's form."""

import csv
import io
import re
from pathlib import Path

import numpy as np

from iin_jax.files.faults import raise_system_fault
from iin_jax.files.paths import check_regular, stand_in, starting_bytes

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
MOST_COLUMNS = 4096  # more take minutes: each is read as an attribute
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")


def read_cells(path: Path, key: str) -> tuple[np.ndarray, list[str]]:
    """All cells of a table.

    Args:
      path: a text file, UTF-8.
      key: name of the column that every table has; it tells the separator.

    Returns:
      Stripped text (rows, columns), the header as first row, and notes on the form.

    Raises:
      ValueError: a file that is missing, empty, not UTF-8, not a table, or has more
        than ``MOST_COLUMNS``.
      OSError: the system cannot read it, whatever its content.
    """
    import pandas as pd

    text = _text(path)
    lines = text.split("\n", 3)[:3]
    if len(lines) > 1 and lines[0].strip().isdigit() and "," not in lines[1]:
        return _celeba(text, path, key)
    _check_width(max(map(lines[0].count, SEPARATORS)) + 1, path)
    separator = _separator(lines[0], key)
    try:
        table = pd.read_csv(
            io.StringIO(text),
            header=None,
            dtype=str,
            keep_default_na=False,
            sep=separator,
        )
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{path} is no CSV table: {reason} ({SEPARATORS[separator]} separate cells)"
        ) from error
    cells = table.fillna("").to_numpy(dtype=object)
    cells = np.array([[cell.strip() for cell in row] for row in cells], object)
    if separator == ",":
        return cells, []
    return cells, [
        f"the CSV has {SEPARATORS[separator]} between cells",
        *_with_points(cells),
    ]


def _text(path: Path) -> str:
    try:
        check_regular(path)
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path} is not UTF-8: byte 0x{error.object[error.start]:02x} in line "
            f"{line}; save it as UTF-8"
        ) from error
    except OSError as error:
        raise_system_fault(error, path)
        raise ValueError(f"no CSV of attributes at {path}: {error.strerror}") from error
    other = stand_in(starting_bytes(path))
    if other:
        raise ValueError(f"{path} {other}")
    return text


def _check_width(columns: int, path: Path) -> None:
    if columns > MOST_COLUMNS:
        raise ValueError(
            f"{path} has {columns:,} columns, more than the {MOST_COLUMNS:,} that are "
            "read: keep the image's and those to look at"
        )


def _separator(header: str, key: str) -> str:
    """The separator with which a header has the key; a comma if there is none."""
    for separator in SEPARATORS:
        try:
            names = next(csv.reader([header], delimiter=separator), [])
        except csv.Error:  # a name of more characters than the module takes
            continue
        if key in [name.strip() for name in names]:
            return separator
    return ","


def _with_points(cells: np.ndarray) -> list[str]:
    """Turns decimal commas into points, in columns of nothing else; notes on them."""
    notes = []
    for column in cells[1:].T:
        commas = [cell for cell in column if "," in cell]
        others = [cell for cell in column if "," not in cell]
        if (
            commas
            and all(map(DECIMAL_COMMA.fullmatch, commas))
            and not any("." in cell for cell in others)
        ):
            column[:] = [cell.replace(",", ".") for cell in column]
            notes = ["decimal commas were read as points"]
    return notes


def _celeba(text: str, path: Path, key: str) -> tuple[np.ndarray, list[str]]:
    """A list in CelebA's form.

    The first line counts the rows, the second names the attributes, and in all others
    the image comes first; blanks separate.
    """
    count, header, *rows = (line.split() for line in text.splitlines() if line.strip())
    _check_width(len(header) + 1, path)
    if len(rows) != int(count[0]):
        raise ValueError(
            f"{path} is a list in CelebA's form that says it has {count[0]} rows, but "
            f"has {len(rows):,}: fetch or copy it again"
        )
    if len({len(row) for row in rows}) == 1 and len(rows[0]) == len(header) + 1:
        header = [key, *header]
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise ValueError(
                f"{path} is a list in CelebA's form whose row {number} has {len(row)} "
                f"entries, not {len(header)}"
            )
    note = "the table is a list in CelebA's form, with blanks between cells"
    return np.array([header, *rows], object), [note]
