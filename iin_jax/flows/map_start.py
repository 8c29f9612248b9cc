"""A start in closed form for feature maps: one linear map at every position."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from iin_jax.flows.base import Bijector, check_last_axis
from iin_jax.flows.linear_start import LinearStart
from iin_jax.types import Array, LogDet, Tree, Vectors


class MapStart(Bijector):
    """A ``LinearStart`` of C channels at each of P positions, less each one's mean.

    It reads maps flattened as networks give them, channels innermost, and puts them out
    channel by channel (or in the constant ``order``), so that a group of channels lies
    together. Everything is constant; log-determinants are summed over positions.

    ``init`` whitens the batch it sees along the principal axes of its channels.

    Attributes:
      positions: P = H W.
      channels: C.
      precision: of the matrix products, as in ``jax.lax.dot_general``.

    Raises:
      ValueError: the last axis of the input is not P C long.
    """

    positions: int
    channels: int
    precision: str = "highest"

    @property
    def dim(self) -> int:
        """N = P C."""
        return self.positions * self.channels

    @nn.compact
    def constants(self, x: Vectors) -> tuple[Array, Array, LinearStart]:
        """The mean (P, C), the order (N,), and what every position goes through."""
        check_last_axis(x, self.dim, "start")
        mean = self.variable("constants", "mean", lambda: self._by_position(x).mean(0))
        by_channel = channel_order(self.positions, self.channels)
        order = self.variable("constants", "order", lambda: jnp.asarray(by_channel))
        shared = LinearStart(self.channels, self.precision, name="shared")
        return mean.value, order.value, shared

    def forward_and_log_det(
        self, x: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, LogDet]:
        del context
        x = jnp.asarray(x)
        mean, order, shared = self.constants(x)
        centred = x.reshape(*x.shape[:-1], *mean.shape) - mean
        y, log_det = shared.forward_and_log_det(centred)
        return y.reshape(x.shape)[..., order], log_det.sum(-1)

    def inverse_and_log_det(
        self, y: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, LogDet]:
        del context
        y = jnp.asarray(y)
        mean, order, shared = self.constants(y)
        by_position = y[..., jnp.argsort(order)].reshape(*y.shape[:-1], *mean.shape)
        x, log_det = shared.inverse_and_log_det(by_position)
        return (x + mean).reshape(y.shape), log_det.sum(-1)

    @staticmethod
    def arranged(constants: Tree, order: Array) -> Tree:
        """Constants of a start whose coordinates come out in another order, (N,)."""
        return {**constants, "order": constants["order"][order]}

    def _by_position(self, x: Vectors) -> Array:
        return x.reshape(-1, self.positions, self.channels)


def channel_order(positions: int, channels: int) -> np.ndarray:
    """Where the positions of each channel lie in a flattened map, in order, (N,)."""
    places = np.arange(positions * channels, dtype=np.int32)
    return places.reshape(positions, channels).T.ravel()


def start_of(constants: Tree) -> LinearStart | MapStart:
    """The start that constants are of."""
    if "shared" in constants:
        return MapStart(*np.shape(constants["mean"]))
    return LinearStart(len(constants["mean"]))
