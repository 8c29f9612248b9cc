"""Decoded images and labels, kept in the user's cache folder between runs."""

import contextlib
import json
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.lib.format import open_memmap

from iin_jax.files.folders import cache_of
from iin_jax.files.locks import locked
from iin_jax.files.whole import whole_folder

Loaded = TypeVar("Loaded")


def data_folder() -> Path:
    """Where decoded data lies: in ``$IIN_JAX_CACHE``, else the user's cache folder."""
    return cache_of("data")


class StaleImagesError(ValueError):
    """Kept images that cannot be used: cut short, incomplete or something else's."""


def cached(
    key: str, make: Callable[[Path], None], load: Callable[[Path], Loaded]
) -> Loaded:
    """What lies in a folder that is made once, whole or not at all.

    A folder that cannot be used is made again, and that is said.

    Args:
      key: name of the folder; says all that its content depends on.
      make: fills an empty folder.
      load: reads the folder; raises ``StaleImagesError`` if it cannot be used.

    Raises:
      ValueError: the cache folder cannot be written.
    """
    folder = data_folder() / key
    with contextlib.suppress(StaleImagesError):
        return load(folder)
    with _held(folder):
        try:
            return load(folder)  # another process was faster
        except StaleImagesError as error:
            if folder.exists():
                print(f"{error}: decoding again", file=sys.stderr)
        with whole_folder(folder) as unfinished:
            make(unfinished)
    return load(folder)


def load_array(
    folder: Path, name: str, shape: tuple[int, ...], dtype: type[np.generic]
) -> np.ndarray:
    """Memory-maps one array of a kept folder.

    Raises:
      StaleImagesError: it is missing, cut short, or of another shape or type.
    """
    try:
        array = open_memmap(folder / f"{name}.npy", mode="r")
    except (FileNotFoundError, ValueError) as error:
        raise StaleImagesError(_stale(folder, error)) from error
    if array.shape != shape or array.dtype != dtype:
        found = f"{name} is {array.dtype} {array.shape}, not {dtype.__name__} {shape}"
        raise StaleImagesError(_stale(folder, found))
    return array


def load_json(folder: Path, name: str, fields: Collection[str]) -> dict[str, Any]:
    """Reads one JSON object of a kept folder.

    Raises:
      StaleImagesError: it is missing, cut short, or has other fields.
    """
    try:
        value = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError) as error:
        raise StaleImagesError(_stale(folder, error)) from error
    if not isinstance(value, dict) or set(value) != set(fields):
        raise StaleImagesError(_stale(folder, f"{name} without {', '.join(fields)}"))
    return value


def _stale(folder: Path, reason: object) -> str:
    return f"the decoded images in {folder} cannot be used ({reason})"


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Holds a folder to be made alone."""
    lock = folder.with_name(f".{folder.name}.lock")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(lock, f"another process decodes {folder.name}"))
        except OSError as error:
            raise ValueError(
                f"the cache folder {folder.parent} cannot be written: {error}; set "
                "IIN_JAX_CACHE to another folder"
            ) from error
        yield
