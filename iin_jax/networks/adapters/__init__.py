"""Networks of other makers as a ``Network``."""

from iin_jax.networks.adapters.functions import FunctionNetwork, from_functions
from iin_jax.networks.adapters.pytorch import from_torch

__all__ = ["FunctionNetwork", "from_functions", "from_torch"]
