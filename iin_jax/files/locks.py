"""Files and folders that one process at a time may write."""

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def locked(lock: Path, waiting: str | None = None) -> Iterator[None]:
    """Holds a lock alone; the kernel frees it, even after a kill.

    Args:
      lock: file that stands for what is held; its folder is made.
      waiting: what to print while another process holds it; None: not to wait.

    Raises:
      BlockingIOError: another process holds it, and nobody waits.
      OSError: the lock file cannot be written, or is a link.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "a", opener=_unlinked) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is None:
                raise
            print(f"waiting: {waiting}", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _unlinked(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)
