"""A flow whose blocks end in a learned rotation, beside the fixed shuffle."""

from collections.abc import Iterable

import flax.linen as nn
import jax
import jax.numpy as jnp

from iin_jax.flows.act_norm import ActNorm
from iin_jax.flows.base import Bijector, check_even
from iin_jax.flows.chain import Chain
from iin_jax.flows.coupling import AffineCoupling
from iin_jax.flows.flow import checked
from iin_jax.flows.shuffle import Shuffle
from iin_jax.types import Array, LogDet, Vectors

LEAST_NORM = 1e-12  # squared, of a vector that is reflected along


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
        along = jnp.matmul(x, vector, precision=self.precision)[..., None]
        return x - 2.0 * along * vector / jnp.maximum(vector @ vector, LEAST_NORM)


class HouseholderBlock(Chain):
    """ActNorm, two affine couplings, a shuffle and a learned rotation.

    Attributes:
      hidden_dim, hidden_depth, precision, zero_init: as in ``FlowBlock``.
      pairs: as in ``Householder``.
    """

    hidden_dim: int = 512
    hidden_depth: int = 2
    pairs: int = 2
    precision: str = "highest"
    zero_init: bool = False

    def setup(self):
        arguments = (self.hidden_dim, self.hidden_depth)
        settings = (self.precision, self.zero_init)
        self.act_norm = ActNorm(whitens=not self.zero_init)
        self.coupling = AffineCoupling(*arguments, False, *settings)
        self.coupling_flipped = AffineCoupling(*arguments, True, *settings)
        self.shuffle = Shuffle()
        self.rotation = Householder(self.pairs, self.precision)

    def bijectors(self) -> Iterable[Bijector]:
        couplings = (self.coupling, self.coupling_flipped)
        return self.act_norm, *couplings, self.shuffle, self.rotation


class HouseholderFlow(Chain):
    """T with learned rotations between its blocks.

    Attributes:
      dim: N, even.
      num_blocks, hidden_dim, hidden_depth, precision, zero_init: as in
        ``InterpretationFlow``.
      pairs: as in ``Householder``.
    """

    dim: int = 64
    num_blocks: int = 12
    hidden_dim: int = 512
    hidden_depth: int = 2
    pairs: int = 2
    precision: str = "highest"
    zero_init: bool = False

    def setup(self):
        check_even(self.dim)
        settings = (self.pairs, self.precision, self.zero_init)
        sizes = (self.hidden_dim, self.hidden_depth, *settings)
        self.blocks = [HouseholderBlock(*sizes) for _ in range(self.num_blocks)]

    def bijectors(self) -> Iterable[Bijector]:
        return self.blocks

    def forward_and_log_det(
        self, x: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, LogDet]:
        return super().forward_and_log_det(checked(x, self.dim), context)

    def inverse_and_log_det(
        self, y: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, LogDet]:
        return super().inverse_and_log_det(checked(y, self.dim), context)
