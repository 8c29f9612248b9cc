"""Complaints of the command line as one line."""

import contextlib
import io
import sys
from collections.abc import Callable
from typing import TypeVar

EXIT_BAD_INPUT = 2  # exit status: what was asked for cannot be done
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


def exit_status(
    main: Callable[[list[str]], int], arguments: list[str] | None = None
) -> int:
    """What a script ends with; input that it cannot use is one line, and status 2.

    Args:
      main: the script, called with its arguments.
      arguments: None: those of the process.
    """
    try:
        return main(sys.argv[1:] if arguments is None else arguments)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
