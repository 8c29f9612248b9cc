"""Arrays in ``.npy`` files that are filled part by part."""

import contextlib
import io
import os
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.lib import format as npy


class ArrayFile:
    """A new ``.npy`` file, filled by rows in any order and from any thread.

    It is written by ordinary writes: on a full disk these raise an error, where a
    memory-mapped file that was never allocated ends the process by a signal.

    Args:
      path: of the file, replaced if it is there.
      shape: of the array; rows that are never written are zero.
      dtype: of the array.

    Raises:
      OSError: the file cannot be written; names it.
    """

    def __init__(
        self, path: str | os.PathLike, shape: tuple[int, ...], dtype: np.dtype | type
    ):
        self.path, self.shape, self.dtype = Path(path), shape, np.dtype(dtype)
        self._row = self.dtype.itemsize * int(np.prod(shape[1:]))
        header, descr = io.BytesIO(), npy.dtype_to_descr(self.dtype)
        form = {"descr": descr, "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(header, form)
        self._start = header.tell()
        self._file = self.path.open("wb", buffering=0)
        with self._named_errors():
            self._write(header.getbuffer(), 0)
            self._file.truncate(self._start + self._row * shape[0])

    def __setitem__(self, rows: int | slice, values: np.ndarray) -> None:
        """Writes one row, or the rows from the slice's start on."""
        first = (rows.start or 0) if isinstance(rows, slice) else rows
        data = np.asarray(values, self.dtype, order="C").reshape(-1).view(np.uint8)
        with self._named_errors():
            self._write(data.data, self._start + self._row * first)

    def __enter__(self) -> "ArrayFile":
        return self

    def __exit__(self, kind: type | None, *error: object) -> None:
        with self._file, self._named_errors():
            if kind is None:  # some file systems find out here that they are full
                os.fsync(self._file.fileno())

    def _write(self, data: memoryview, place: int) -> None:
        while data:
            written = os.pwrite(self._file.fileno(), data, place)
            data, place = data[written:], place + written

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            error.filename = os.fspath(self.path)
            raise


def save_array(path: str | os.PathLike, array: np.ndarray) -> None:
    """Writes a whole array of at least one axis to a ``.npy`` file.

    Raises:
      OSError: the file cannot be written; names it and says why.
    """
    with ArrayFile(path, array.shape, array.dtype) as file:
        file[:] = array


def load_array_file(
    path: str | os.PathLike, mmap_mode: Literal["r"] | None = None
) -> np.ndarray:
    """The array in a ``.npy`` file.

    Args:
      path: of the file.
      mmap_mode: "r" maps it into memory; None reads it.

    Raises:
      ValueError: a damaged file, or one of Python objects. (NumPy lets other errors
        through: since Python 3.12 the tokenizer's for a damaged header.)
      OSError: the file cannot be read.
    """
    try:
        return np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except (EOFError, tokenize.TokenError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
