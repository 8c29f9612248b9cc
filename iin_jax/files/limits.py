"""Sizes that a file claims, compared with the file before memory is taken."""

from pathlib import Path

from iin_jax.files.machine import memory

UNFOLDING = 100  # most times by which the arrays of a file exceed its size
SMALL = 2**28  # bytes that any file may unfold to
GIB = 2**30


def check_claim(path: Path, claimed: int, what: str = "arrays") -> None:
    """Raises ValueError for a claim out of proportion to the file or to memory.

    Args:
      path: the file.
      claimed: bytes that its content would take.
      what: whose bytes these are, for the message.
    """
    size = path.stat().st_size
    if claimed > max(SMALL, UNFOLDING * size):
        raise ValueError(
            f"{path} is damaged or made to exhaust memory: it has {size:,} bytes, but "
            f"claims {what} of {claimed:.4g}"
        )
    if claimed > memory():
        raise ValueError(
            f"{path} needs {claimed / GIB:.1f} GiB for {what}, more than the memory of "
            f"this machine ({memory() / GIB:.1f} GiB)"
        )
