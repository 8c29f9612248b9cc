"""Affine coupling: one half of the vector scales and shifts the other."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from iin_jax.flows.base import Bijector, check_even
from iin_jax.types import LogDet, Vectors


def torch_uniform(fan_in: int):
    """PyTorch's initialiser of linear layers: U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""
    bound = fan_in**-0.5

    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


class MLP(nn.Module):
    """Linear, LeakyReLU(0.01), ``depth`` hidden-to-hidden layers, linear.

    Attributes:
      hidden_dim: width of every hidden layer.
      depth: number of hidden-to-hidden layers.
      out_dim: width of the output.
      precision: of the matrix products, as in ``jax.lax.dot_general``.
      zero_init: the last layer begins at zero.
    """

    hidden_dim: int
    depth: int
    out_dim: int
    precision: str = "highest"
    zero_init: bool = False

    @nn.compact
    def __call__(self, x: Vectors) -> Vectors:
        for _ in range(self.depth + 1):
            x = nn.leaky_relu(self._linear(self.hidden_dim, x))
        return self._linear(self.out_dim, x, self.zero_init)

    def _linear(self, features: int, x: Vectors, zero: bool = False) -> Vectors:
        init = nn.initializers.zeros if zero else torch_uniform(x.shape[-1])
        layer = nn.Dense(
            features, kernel_init=init, bias_init=init, precision=self.precision
        )
        return layer(x)


class AffineCoupling(Bijector):
    """``x_b <- x_b * exp(s(x_a)) + t(x_a)``, x_a unchanged; s ends in tanh.

    The last axis is cut into equal halves; x_a is the first half, or the second if
    ``flip``. The tanh bounds one coupling's scale to [1/e, e]. The inverse evaluates
    s and t again on values it has reconstructed, so rounding compounds over a stack:
    the matrix products run in ``precision="highest"`` (true float32) unless told else.

    A context stands beside x_a in what s and t read.

    Source: Dinh et al., Real NVP, 2017, section 3.2; paper, section 3.

    Attributes:
      hidden_dim: width of the networks s and t.
      hidden_depth: number of their hidden-to-hidden layers.
      flip: the second half conditions, the first is transformed.
      precision: of the matrix products, as in ``jax.lax.dot_general``.
      zero_init: begins at the identity.
    """

    hidden_dim: int = 512
    hidden_depth: int = 2
    flip: bool = False
    precision: str = "highest"
    zero_init: bool = False

    network: ClassVar[type[MLP]] = MLP  # what s and t are

    @nn.compact
    def condition(
        self, x_a: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, Vectors]:
        sizes = (self.hidden_dim, self.hidden_depth, x_a.shape[-1])
        arguments = (*sizes, self.precision, self.zero_init)
        inputs = x_a if context is None else jnp.concatenate([x_a, context], axis=-1)
        log_scale = jnp.tanh(self.network(*arguments, name="log_scale")(inputs))
        shift = self.network(*arguments, name="shift")(inputs)
        return log_scale, shift

    def forward_and_log_det(
        self, x: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, LogDet]:
        x_a, x_b = self._halves(x)
        log_scale, shift = self.condition(x_a, context)
        return self._join(x_a, x_b * jnp.exp(log_scale) + shift), log_scale.sum(-1)

    def inverse_and_log_det(
        self, y: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, LogDet]:
        y_a, y_b = self._halves(y)
        log_scale, shift = self.condition(y_a, context)
        return self._join(y_a, (y_b - shift) * jnp.exp(-log_scale)), -log_scale.sum(-1)

    def _halves(self, x: Vectors) -> tuple[Vectors, Vectors]:
        check_even(x.shape[-1])
        first, second = jnp.split(x, 2, axis=-1)
        return (second, first) if self.flip else (first, second)

    def _join(self, x_a: Vectors, x_b: Vectors) -> Vectors:
        return jnp.concatenate([x_b, x_a] if self.flip else [x_a, x_b], axis=-1)
