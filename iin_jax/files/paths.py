"""Paths as people write them: the home folder, addresses, what is no real file."""

import os
import re
import stat
from pathlib import Path

ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")  # two letters or more: no drive
KINDS = {  # what a path may name instead of a file
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}
START = 512  # bytes that tell what a file is
HTML = (b"<!doctype html", b"<html", b"<head", b"<?xml")


def local_path(path: str | os.PathLike) -> Path:
    """A path of this machine, with the home folder in place of ``~``.

    Raises:
      ValueError: an address such as ``gs://bucket/run``, or the home folder of a user
        that does not exist.
    """
    text = os.fspath(path)
    address = ADDRESS.match(text)
    if address:
        raise ValueError(
            f"{text} is an address ({address[1]}:), and only folders and files of this "
            "machine are read and written: copy it, or mount it as a folder"
        )
    expanded = os.path.expanduser(text)
    if expanded.startswith("~"):
        user = expanded.partition("/")[0]
        raise ValueError(
            f"there is no user for the home folder {user}; write ./{text} for a path "
            "of that name"
        )
    return Path(expanded)


def not_regular(path: Path) -> str | None:
    """What stands at a path in place of a file, in words.

    Opening a named pipe would wait for whoever writes to it, perhaps for ever. None for
    a regular file, and where nothing is: whoever opens that says so.
    """
    if not path.exists():
        return None
    mode = path.stat().st_mode
    if stat.S_ISREG(mode):
        return None
    return KINDS.get(stat.S_IFMT(mode), "no regular file")


def check_regular(path: Path) -> None:
    """Raises ValueError if something other than a file is there, as a named pipe."""
    other = not_regular(path)
    if other:
        raise ValueError(f"{path} is {other}; give a regular file")


def stand_in(start: bytes) -> str | None:
    """What failed copies and downloads leave in place of a file, and the remedy.

    Args:
      start: the first ``START`` bytes of the file.
    """
    if start.startswith(b"version https://git-lfs"):
        return (
            "is a Git LFS pointer, not the file itself: fetch that with `git lfs pull`"
        )
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(HTML):
        return "is a web page (HTML), not the file itself: fetch that again"
    return None


def starting_bytes(path: Path) -> bytes:
    """The first ``START`` bytes of a regular file."""
    with path.open("rb") as stream:
        return stream.read(START)
