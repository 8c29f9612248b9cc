"""What a JSON file describes, built from it; damage is one line with the file.

A description names the files of its arrays, so that new ones never overwrite those in
use: the folder is the old one until the new description takes its place.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flax.errors import FlaxError

from iin_jax.files.hints import short
from iin_jax.files.json_files import read_description

# what readers of entries, constructors and modules raise for settings they do not know
FAULTS = (AttributeError, KeyError, TypeError, ValueError, RecursionError, FlaxError)
# fields of modules that count levels
LEVELS = ("num_blocks", "hidden_depth", "num_down", "depth", "depths")
ENDINGS = ("", "-2")  # names of array files end in these in turn, save by save


@contextlib.contextmanager
def described_by(path: str | os.PathLike) -> Iterator[None]:
    """Names the description when it cannot be read, or nothing be built from it.

    Raises:
      ValueError: in place of what JSON's reader, missing entries, and constructors and
        modules with settings that they do not know raise.
    """
    try:
        yield
    except FAULTS as error:
        reason = short(" ".join(str(error).split()))
        if isinstance(error, KeyError):
            reason = f"no entry {reason}"
        raise ValueError(f"{path} cannot be used: {reason}") from error


def free_ending(file: Path) -> str:
    """The ending that the files of the description in use do not have."""
    try:
        used = read_description(file).get("ending", "")
    except (OSError, ValueError):  # none, or one that nothing can be read from
        return ENDINGS[0]
    return ENDINGS[used == ENDINGS[0]]


def remove_others(folder: Path, ending: str, *names: str) -> None:
    """Removes the files of an older description, all but those of one ending.

    Args:
      folder: where they are.
      ending: of the names that stay, before their suffix.
      names: as without an ending, ``"flow.safetensors"``.
    """
    for other in {*ENDINGS} - {ending}:
        for name in names:
            (folder / with_ending(name, other)).unlink(missing_ok=True)


def with_ending(name: str, ending: str) -> str:
    """``"flow.safetensors"`` -> ``"flow-2.safetensors"``."""
    stem, suffix = os.path.splitext(name)
    return f"{stem}{ending}{suffix}"


def check_levels(settings: Mapping[str, Any], arrays: int) -> None:
    """Raises ValueError for more levels than arrays, of which each level has one.

    A network of a million layers would be built for hours before its weights are
    compared with it.

    Args:
      settings: fields of a module.
      arrays: number of the arrays that it is given.
    """
    for name in LEVELS:
        value = settings.get(name, 0)
        for levels in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(levels, (int, float)) and levels > arrays:
                raise ValueError(
                    f"{name} is {levels:.4g}, but its weights are {arrays} arrays alone"
                )
