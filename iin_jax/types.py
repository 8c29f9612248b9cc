"""Array types in the axis letters used throughout the package.

B examples, N latent dimensions, K concepts (K + 1 factors, the residual included),
H W C image height, width and channels. ``...`` stands for any leading batch axes.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

Array = jax.Array | np.ndarray
Vectors = Float[Array, "... N"]  # anything that a bijector acts on, last axis N
LogDet = Float[Array, "..."]  # one natural logarithm per vector
PerExample = Float[Array, "B"]  # one value per example, as losses return it
Latents = Float[Array, "B N"]
Images = Float[Array, "B H W C"]  # in [-1, 1] unless a docstring says otherwise
Shared = Bool[Array, "B K+1"]  # factors that both halves of a pair share
Indices = Int[Array, "B"]
Tree = Mapping[str, Any]  # nested dictionaries of arrays: params, constants, variables
Key = jax.Array  # JAX's pseudo-random number generator
