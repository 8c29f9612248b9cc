"""NumPy's ``.npz`` files, whose claims are compared with the file first."""

import math
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from iin_jax.files.faults import raise_system_fault
from iin_jax.files.limits import check_claim

ZIP_ERRORS = (  # what zipfile and NumPy raise for damage
    *(zipfile.BadZipFile, zlib.error, EOFError, OSError, MemoryError, OverflowError),
    *(ValueError, KeyError, TypeError, RuntimeError, SyntaxError, tokenize.TokenError),
)
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def zip_members(path: Path) -> list[str]:
    """Names of the files in a zip archive that claims no more than ``check_claim``.

    Raises:
      ValueError: a damaged archive, or one that unfolds to too much.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except ZIP_ERRORS as error:
        raise_system_fault(error, path)
        raise ValueError(
            f"{path} is truncated or damaged: it starts as an .npz or PyTorch file, "
            "but does not end as one; fetch or copy it again"
        ) from error
    check_claim(path, sum(member.file_size for member in members))
    return [member.filename for member in members]


def read_npz(path: Path) -> list[tuple[str, np.ndarray]]:
    """All arrays of an ``.npz`` file whose ``zip_members`` are known.

    Raises:
      ValueError: a damaged file, or one with arrays of Python objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                with archive.open(member) as stream:
                    _check_header(stream, member)
        with np.load(path, allow_pickle=False) as arrays:
            return [(name, arrays[name]) for name in arrays.files]
    except ZIP_ERRORS as error:
        if not isinstance(error, MemoryError):  # a claim that no memory holds
            raise_system_fault(error, path)
        if "allow_pickle" in str(error):
            raise ValueError(
                f"{path} holds an array of Python objects, which is a pickle and is "
                "refused; save arrays of numbers alone"
            ) from error
        raise ValueError(f"{path} is a damaged .npz file: {error}") from error


def _check_header(stream, member: zipfile.ZipInfo) -> None:
    """Raises ValueError unless an array has the bytes that its header claims.

    Other versions of headers are left to NumPy: they belong to types with names.
    """
    read_header = HEADERS.get(npy.read_magic(stream))
    if read_header is None:
        return
    shape, _, dtype = read_header(stream)
    claimed = math.prod(shape) * dtype.itemsize
    present = member.file_size - stream.tell()
    if not dtype.hasobject and (claimed != present or min(shape, default=0) < 0):
        raise ValueError(
            f"{member.filename} has {present:,} bytes, but claims {claimed:.4g}"
        )
