"""A cache of decoded images and labels, in the user's cache folder between runs."""

import contextlib
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from iin_jax.files.array_files import load_array_file
from iin_jax.files.folders import cache_of
from iin_jax.files.json_files import read_json
from iin_jax.files.locks import locked
from iin_jax.files.whole import whole_folder

Loaded = TypeVar("Loaded")


def data_folder() -> Path:
    """Folder of decoded data, in ``$IIN_JAX_CACHE`` or else the user's cache folder."""
    return cache_of("data")


class StaleImagesError(ValueError):
    """Cached images that are missing, cut short, incomplete, or of another set."""


def cached(
    key: str, make: Callable[[Path], None], load: Callable[[Path], Loaded]
) -> Loaded:
    """Loads a cached folder, which is made first where it is missing.

    A folder is made whole or not at all, by one process at a time. A folder that
    cannot be used is made again, with a message to standard error.

    Args:
      key: name of the folder, which identifies everything its content depends on.
      make: fills an empty folder.
      load: reads the folder; raises ``StaleImagesError`` if it cannot be used.

    Returns:
      The result of ``load``.

    Raises:
      ValueError: the cache folder cannot be written.
    """
    folder = data_folder() / key
    with contextlib.suppress(StaleImagesError):
        return load(folder)
    with _locked_folder(folder):
        try:
            return load(folder)  # another process made it in the meantime
        except StaleImagesError as error:
            if folder.exists():
                print(f"{error}: decoding again", file=sys.stderr)
        with whole_folder(folder) as unfinished:
            make(unfinished)
    return load(folder)


def load_array(
    folder: Path, name: str, shape: tuple[int, ...], dtype: type[np.generic]
) -> np.ndarray:
    """Memory-maps an array of a cached folder.

    Args:
      folder: the cached folder.
      name: name of the array's file, without ``.npy``.
      shape, dtype: shape and type that the array must have.

    Raises:
      StaleImagesError: a file that is missing, cut short, or of another shape or type.
    """
    try:
        array = load_array_file(folder / f"{name}.npy", mmap_mode="r")
    except (FileNotFoundError, ValueError) as error:
        raise StaleImagesError(_stale(folder, error)) from error
    if array.shape != shape or array.dtype != dtype:
        reason = f"{name} is {array.dtype} {array.shape}, not {dtype.__name__} {shape}"
        raise StaleImagesError(_stale(folder, reason))
    return array


def load_json(folder: Path, name: str, fields: Collection[str]) -> dict[str, Any]:
    """Reads a JSON object of a cached folder.

    Args:
      folder: the cached folder.
      name: name of the object's file, without ``.json``.
      fields: names that the object must have, and no others.

    Raises:
      StaleImagesError: a file that is missing, cut short, or has other fields.
    """
    try:
        value = read_json(folder / f"{name}.json")
    except (FileNotFoundError, ValueError) as error:
        raise StaleImagesError(_stale(folder, error)) from error
    if not isinstance(value, dict) or set(value) != set(fields):
        raise StaleImagesError(_stale(folder, f"{name} without {', '.join(fields)}"))
    return value


def _stale(folder: Path, reason: object) -> str:
    """Message of a ``StaleImagesError``."""
    return f"the decoded images in {folder} cannot be used ({reason})"


@contextlib.contextmanager
def _locked_folder(folder: Path) -> Iterator[None]:
    """Locks a cached folder, so that one process alone makes it."""
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
