"""The interpretation network T: a stack of ActNorm, two couplings and a shuffle."""

import functools
from collections.abc import Iterable

import jax
import jax.dtypes

from iin_jax.flows.act_norm import ActNorm
from iin_jax.flows.base import Bijector, check_even
from iin_jax.flows.chain import Chain, FlowChain
from iin_jax.flows.coupling import AffineCoupling
from iin_jax.flows.shuffle import Shuffle
from iin_jax.linen import apply
from iin_jax.types import LogDet, Tree, Vectors


class FlowBlock(Chain):
    """ActNorm, two affine couplings that transform one half each, a shuffle.

    Source: paper, section 3 and supplement.

    Attributes:
      hidden_dim, hidden_depth, precision: of the couplings' networks.
      zero_init: begins as its shuffle alone.
    """

    hidden_dim: int = 512
    hidden_depth: int = 2
    precision: str = "highest"
    zero_init: bool = False

    def setup(self):
        arguments = (self.hidden_dim, self.hidden_depth)
        settings = (self.precision, self.zero_init)
        self.act_norm = ActNorm(whitens=not self.zero_init)
        self.coupling = AffineCoupling(*arguments, False, *settings)
        self.coupling_flipped = AffineCoupling(*arguments, True, *settings)
        self.shuffle = Shuffle()

    def bijectors(self) -> Iterable[Bijector]:
        return self.act_norm, self.coupling, self.coupling_flipped, self.shuffle


class InterpretationFlow(FlowChain):
    """T: an invertible network that translates a latent z (..., N) to z_tilde (..., N).

    ``flow.init(key, z)`` whitens z block by block, so give it some thousand latents;
    ``flow.apply(variables, z)`` returns ``(z_tilde, log_det)``, and
    ``flow.apply(variables, z_tilde, method="inverse")`` goes back. The defaults are the
    published setting (26.8 million parameters).

    Attributes:
      dim: N, even.
      num_blocks: number of ``FlowBlock``s.
      hidden_dim, hidden_depth: of the couplings' networks.
      precision: of their matrix products; ``"highest"`` is true float32 everywhere, and
        what edits and the certificate should use. ``"default"`` is the device's own
        choice (TF32 or bfloat16 on an accelerator), for training.
      zero_init: begins as its shuffles alone, whatever latents ``init`` sees; for a
        flow behind a ``LinearStart``.

    Raises:
      ValueError: N is odd, or the last axis of the input is not N long.
    """

    dim: int = 64
    num_blocks: int = 12
    hidden_dim: int = 512
    hidden_depth: int = 2
    precision: str = "highest"
    zero_init: bool = False

    def setup(self):
        check_even(self.dim)
        self.blocks = [self.block() for _ in range(self.num_blocks)]

    def block(self) -> FlowBlock:
        """One of the blocks; a subclass may have others."""
        sizes = (self.hidden_dim, self.hidden_depth)
        return FlowBlock(*sizes, self.precision, self.zero_init)

    def bijectors(self) -> Iterable[Bijector]:
        return self.blocks


@functools.partial(jax.jit, static_argnums=0)
def jitted_forward(
    flow: Bijector, variables: Tree, z: Vectors
) -> tuple[Vectors, LogDet]:
    """``forward_and_log_det``, compiled once per flow and shape."""
    return apply(flow, variables, z)


@functools.partial(jax.jit, static_argnums=0)
def jitted_inverse(flow: Bijector, variables: Tree, z_tilde: Vectors) -> Vectors:
    """``inverse``, compiled once per flow and shape."""
    return apply(flow, variables, z_tilde, method="inverse")
