"""What every user of a Linen module here needs."""

import dataclasses
from typing import Any

import flax.linen as nn
import numpy as np

from iin_jax.types import Tree


def apply(module: nn.Module, variables: Tree, *arguments: Any, **settings: Any) -> Any:
    """``module.apply`` with nothing mutable, so it returns what the method does."""
    return module.apply(dict(variables), *arguments, **settings)


def module_fields(module: nn.Module) -> dict[str, Any]:
    """A Linen module's own attributes, without Linen's; they rebuild it.

    Numbers of NumPy become Python's, which JSON knows.
    """
    names = {field.name for field in dataclasses.fields(module)} - {"parent", "name"}
    values = {name: getattr(module, name) for name in sorted(names)}
    return {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in values.items()
    }
