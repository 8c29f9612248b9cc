"""Two-dimensional maps of single factors."""

import numpy as np
from sklearn.decomposition import PCA

from iin_jax.interpreter import Interpreter
from iin_jax.types import Array


def factor_maps(interpreter: Interpreter, z: Array) -> dict[str, np.ndarray]:
    """The first two principal components of every factor.

    Args:
      interpreter: T and layout.
      z: latents, at least two.

    Returns:
      factor -> (n, 2); a factor of one dimension has zeros as its second coordinate, an
      empty one is left out.
    """
    maps = {}
    for name, part in interpreter.to_factors(z).items():
        values = np.asarray(part)
        if values.shape[1] == 1:
            maps[name] = np.concatenate([values, np.zeros_like(values)], axis=1)
        elif values.shape[1] > 1:
            maps[name] = PCA(2).fit_transform(values)
    return maps
