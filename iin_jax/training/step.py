"""One step of any training: gradients of the mean over the global batch; pure."""

import functools
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import optax

from iin_jax.batch import device_mean
from iin_jax.training.parallel import Metrics, Step
from iin_jax.training.state import TrainState
from iin_jax.types import Array, Tree


class Objective(Protocol):
    """What a step minimises: the mean over a batch, with metrics to log."""

    def __call__(
        self, params: Tree, batch: Any, state: TrainState, data: Any
    ) -> tuple[Array, Metrics]:
        """Mean loss, and metrics with the entry ``"loss"``.

        Args:
          params: differentiated.
          batch: the examples, or a device's share of them.
          state: before the step; its ``params`` are not to be used here.
          data: what the draws read; the variables of networks that are not trained.
        """
        ...


@functools.lru_cache(maxsize=8)
def gradient_step(objective: Objective, tx: optax.GradientTransformation) -> Step:
    """The step that follows an objective's gradients with an optimiser.

    The same object for equal arguments, so that what is compiled is found again.
    """
    return functools.partial(_step, objective, tx)


def _step(
    objective: Objective,
    tx: optax.GradientTransformation,
    state: TrainState,
    batches: Any,
    data: Any,
) -> tuple[TrainState, Metrics]:
    def loss(params: Tree, batch: Any) -> tuple[Array, Metrics]:
        return objective(params, batch, state, data)

    gradients, metrics = mean_gradients(loss, state.params, batches)
    return state.apply_gradients(tx, gradients), metrics


def mean_gradients(
    loss: Callable[[Tree, Any], tuple[Array, Metrics]], params: Tree, batches: Any
) -> tuple[Tree, Metrics]:
    """Gradients and metrics of the mean loss over the whole global batch.

    Args:
      loss: (params, micro-batch) -> mean loss over its examples, metrics.
      params: differentiated.
      batches: micro-batches, stacked on the first axis.
    """
    gradient = jax.grad(loss, has_aux=True)

    def without_carry(carry, batch):
        return carry, gradient(params, batch)

    return global_mean_over(without_carry, (), batches)[1]


def global_mean_over(
    function: Callable[[Any, Any], tuple[Any, Any]], carry: Any, batches: Any
) -> tuple[Any, Any]:
    """Mean of a function's results over the whole global batch.

    Args:
      function: (carry, micro-batch) -> new carry, means over the micro-batch.
      carry: what goes from one micro-batch to the next.
      batches: micro-batches, stacked on the first axis.

    Returns:
      The last carry, and the mean.
    """

    def add(so_far, batch):
        carry, total = so_far
        carry, results = function(carry, batch)
        return (carry, jax.tree.map(jnp.add, total, results)), None

    count = jax.tree.leaves(batches)[0].shape[0]
    so_far = function(carry, jax.tree.map(lambda x: x[0], batches))
    if count > 1:
        so_far, _ = jax.lax.scan(add, so_far, jax.tree.map(lambda x: x[1:], batches))
    carry, total = so_far
    return carry, device_mean(jax.tree.map(lambda x: x / count, total))
