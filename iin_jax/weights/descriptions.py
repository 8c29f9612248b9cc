"""What a JSON file describes, built from it; damage is one line with the file."""

import contextlib
import os
from collections.abc import Iterator

from flax.errors import FlaxError

from iin_jax.files.hints import short

# what readers of entries, constructors and modules raise for settings they do not know
FAULTS = (AttributeError, KeyError, TypeError, ValueError, RecursionError, FlaxError)


@contextlib.contextmanager
def described_by(path: str | os.PathLike) -> Iterator[None]:
    """Names the description when it cannot be read, or nothing be built from it.

    Raises:
      ValueError: in place of what JSON's reader, missing entries, and constructors and
        modules with settings that they do not know raise.
    """
    try:
        yield
    except FAULTS as error:
        reason = short(" ".join(str(error).split()))
        if isinstance(error, KeyError):
            reason = f"no entry {reason}"
        raise ValueError(f"{path} cannot be used: {reason}") from error
