"""Arrays of other frameworks, lists and single numbers as arrays of this one."""

from typing import Any

import jax
import jax.dtypes
import jax.numpy as jnp
import numpy as np

from iin_jax.types import Array


def to_numpy(values: Any, dtype: Any = None) -> np.ndarray:
    """Anything array-like as a NumPy array.

    Tensors of PyTorch are taken from their graph and their device; precisions that
    NumPy does not have become float32.

    Args:
      values: array of any framework, a list, or a number.
      dtype: of the result; None: its own.
    """
    for method in ("detach", "cpu"):
        if hasattr(values, method):
            values = getattr(values, method)()
    try:
        return np.asarray(values, dtype)
    except TypeError:
        if not hasattr(values, "float"):
            raise
        return np.asarray(values.float(), dtype)


def at_least_float32(values: Any) -> Array:
    """An array in float32, or in float64 where it is and JAX has it.

    Statistics and exponentials of half precision overflow at 65,504.
    """
    if not isinstance(values, jax.Array | np.ndarray):
        values = to_numpy(values)
    dtype = jnp.promote_types(values.dtype, jnp.float32)
    return jnp.asarray(values, jax.dtypes.canonicalize_dtype(dtype))
