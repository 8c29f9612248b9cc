"""Bijectors one after the other."""

import abc
from collections.abc import Iterable

import jax.numpy as jnp

from iin_jax.arrays import at_least_float32
from iin_jax.flows.base import Bijector, check_last_axis
from iin_jax.types import LogDet, Vectors


class Chain(Bijector):
    """Bijectors one after the other; a subclass names them in ``bijectors``."""

    @abc.abstractmethod
    def bijectors(self) -> Iterable[Bijector]:
        """The parts, in forward order."""

    def forward_and_log_det(
        self, x: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, LogDet]:
        log_det = jnp.zeros(x.shape[:-1], x.dtype)
        for bijector in self.bijectors():
            x, term = bijector.forward_and_log_det(x, context)
            log_det += term
        return x, log_det

    def inverse_and_log_det(
        self, y: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, LogDet]:
        log_det = jnp.zeros(y.shape[:-1], y.dtype)
        for bijector in reversed(tuple(self.bijectors())):
            y, term = bijector.inverse_and_log_det(y, context)
            log_det += term
        return y, log_det


class FlowChain(Chain):
    """A ``Chain`` that is a flow T: it has a field or property ``dim``, N.

    Raises:
      ValueError: the last axis of the input is not N long.
    """

    @property
    def described(self) -> str:
        """What it is, in messages."""
        return "flow"

    def forward_and_log_det(
        self, x: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, LogDet]:
        return super().forward_and_log_det(self._checked(x), context)

    def inverse_and_log_det(
        self, y: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, LogDet]:
        return super().inverse_and_log_det(self._checked(y), context)

    def _checked(self, x: Vectors) -> Vectors:
        check_last_axis(x, getattr(self, "dim"), self.described)  # noqa: B009
        return at_least_float32(x)
