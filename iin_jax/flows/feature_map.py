"""A flow over the channels of a feature map, one map for all of its positions."""

from collections.abc import Iterable
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp

from iin_jax.flows.act_norm import ActNorm
from iin_jax.flows.base import Bijector
from iin_jax.flows.chain import FlowChain
from iin_jax.flows.coupling import MLP, AffineCoupling, torch_uniform
from iin_jax.flows.map_start import MapStart, channel_order
from iin_jax.flows.shuffle import Shuffle
from iin_jax.types import Array, LogDet, Vectors


class NeighbourhoodMLP(MLP):
    """An ``MLP`` at every position of a map, whose first layer sees 3x3 positions.

    Beyond the border lie zeros. (..., H, W, C) -> (..., H, W, out_dim).
    """

    @nn.compact
    def __call__(self, x: Array) -> Array:
        init = torch_uniform(9 * x.shape[-1])
        neighbourhood = nn.Conv(
            self.hidden_dim,
            (3, 3),
            padding="SAME",
            kernel_init=init,
            bias_init=init,
            precision=self.precision,
        )
        x = nn.leaky_relu(neighbourhood(x))
        for _ in range(self.depth):
            x = nn.leaky_relu(self._linear(self.hidden_dim, x))
        return self._linear(self.out_dim, x, self.zero_init)


class MapCoupling(AffineCoupling):
    """An ``AffineCoupling`` of channels (..., H, W, C) that sees the neighbourhood.

    One half of the channels, at a position and the eight around it, scales and shifts
    the other half there, by the same networks at every position. A context stands
    beside every position, (..., H, W, M). The log-determinants are (..., H, W).
    """

    network: ClassVar[type[MLP]] = NeighbourhoodMLP


class FeatureMapBlock(Bijector):
    """ActNorm, two couplings and a shuffle of the channels, the same at every position.

    It acts on flattened maps, channels innermost; a context (..., M) is the same at
    every position. The log-determinant is summed over positions.

    Attributes:
      height, width, channels: H, W, C.
      hidden_dim, hidden_depth, precision: of the couplings' networks.
      zero_init: begins as its shuffle alone.
    """

    height: int
    width: int
    channels: int
    hidden_dim: int = 64
    hidden_depth: int = 1
    precision: str = "highest"
    zero_init: bool = False

    def setup(self):
        arguments = (self.hidden_dim, self.hidden_depth)
        settings = (self.precision, self.zero_init)
        self.act_norm = ActNorm(whitens=not self.zero_init)
        self.coupling = MapCoupling(*arguments, False, *settings)
        self.coupling_flipped = MapCoupling(*arguments, True, *settings)
        self.shuffle = Shuffle()

    def bijectors(self) -> tuple[Bijector, ...]:
        """The parts, in forward order, on maps (..., H, W, C)."""
        return self.act_norm, self.coupling, self.coupling_flipped, self.shuffle

    def forward_and_log_det(
        self, x: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, LogDet]:
        y, context = self._unfolded(x, context)
        log_det = jnp.zeros(x.shape[:-1], x.dtype)
        for bijector in self.bijectors():
            y, term = bijector.forward_and_log_det(y, context)
            log_det += term.sum((-2, -1))
        return y.reshape(x.shape), log_det

    def inverse_and_log_det(
        self, y: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, LogDet]:
        x, context = self._unfolded(y, context)
        log_det = jnp.zeros(y.shape[:-1], y.dtype)
        for bijector in reversed(self.bijectors()):
            x, term = bijector.inverse_and_log_det(x, context)
            log_det += term.sum((-2, -1))
        return x.reshape(y.shape), log_det

    def _unfolded(
        self, x: Vectors, context: Vectors | None
    ) -> tuple[Array, Array | None]:
        """Vectors as maps (..., H, W, C), and a context at every position."""
        lead, sides = x.shape[:-1], (self.height, self.width)
        unfolded = x.reshape(*lead, *sides, self.channels)
        if context is None:
            return unfolded, None
        beside = jnp.broadcast_to(context, (*lead, jnp.shape(context)[-1]))
        shape = (*lead, *sides, beside.shape[-1])
        return unfolded, jnp.broadcast_to(beside[..., None, None, :], shape)


