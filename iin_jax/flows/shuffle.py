"""A fixed random permutation of the channels."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from iin_jax.flows.base import Bijector
from iin_jax.types import LogDet, Vectors


class Shuffle(Bijector):
    """``y = x[..., permutation]``; drawn once in ``init``, then a constant.

    The permutation lies in the collection ``constants``: saved, never optimised.
    """

    @nn.compact
    def permutation(self, dim: int) -> jax.Array:
        def draw():
            return jax.random.permutation(self.make_rng("params"), dim)

        return self.variable("constants", "permutation", draw).value

    def forward_and_log_det(
        self, x: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, LogDet]:
        del context
        permutation = self.permutation(x.shape[-1])
        return x[..., permutation], jnp.zeros(x.shape[:-1], x.dtype)

    def inverse_and_log_det(
        self, y: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, LogDet]:
        del context
        permutation = self.permutation(y.shape[-1])
        return y[..., jnp.argsort(permutation)], jnp.zeros(y.shape[:-1], y.dtype)
