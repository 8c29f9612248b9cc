"""A flow of the first components of a latent; the others are carried unchanged."""

import jax.numpy as jnp

from iin_jax.flows.base import Bijector, check_last_axis
from iin_jax.types import LogDet, Vectors


class PartialFlow(Bijector):
    """``y = (flow(x_1 .. x_K), x_(K+1) .. x_N)``.

    For components in which latents do not vary, where a density would grow without end,
    and for the one that is left of an odd N.

    Attributes:
      flow: of the first K components, a bijector with a field or property ``dim``.
      dim: N, at least K.

    Raises:
      ValueError: the last axis of the input is not N long.
    """

    flow: Bijector
    dim: int

    def forward_and_log_det(
        self, x: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, LogDet]:
        first, rest = self._parts(x)
        y, log_det = self.flow.forward_and_log_det(first, context)
        return jnp.concatenate([y, rest], axis=-1), log_det

    def inverse_and_log_det(
        self, y: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, LogDet]:
        first, rest = self._parts(y)
        x, log_det = self.flow.inverse_and_log_det(first, context)
        return jnp.concatenate([x, rest], axis=-1), log_det

    def _parts(self, x: Vectors) -> tuple[Vectors, Vectors]:
        check_last_axis(x, self.dim)
        count: int = getattr(self.flow, "dim")  # noqa: B009 - Bijector has none
        return x[..., :count], x[..., count:]
