"""A flow under a context: what is left of z once the context is known."""

from collections.abc import Iterable

import flax.linen as nn
import jax.numpy as jnp

from iin_jax.arrays import at_least_float32
from iin_jax.flows.base import Bijector
from iin_jax.flows.chain import Chain
from iin_jax.flows.flow import InterpretationFlow
from iin_jax.flows.linear_start import LinearStart
from iin_jax.flows.partial import PartialFlow
from iin_jax.types import Array, LogDet, Vectors

RIDGE = 1e-2  # penalty of the regression on a context, over its mean square


class ContextShift(Bijector):
    """``y = x - context W``, W constant: what a context says of x in a linear way.

    ``init`` fits W to the batch that it sees, by a ridge regression. Without a context
    it changes nothing.
    """

    @nn.compact
    def shift(self, x: Vectors, context: Vectors | None) -> Array:
        if context is None:
            return jnp.zeros_like(x)
        values = {}
        if not self.has_variable("constants", "weights"):
            values = {"weights": regression(context, x)}
        stored = self.variable("constants", "weights", lambda: values["weights"])
        if jnp.shape(context)[-1] != stored.value.shape[0]:
            raise ValueError(
                f"the context has {stored.value.shape[0]} numbers for each vector; got "
                f"shape {jnp.shape(context)}"
            )
        return jnp.matmul(context, stored.value, precision="highest")

    def forward_and_log_det(
        self, x: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, LogDet]:
        x = jnp.asarray(x)
        return x - self.shift(x, context), jnp.zeros(x.shape[:-1], x.dtype)

    def inverse_and_log_det(
        self, y: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, LogDet]:
        y = jnp.asarray(y)
        return y + self.shift(y, context), jnp.zeros(y.shape[:-1], y.dtype)


def regression(context: Vectors, x: Vectors) -> Array:
    """Weights (M, N) of a ridge regression of x (n, N) on a centred context (n, M)."""
    context = at_least_float32(context).reshape(-1, jnp.shape(context)[-1])
    x = at_least_float32(x).reshape(-1, jnp.shape(x)[-1])
    gram = jnp.matmul(context.T, context, precision="highest")
    penalty = RIDGE * jnp.trace(gram) / len(gram)
    right = jnp.matmul(context.T, x - x.mean(axis=0), precision="highest")
    return jnp.linalg.solve(gram + penalty * jnp.eye(len(gram)), right)


class ConditionalFlow(Chain):
    """T of z (..., N) given a context (..., M): a shift, a linear start, couplings.

    ``flow.init(key, z, context)`` computes both linear parts from the latents that it
    sees, in closed form: with them alone, z given the context is Gaussian, its mean
    linear in the context. The couplings begin at the identity and read the context.

    Source: Rombach, Esser, Ommer, *Making Sense of CNNs: Interpreting Deep
    Representations & Their Invariances with INNs*, ECCV 2020.

    Attributes:
      dim: N, at least 2; the last component of an odd N goes through the linear parts
        alone.
      num_blocks, hidden_dim, hidden_depth, precision: of the couplings, as in
        ``InterpretationFlow``.
    """

    dim: int
    num_blocks: int = 4
    hidden_dim: int = 256
    hidden_depth: int = 1
    precision: str = "highest"

    def setup(self):
        self.shift = ContextShift()
        self.start = LinearStart(self.dim, self.precision)
        sizes = (self.num_blocks, self.hidden_dim, self.hidden_depth)
        even = self.dim - self.dim % 2
        flow = InterpretationFlow(even, *sizes, self.precision, zero_init=True)
        self.flow = flow if even == self.dim else PartialFlow(flow, self.dim)

    def bijectors(self) -> Iterable[Bijector]:
        return self.shift, self.start, self.flow
