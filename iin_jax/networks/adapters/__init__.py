"""Networks of other makers as a ``Network``."""

from iin_jax.networks.adapters.equinox import from_equinox
from iin_jax.networks.adapters.functions import FunctionNetwork, from_functions
from iin_jax.networks.adapters.generator import GeneratorNetwork, from_generator
from iin_jax.networks.adapters.linen import from_linen
from iin_jax.networks.adapters.nnx import from_nnx
from iin_jax.networks.adapters.pytorch import from_torch

__all__ = [
    "FunctionNetwork",
    "GeneratorNetwork",
    "from_equinox",
    "from_functions",
    "from_generator",
    "from_linen",
    "from_nnx",
    "from_torch",
]
