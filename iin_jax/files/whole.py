"""Files that are written whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError


@contextlib.contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[Path]:
    """A path to write to, whose file gets the right name once it is complete.

    Raises:
      OSError: it could not be written; names ``path``, and leaves nothing behind.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        yield unfinished
        os.replace(unfinished, path)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch: RuntimeError
        reason = str(error).partition("\n")[0]
        raise OSError(f"{path} cannot be written: {reason}") from error
    finally:
        with contextlib.suppress(OSError):  # it has its name, or was never made
            unfinished.unlink()


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file in UTF-8, whole or not at all.

    Raises:
      OSError: as ``whole_file``.
    """
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
