"""Files that are written whole or not at all."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from iin_jax.files.paths import local_path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a disk, quota or file is full


@contextlib.contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[Path]:
    """A path to write to, whose file gets the right name once it is complete.

    Raises:
      OSError: it could not be written; names ``path``, and leaves nothing behind.
      ValueError: an address, as of ``local_path``.
    """
    path = local_path(path)
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        if unfinished.is_symlink():  # writing would follow it
            unfinished.unlink()
        yield unfinished
        sync(unfinished)
        os.replace(unfinished, path)
        sync(path.parent)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch: RuntimeError
        reason = str(error).partition("\n")[0]
        raise OSError(f"{path} cannot be written: {reason}") from error
    finally:
        with contextlib.suppress(OSError):  # it has its name, or was never made
            unfinished.unlink()


@contextlib.contextmanager
def whole_folder(path: str | os.PathLike) -> Iterator[Path]:
    """An empty folder to fill, which takes the place of ``path`` once it is complete.

    Raises:
      OSError: it could not be made; names the path. What was at ``path`` then stays.
    """
    path = local_path(path)
    unfinished = path.with_name(f".{path.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        for file in (*unfinished.rglob("*"), unfinished):
            sync(file)
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(unfinished, path)
        sync(path.parent)
    except OSError as error:
        if not _is_of_writing(error, unfinished):
            raise
        raise OSError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def sync(path: Path) -> None:
    """Has a file's or folder's content on the disk, whatever happens to the machine."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _is_of_writing(error: OSError, folder: Path) -> bool:
    """Whether an error comes from writing to a folder, not from what is read for it."""
    if error.filename is None:
        return error.errno in FULL
    return Path(os.fsdecode(error.filename)).is_relative_to(folder)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file in UTF-8, whole or not at all.

    Raises:
      OSError: as ``whole_file``.
    """
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
