"""Complaints of the command-line parser as one line."""

import contextlib
import io
from collections.abc import Callable
from typing import TypeVar

Parsed = TypeVar("Parsed")
BOX = str.maketrans(dict.fromkeys("╭╮╰╯│─", " "))  # the frame around tyro's messages


def one_line(parse: Callable[[], Parsed]) -> Parsed:
    """Runs a parser; what it prints before it exits becomes an error's message.

    Raises:
      ValueError: a flag is missing, unknown, or has a value that it cannot take.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return parse()
    except SystemExit as stopped:
        if not stopped.code:  # --help
            raise
        line = " ".join(said.getvalue().translate(BOX).split())
        for ending in ("Argument helptext", "For full helptext"):
            line = line.partition(f" {ending}")[0]
        raise ValueError(f"{line} (--help lists all)") from stopped
