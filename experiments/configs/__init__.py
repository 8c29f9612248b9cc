"""One file per experiment; ``EXPERIMENT`` is the full one, ``BUDGETS`` shorter ones."""

import importlib
import pkgutil
from types import ModuleType

from iin_jax.files.hints import near


def names() -> list[str]:
    """Every experiment there is."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def find(name: str) -> ModuleType:
    """The config of an experiment.

    Raises:
      ValueError: no such experiment; the message offers the nearest one.
    """
    known = names()
    if name not in known:
        hint = near(name, known, repr, 0.4)
        raise ValueError(
            f"no experiment {name!r}{hint} (there are: {', '.join(known)})"
        )
    return importlib.import_module(f"{__name__}.{name}")
