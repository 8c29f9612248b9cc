"""Digests that tell one content from another."""

import hashlib
import os
from collections.abc import Iterable

import numpy as np


def array_digest(array: np.ndarray) -> str:
    """SHA-256 of an array's type, shape and bytes, in hexadecimal."""
    array = np.asarray(array, order="C")
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(array.tobytes())
    return digest.hexdigest()


def text_digest(lines: Iterable[str]) -> str:
    """SHA-256 of some lines, in hexadecimal."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def file_digest(path: str | os.PathLike) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Raises:
      OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