class ByChannel(Bijector):
    """From channels innermost to positions innermost: (P, C) becomes (C, P), flat.

    Attributes:
      positions, channels: P, C.
    """

    positions: int
    channels: int

    def forward_and_log_det(
        self, x: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, LogDet]:
        del context
        order = channel_order(self.positions, self.channels)
        return x[..., order], jnp.zeros(x.shape[:-1], x.dtype)

    def inverse_and_log_det(
        self, y: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, LogDet]:
        del context
        order = channel_order(self.channels, self.positions)
        return y[..., order], jnp.zeros(y.shape[:-1], y.dtype)


class FeatureMapFlow(FlowChain):
    """T for a feature map: the same flow over channels at every position.

    It reads a map z (..., N), flattened as networks give it, channels innermost, and
    puts out z_tilde (..., N) channel by channel: a factor is a group of channels, all
    positions of each, so factors have sizes that are multiples of H W. Couplings see
    the 3x3 positions around each, ActNorms and shuffles one position, and nothing of
    T says where a position is, but for the zeros beyond the border and the means of the
    linear start. So T has few parameters, learns from every position, and one channel
    of z_tilde can be drawn as a map, or edited in a region.

    Which T for a map? Flattened (``InterpretationFlow``, the default) every number may
    be of another factor, and position counts: for few positions, as 2x2, or where a
    concept lies in one place of the image. Channels (this flow) where a concept may lie
    anywhere, or where the map is too large for a matrix (N, N). A cut behind the
    network's own pooling gives a vector without positions.

    Attributes:
      height, width, channels: H, W and C, C even.
      num_blocks: number of ``FeatureMapBlock``s.
      hidden_dim, hidden_depth: of the couplings' networks; the depth counts 1x1 layers.
      precision, zero_init: as in ``InterpretationFlow``.

    Raises:
      ValueError: C is odd, H or W not positive, or the last axis of the input is not
        H W C long.
    """

    height: int
    width: int
    channels: int
    num_blocks: int = 12
    hidden_dim: int = 64
    hidden_depth: int = 1
    precision: str = "highest"
    zero_init: bool = False

    def setup(self):
        check_map(*self.map_shape)
        sizes = (*self.map_shape, self.hidden_dim, self.hidden_depth)
        settings = (self.precision, self.zero_init)
        self.blocks = [
            FeatureMapBlock(*sizes, *settings) for _ in range(self.num_blocks)
        ]
        self.by_channel = ByChannel(self.positions, self.channels)

    @property
    def map_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return self.height, self.width, self.channels

    @property
    def described(self) -> str:
        """What it is, in messages."""
        return f"flow over maps {self.map_shape}"

    @property
    def positions(self) -> int:
        """H W."""
        return self.height * self.width

    @property
    def dim(self) -> int:
        """N = H W C."""
        return self.positions * self.channels

    @nn.nowrap
    def linear_start(self) -> MapStart:
        """The start that stands before it: one linear map for all positions."""
        return MapStart(self.positions, self.channels)

    def bijectors(self) -> Iterable[Bijector]:
        return *self.blocks, self.by_channel


def check_map(height: int, width: int, channels: int) -> None:
    """Raises ValueError unless a map has sides, and channels that can be halved."""
    if height < 1 or width < 1:
        raise ValueError(f"a map has sides of at least 1; got {height} x {width}")
    if channels < 2 or channels % 2:
        raise ValueError(
            f"a flow over channels needs an even number of them >= 2; got {channels}"
        )


def positions_of(flow: object) -> int | None:
    """H W of a flow over maps; None for any other."""
    return getattr(flow, "positions", None) if hasattr(flow, "linear_start") else None
