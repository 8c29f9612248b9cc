"""JSON files of whatever content, read without surprises; with checksums if ours."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iin_jax.files.digests import text_digest
from iin_jax.files.paths import check_regular, stand_in, starting_bytes
from iin_jax.files.whole import write_text

CHECKSUM = "checksum"  # entry of a description: digest of all others


def read_json(path: str | os.PathLike) -> Any:
    """The value in a JSON file, UTF-8.

    Raises:
      ValueError: a value that is cut short, no UTF-8 or nested too deeply, or no file;
        names the path.
      OSError: the file cannot be read.
    """
    path = Path(path)
    check_regular(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError(f"{path} cannot be used: it is nested too deeply") from error
    except ValueError as error:
        reason = stand_in(starting_bytes(path)) or f"cannot be used: {error}"
        raise ValueError(f"{path} {reason}") from error


def write_description(path: str | os.PathLike, entries: Mapping[str, Any]) -> None:
    """Writes a JSON object with its checksum, whole or not at all.

    Raises:
      OSError: the file cannot be written.
    """
    described = {**entries, CHECKSUM: _checksum(entries)}
    write_text(path, json.dumps(described, indent=2))


def read_description(path: str | os.PathLike) -> dict[str, Any]:
    """Reads what ``write_description`` wrote; version 0.1 wrote no checksum.

    Raises:
      ValueError: as ``read_json``, no JSON object, or entries that have changed.
      OSError: the file cannot be read.
    """
    entries = read_json(path)
    if not isinstance(entries, dict):
        raise ValueError(f"{path} cannot be used: it is no JSON object")
    if CHECKSUM in entries and entries.pop(CHECKSUM) != _checksum(entries):
        raise ValueError(
            f"{path} cannot be used: its checksum is wrong, so it is not what was saved"
        )
    return entries


def _checksum(entries: Mapping[str, Any]) -> str:
    """Digest of a JSON object's entries, in whatever order and spacing."""
    return text_digest([json.dumps(entries, sort_keys=True)])
