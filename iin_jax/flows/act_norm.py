"""Activation normalisation: a per-channel affine map, whitened at initialisation."""

import flax.linen as nn
import jax.numpy as jnp

from iin_jax.arrays import at_least_float32
from iin_jax.flows.base import Bijector
from iin_jax.types import LogDet, Vectors

MAX_LOG_SCALE = 20.0  # a dead channel starts at log(1e6) = 13.8


class ActNorm(Bijector):
    """``y = exp(log_scale) * (x + loc)`` per channel (last axis); ``init`` whitens.

    ``init`` sets loc and scale such that the batch it sees leaves with mean 0 and
    standard deviation 1 (``scale = 1 / (std + 1e-6)``, Bessel's correction), and
    nothing ever initialises again. The parameter is the logarithm, clipped to +-20, so
    that no update can make the map singular. A batch of one has no spread and leaves
    with scale 1.

    A scale learned elsewhere may be negative. Then, and only then, the collection
    ``constants`` holds ``sign``, +1 or -1 per channel, which multiplies the scale.

    Source: Kingma and Dhariwal, Glow, 2018, section 3.1.

    Attributes:
      whitens: ``init`` looks at its batch; False: it gives the identity.
    """

    whitens: bool = True

    @nn.compact
    def loc_log_scale_and_sign(
        self, x: Vectors
    ) -> tuple[Vectors, Vectors, Vectors | float]:
        flat = at_least_float32(x.reshape(-1, x.shape[-1]))

        def init_loc(_):
            return -flat.mean(axis=0) if self.whitens else jnp.zeros_like(flat[0])

        def init_log_scale(_):
            if flat.shape[0] == 1 or not self.whitens:
                return jnp.zeros_like(flat[0])
            return -jnp.log(flat.std(axis=0, ddof=1) + 1e-6)

        loc = self.param("loc", init_loc)
        log_scale = self.param("log_scale", init_log_scale)
        sign = self.get_variable("constants", "sign", 1.0)
        return loc, jnp.clip(log_scale, -MAX_LOG_SCALE, MAX_LOG_SCALE), sign

    def forward_and_log_det(
        self, x: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, LogDet]:
        del context
        x = jnp.asarray(x)
        loc, log_scale, sign = self.loc_log_scale_and_sign(x)
        log_det = jnp.broadcast_to(log_scale.sum(), x.shape[:-1])
        return (x + loc) * (sign * jnp.exp(log_scale)), log_det

    def inverse_and_log_det(
        self, y: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, LogDet]:
        del context
        loc, log_scale, sign = self.loc_log_scale_and_sign(y)
        log_det = jnp.broadcast_to(-log_scale.sum(), y.shape[:-1])
        return y * (sign * jnp.exp(-log_scale)) - loc, log_det
