"""Hints in messages about names that do not exist; texts of any length in them."""

import difflib
from collections.abc import Callable, Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """``"; did you mean A or B?"``, or a list of names if none is near."""
    known = list(known)
    return near(name, known) or f"; known: {short(', '.join(known), 1000)}"


def near(
    name: str,
    known: Iterable[str],
    shown: Callable[[str], str] = str,
    cutoff: float = 0.5,
) -> str:
    """``"; did you mean A or B?"``, or nothing if no name is near.

    Args:
      name: that does not exist.
      known: names that do.
      shown: how these are printed.
      cutoff: least similarity, in [0, 1].
    """
    found = difflib.get_close_matches(str(name), list(known), n=3, cutoff=cutoff)
    return f"; did you mean {' or '.join(map(shown, found))}?" if found else ""


def on_one_line(name: str, most: int = 100) -> str:
    """A name from a file for a message, which it cannot break or fill."""
    return short(name if name.isprintable() else repr(name), most)


def short(text: str, most: int = 600) -> str:
    """A text of at most so many characters, without its middle if it is longer."""
    if len(text) <= most:
        return text
    kept = (most - 5) // 2
    return f"{text[:kept]} ... {text[-kept:]}"
