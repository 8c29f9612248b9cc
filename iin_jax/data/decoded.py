"""Decoded images and labels, kept in the user's cache folder between runs."""

import contextlib
import fcntl
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from iin_jax.weights import cache_folder


def data_folder() -> Path:
    """Where decoded data lies: in ``$IIN_JAX_CACHE``, else the user's cache folder."""
    return cache_folder().parent / "data"


def cached_folder(key: str, make: Callable[[Path], None]) -> Path:
    """A folder that is made once, whole or not at all.

    Args:
      key: name of the folder; says all that its content depends on.
      make: fills an empty folder.

    Returns:
      The folder, made now or earlier.

    Raises:
      ValueError: the cache folder cannot be written.
    """
    folder = data_folder() / key
    if folder.is_dir():
        return folder
    unfinished = folder.with_name(f".{key}.unfinished")
    with _locked(folder):
        if not folder.is_dir():  # else another process was faster
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            try:
                make(unfinished)
                os.replace(unfinished, folder)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def load_array(folder: Path, name: str) -> np.ndarray:
    """Memory-maps one array of a cached folder.

    Raises:
      ValueError: it is missing or cut short; names the folder to delete.
    """
    try:
        return np.load(folder / f"{name}.npy", mmap_mode="r")
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(_damaged(folder, error)) from error


def load_json(folder: Path, name: str) -> Any:
    """Reads one JSON file of a cached folder.

    Raises:
      ValueError: it is missing or cut short; names the folder to delete.
    """
    try:
        return json.loads((folder / f"{name}.json").read_text())
    except (OSError, ValueError) as error:
        raise ValueError(_damaged(folder, error)) from error


def _damaged(folder: Path, error: Exception) -> str:
    return f"the decoded images in {folder} are damaged ({error}); delete that folder"


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds a folder to be made alone; a kill frees it."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = folder.with_name(f".{folder.name}.lock").open("w")
    except OSError as error:
        raise ValueError(
            f"the cache folder {folder.parent} cannot be written: {error}; set "
            "IIN_JAX_CACHE to another folder"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting: another process decodes {folder.name}", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
