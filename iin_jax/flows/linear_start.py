"""A start in closed form: a constant linear map in front of a flow."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from iin_jax.arrays import at_least_float32
from iin_jax.flows.base import Bijector, check_last_axis
from iin_jax.flows.chain import Chain
from iin_jax.flows.shuffle import Shuffle
from iin_jax.types import Array, LogDet, Tree, Vectors

LEAST_VARIANCE = 1e-6  # lowest variance of a principal direction
DEAD_SPREAD = 1e-6  # largest ratio of standard deviation to size in a dead component


class LinearStart(Bijector):
    """``y = Lambda^(-1/2) U^T ((x - mean) / scale)``, turned by an orthogonal matrix.

    Everything is constant: nothing here is trained. ``U`` (``axes``) and ``Lambda``
    (``variances``) are eigenvectors and eigenvalues of the correlation matrix, and
    ``turn`` is orthogonal, so the inverse takes transposes and the log-determinant is
    a sum of logarithms; no ill-conditioned matrix is ever formed. Any N, odd ones too.

    ``init`` whitens the batch it sees along its principal axes;
    ``concepts.closed_form_start`` computes the constants that put concepts into place.

    Attributes:
      dim: N.
      precision: of the matrix products, as in ``jax.lax.dot_general``.

    Raises:
      ValueError: the last axis of the input is not N long.
    """

    dim: int
    precision: str = "highest"

    @nn.compact
    def constants(self, x: Vectors) -> tuple[Array, Array, Array, Array, Array]:
        check_last_axis(x, self.dim, "start")
        values = {}
        if not self.has_variable("constants", "mean"):
            values = principal_start(x.reshape(-1, self.dim))
        names = ("mean", "scale", "axes", "variances", "turn")
        stored = [self.variable("constants", n, lambda n=n: values[n]) for n in names]
        mean, scale, axes, variances, turn = (entry.value for entry in stored)
        return mean, scale, axes, variances, turn

    def forward_and_log_det(
        self, x: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, LogDet]:
        del context
        x = jnp.asarray(x)
        mean, scale, axes, variances, turn = self.constants(x)
        white = self._product((x - mean) / scale, axes) / jnp.sqrt(variances)
        log_det = -self._log_scale(scale, variances)
        return self._product(white, turn), jnp.broadcast_to(log_det, x.shape[:-1])

    def inverse_and_log_det(
        self, y: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, LogDet]:
        del context
        y = jnp.asarray(y)
        mean, scale, axes, variances, turn = self.constants(y)
        back = self._back(y)
        # stored matrices are orthogonal up to rounding, which one step corrects
        remapped = self._product(back / scale, axes) / jnp.sqrt(variances)
        x = back + self._back(y - self._product(remapped, turn)) + mean
        log_det = self._log_scale(scale, variances)
        return x, jnp.broadcast_to(log_det, y.shape[:-1])

    @staticmethod
    def arranged(constants: Tree, order: Array) -> Tree:
        """Constants of a start whose coordinates come out in another order, (N,)."""
        return {**constants, "turn": constants["turn"][:, order]}

    def _back(self, y: Vectors) -> Vectors:
        """The linear part's inverse by transposes."""
        _, scale, axes, variances, turn = self.constants(y)
        white = self._product(y, turn.T) * jnp.sqrt(variances)
        return self._product(white, axes.T) * scale

    def _product(self, x: Vectors, matrix: Array) -> Vectors:
        return jnp.matmul(x, matrix, precision=self.precision)

    @staticmethod
    def _log_scale(scale: Array, variances: Array) -> Array:
        return jnp.log(scale).sum() + 0.5 * jnp.log(variances).sum()


def principal_start(x: Vectors) -> Tree:
    """Constants that whiten a batch (n, N) along its principal axes, widest first."""
    x = at_least_float32(x)
    mean, spread = x.mean(axis=0), x.std(axis=0)
    dead = spread <= DEAD_SPREAD * jnp.abs(x).max(axis=0)
    scale = jnp.where(dead, 1.0, spread)
    unit = (x - mean) / scale
    correlation = unit.T @ unit / len(x) + jnp.diag(dead.astype(x.dtype))
    variances, axes = jnp.linalg.eigh(correlation)
    return {
        "mean": mean,
        "scale": scale,
        "axes": axes[:, ::-1],
        "variances": jnp.maximum(variances[::-1], LEAST_VARIANCE),
        "turn": jnp.eye(x.shape[1], dtype=x.dtype),
    }


def start_product(constants: Tree, x: np.ndarray) -> np.ndarray:
    """What a ``LinearStart`` of these constants makes of x (n, N), in float64."""
    c = {name: np.asarray(value, np.float64) for name, value in constants.items()}
    unit = (np.asarray(x, np.float64) - c["mean"]) / c["scale"]
    return unit @ c["axes"] / np.sqrt(c["variances"]) @ c["turn"]


def start_before(flow: Any) -> Bijector:
    """The start that stands before a flow: its ``linear_start()``, if it has one."""
    if hasattr(flow, "linear_start"):
        return flow.linear_start()
    return LinearStart(flow.dim)


def start_arrays(constants: Tree) -> Tree:
    """Constants of a start on the device, in single precision."""

    def on_device(x: Array) -> jax.Array:
        whole = np.issubdtype(np.asarray(x).dtype, np.integer)
        return jnp.asarray(x, jnp.int32 if whole else jnp.float32)

    return jax.tree.map(on_device, dict(constants))


class StartedFlow(Chain):
    """T = flow ∘ T_0: a constant linear start, then a flow that refines it.

    Between the two the coordinates are arranged such that a flow that begins at the
    identity, but for its shuffles, brings each back to where T_0 had it.

    Attributes:
      flow: what is trained; it has a field ``dim``.
    """

    flow: Bijector

    def setup(self):
        self.start = start_before(self.flow)
        self.arrange = Shuffle()

    @property
    def dim(self) -> int:
        """N."""
        return self.flow.dim

    def bijectors(self):
        return self.start, self.arrange, self.flow


def arrangement(flow: Bijector, variables: Tree, dim: int) -> Array | None:
    """The order (N,) that undoes a flow's shuffles; None if it is no permutation."""
    places = jnp.arange(dim, dtype=jnp.float32)
    moved = flow.apply(dict(variables), places)[0]
    order = jnp.round(moved).astype(jnp.int32)
    is_order = jnp.array_equal(jnp.sort(order), jnp.arange(dim))
    if not (is_order and bool(jnp.abs(moved - order).max() < 1e-3)):
        return None
    return jnp.argsort(order)


def joined_variables(start: Tree, order: Array, variables: Tree) -> Tree:
    """Variables of a ``StartedFlow`` from those of its parts.

    Args:
      start: constants of the linear start.
      order: (N,), from ``arrangement``.
      variables: of the flow.
    """
    constants = {
        "start": start_arrays(start),
        "arrange": {"permutation": jnp.asarray(order, jnp.int32)},
    }
    if jax.tree.leaves(variables.get("constants", {})):
        constants["flow"] = variables["constants"]
    return {"params": {"flow": variables["params"]}, "constants": constants}
