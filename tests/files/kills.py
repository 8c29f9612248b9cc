"""What a kill at each file operation of a call would leave behind."""

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

_watched: list[tuple[Path, list[Path]]] = []


def _watch(event: str, arguments: tuple) -> None:
    """An audit hook: Python calls it before each operation; it cannot be removed."""
    if not _watched or not (event == "open" or event.startswith(("os.", "shutil."))):
        return
    names = [x for x in arguments if isinstance(x, str | os.PathLike)]
    folder, copies = _watched[-1]
    if any(str(folder) in os.fspath(name) for name in names):
        watched = _watched.pop()  # so that the copy itself is not watched
        copies.append(folder.with_name(f"{folder.name}_{len(copies)}"))
        shutil.copytree(folder, copies[-1])
        _watched.append(watched)


_hooks: list[bool] = []


@contextlib.contextmanager
def states_of(folder: Path) -> Iterator[list[Path]]:
    """Copies of a folder from before each file operation in here, then the last one.

    What Python has not yet given to the system is in none of them, as after a kill.
    """
    if not _hooks:
        sys.addaudithook(_watch)
        _hooks.append(True)
    copies: list[Path] = []
    _watched.append((folder, copies))
    try:
        yield copies
    finally:
        _watched.clear()
    copies.append(folder)
