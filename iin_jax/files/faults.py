"""Faults of the system, told apart from damaged files."""

import errno
import os
import re

# Error numbers that a damaged, cut or missing file explains. The system failed where an
# error has any other: no handle is left, a disk does not answer, permission is missing.
OF_FILES = (
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.ELOOP),
    errno.ENAMETOOLONG,
)
# how TensorStore, Rust and Python write an error number into their messages
NUMBER = re.compile(r"(?:os_error_code='|os error |Errno |errno=)(\d+)")


def system_fault(error: BaseException) -> str | None:
    """The system's reason for an error, in words; None where the file is at fault.

    Libraries that are not written in Python put the error number into a message; the
    error that was the cause of another counts too.
    """
    if isinstance(error, MemoryError):
        return os.strerror(errno.ENOMEM)
    number = error.errno if isinstance(error, OSError) else None
    if number is None:
        named = NUMBER.search(str(error))
        number = int(named[1]) if named else None
    if number is not None:
        return None if number in OF_FILES else os.strerror(number)
    return system_fault(error.__cause__) if error.__cause__ else None


def raise_system_fault(error: BaseException, path: str | os.PathLike) -> None:
    """Raises an OSError with the path for a fault of the system; else does nothing.

    For use where other errors count as damage of the file.
    """
    reason = system_fault(error)
    if reason:
        raise OSError(f"{path} cannot be read: {reason}") from error


def first_line(error: BaseException) -> str:
    """An error's message up to its first line break, or the name of its kind."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
