"""Where things are kept between runs."""

import os
from pathlib import Path


def cache_of(kind: str) -> Path:
    """Folder of one kind of things: in ``$IIN_JAX_CACHE``, else the user's cache."""
    own, users = os.environ.get("IIN_JAX_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if own:
        return Path(own).expanduser() / kind
    parent = Path(users) if users else Path("~/.cache").expanduser()
    return parent / "iin_jax" / kind
