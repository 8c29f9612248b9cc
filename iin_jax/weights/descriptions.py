"""What a JSON file describes, built from it; damage is one line with the file."""

import contextlib
import os
from collections.abc import Iterator

from flax.errors import FlaxError


@contextlib.contextmanager
def described_by(path: str | os.PathLike) -> Iterator[None]:
    """Names the description when it cannot be read, or nothing be built from it.

    Raises:
      ValueError: in place of what JSON's reader, missing entries, and constructors and
        modules with settings that they do not know raise.
    """
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError, FlaxError) as error:
        reason = " ".join(str(error).split())
        if isinstance(error, KeyError):
            reason = f"no entry {reason}"
        raise ValueError(f"{path} cannot be used: {reason}") from error
