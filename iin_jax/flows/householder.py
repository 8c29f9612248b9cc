"""A flow whose blocks end in a learned rotation, beside the fixed shuffle."""

from collections.abc import Iterable

import flax.linen as nn
import jax
import jax.numpy as jnp

from iin_jax.flows.base import Bijector
from iin_jax.flows.flow import FlowBlock, InterpretationFlow
from iin_jax.types import Array, LogDet, Vectors

LEAST_NORM = 1e-12  # least squared norm of a reflection's vector


class Householder(Bijector):
    """``y = x H_1 ... H_R``, reflections along learned vectors; begins at the identity.

    Volume-preserving, so its log-determinant is 0. Reflections begin in equal pairs.

    Source: Tomczak and Welling, *Improving Variational Auto-Encoders using Householder
    Flow*, 2016.

    Attributes:
      pairs: half the number of reflections R.
      precision: of the products, as in ``jax.lax.dot_general``.
    """

    pairs: int = 2
    precision: str = "highest"

    @nn.compact
    def vectors(self, dim: int) -> Array:
        def init(key: jax.Array) -> Array:
            return jnp.repeat(jax.random.normal(key, (self.pairs, dim)), 2, axis=0)

        return jnp.asarray(self.param("vectors", init))

    def forward_and_log_det(
        self, x: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, LogDet]:
        del context
        for vector in self.vectors(x.shape[-1]):
            x = self._reflected(x, vector)
        return x, jnp.zeros(x.shape[:-1], x.dtype)

    def inverse_and_log_det(
        self, y: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, LogDet]:
        del context
        for vector in self.vectors(y.shape[-1])[::-1]:
            y = self._reflected(y, vector)
        return y, jnp.zeros(y.shape[:-1], y.dtype)

    def _reflected(self, x: Vectors, vector: Array) -> Vectors:
        projection = jnp.matmul(x, vector, precision=self.precision)[..., None]
        return x - 2.0 * projection * vector / jnp.maximum(vector @ vector, LEAST_NORM)


class HouseholderBlock(FlowBlock):
    """A ``FlowBlock`` with a learned rotation behind its shuffle.

    Attributes:
      pairs: as in ``Householder``.
    """

    pairs: int = 2

    def setup(self):
        super().setup()
        self.rotation = Householder(self.pairs, self.precision)

    def bijectors(self) -> Iterable[Bijector]:
        return *super().bijectors(), self.rotation


class HouseholderFlow(InterpretationFlow):
    """An ``InterpretationFlow`` with a learned rotation behind each block.

    Attributes:
      pairs: as in ``Householder``.
    """

    pairs: int = 2

    def block(self) -> FlowBlock:
        sizes = (self.hidden_dim, self.hidden_depth)
        return HouseholderBlock(*sizes, self.precision, self.zero_init, self.pairs)
