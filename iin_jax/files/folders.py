"""Where things are kept between runs."""

import os
from pathlib import Path

from iin_jax.files.paths import local_path


def cache_of(kind: str) -> Path:
    """Folder of one kind of things: in ``$IIN_JAX_CACHE``, else the user's cache."""
    own, users = os.environ.get("IIN_JAX_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if own:
        return local_path(own) / kind
    parent = local_path(users or "~/.cache")
    return parent / "iin_jax" / kind
