"""JSON files of whatever content, read without surprises."""

import json
import os
from pathlib import Path
from typing import Any

from iin_jax.files.paths import check_regular, stand_in, starting_bytes


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
