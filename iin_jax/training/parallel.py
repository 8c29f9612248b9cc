"""The only place that names devices: one step, many devices, many steps a dispatch.

A step is a pure function ``step(state, batches, axis_name) -> (state, metrics)`` in
global view. ``batches`` has two leading axes, (accumulated micro-batches, examples).
Under ``jit`` the examples are sharded over the mesh axis ``data`` and XLA inserts the
collectives; under ``pmap`` each device holds its share and ``axis_name`` is set.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from iin_jax.training.state import TrainState
from iin_jax.types import Array, Key, Tree

AXIS = "data"
MODES = ("jit", "pmap")

Metrics = dict[str, Array]
Step = Callable[[TrainState, Any, str | None], tuple[TrainState, Metrics]]
# (data, key of the step, global example indices (B,)) -> batch of B examples
Draw = Callable[[Any, Key, Array], Any]


def global_mean(tree: Any, axis_name: str | None) -> Any:
    """Mean over all devices' values: ``pmean``, or the identity in global view."""
    return tree if axis_name is None else jax.lax.pmean(tree, axis_name)


def mean_gradients(
    loss: Callable[[Tree, Any], tuple[Array, Metrics]],
    params: Tree,
    batches: Any,
    axis_name: str | None,
) -> tuple[Tree, Metrics]:
    """Gradients and metrics of the mean loss over the whole global batch.

    Args:
      loss: (params, micro-batch) -> mean loss over its examples, metrics.
      params: differentiated.
      batches: micro-batches, stacked on the first axis.
      axis_name: as in a step.
    """
    gradient = jax.grad(loss, has_aux=True)

    def add(total, batch):
        return jax.tree.map(jnp.add, total, gradient(params, batch)), None

    count = jax.tree.leaves(batches)[0].shape[0]
    total = gradient(params, jax.tree.map(lambda x: x[0], batches))
    if count > 1:
        total, _ = jax.lax.scan(add, total, jax.tree.map(lambda x: x[1:], batches))
    return global_mean(jax.tree.map(lambda x: x / count, total), axis_name)


def check_batch(
    batch_size: int, accumulate: int, devices: int, name: str = "batch"
) -> None:
    """Raises ValueError unless devices and micro-batches divide the batch."""
    if batch_size < 1 or accumulate < 1 or batch_size % (accumulate * devices):
        raise ValueError(
            f"a {name} of {batch_size} does not divide into {accumulate} micro-batches "
            f"on {devices} devices"
        )


class Runner:
    """Runs a step on devices.

    The examples of step s are drawn from ``fold_in(key(seed), s)`` and their global
    index, so they do not depend on how many devices there are.

    Args:
      step: pure, see the module's head; its metrics include ``"loss"``.
      draw: pure, makes the examples of a batch from their global indices.
      data: arrays that ``draw`` reads, copied to every device.
      state: any state of the run, for its shapes.
      batch_size: of the global batch.
      seed: of all randomness in the run.
      accumulate: micro-batches per step.
      mode: ``"jit"`` or ``"pmap"``.
      devices: JAX devices; None: all that this process sees.
      fused: many steps in one dispatch; None: except on CPUs, where XLA runs
        convolutions inside a loop on one core (measured: 113 ms a step against 21).

    Raises:
      ValueError: an unknown mode, or a batch that devices and micro-batches do not
        divide.
    """

    def __init__(
        self,
        step: Step,
        draw: Draw,
        data: Any,
        state: TrainState,
        *,
        batch_size: int,
        seed: int,
        accumulate: int = 1,
        mode: str = "jit",
        devices: Sequence[Any] | None = None,
        fused: bool | None = None,
    ):
        self.devices = list(devices or jax.local_devices())
        if mode not in MODES:
            raise ValueError(f"parallel is one of {list(MODES)}; got {mode!r}")
        check_batch(batch_size, accumulate, len(self.devices))
        self.step, self.draw, self.seed = step, draw, seed
        self.accumulate, self.batch_size, self.mode = accumulate, batch_size, mode
        on_cpu = self.devices[0].platform == "cpu"
        self.fused = not on_cpu if fused is None else fused
        self._mesh = Mesh(np.array(self.devices), (AXIS,))
        self._zeros = self._zero_metrics(state, data)
        self._data = self.place(data)
        self._run = self._compile()

    def place(self, tree: Any) -> Any:
        """Copies arrays to every device, in the form that ``run`` takes."""
        if self.mode == "jit":
            whole = NamedSharding(self._mesh, PartitionSpec())
            own = jax.tree.map(jnp.array, tree)  # a copy, since ``run`` gives it away
            return jax.device_put(own, whole)
        count = len(self.devices)
        stacked = jax.tree.map(
            lambda x: jnp.broadcast_to(x, (count, *jnp.shape(x))), tree
        )
        return jax.pmap(lambda x: x, devices=self.devices)(stacked)

    def fetch(self, tree: Any) -> Any:
        """One copy of what ``place`` or ``run`` returned."""
        if self.mode == "jit":
            return tree
        return jax.tree.map(lambda x: x.addressable_shards[0].data[0], tree)

    def run(self, state: Any, count: int) -> tuple[Any, dict[str, float], int | None]:
        """Does ``count`` steps and waits for them.

        Args:
          state: placed; its buffers are given away.
          count: number of steps, >= 1; another number compiles nothing anew.

        Returns:
          The placed state, metrics averaged over these steps, and the first step whose
          loss was not finite (None if there was none).
        """
        carry = (state, *self.place(self._zeros))
        if self.fused:
            carry = self._run(carry, self._data, jnp.int32(count))
        else:
            for _ in range(count):
                carry = jax.block_until_ready(self._run(carry, self._data, 1))
        state, totals, bad = carry
        totals, bad = jax.device_get(self.fetch((totals, bad)))
        metrics = {name: float(total) / count for name, total in totals.items()}
        return state, metrics, int(bad) if bad >= 0 else None

    def batch(self, step: int) -> Any:
        """The whole batch of one step, as the step saw it."""
        key = jax.random.fold_in(jax.random.key(self.seed), step)
        return self.draw(self.fetch(self._data), key, jnp.arange(self.batch_size))

    def _compile(self):
        rows = (self.accumulate, -1)
        if self.mode == "jit":
            split = NamedSharding(self._mesh, PartitionSpec(None, AXIS))
            whole = NamedSharding(self._mesh, PartitionSpec())

            def run_global(carry, data, count):
                examples = jnp.arange(self.batch_size).reshape(rows)
                examples = jax.lax.with_sharding_constraint(examples, split)
                return self._steps(carry, data, count, examples, None)

            return jax.jit(run_global, donate_argnums=0, out_shardings=whole)

        def run_share(carry, data, count):
            examples = jnp.arange(self.batch_size).reshape(rows)
            share = examples.shape[1] // len(self.devices)
            first = jax.lax.axis_index(AXIS) * share
            examples = jax.lax.dynamic_slice_in_dim(examples, first, share, axis=1)
            return self._steps(carry, data, count, examples, AXIS)

        axes = {"in_axes": (0, 0, None), "devices": self.devices}
        return jax.pmap(run_share, AXIS, donate_argnums=0, **axes)

    def _steps(self, carry, data, count, examples, axis_name):
        def body(carry):
            state, totals, bad = carry
            new_state, metrics = self._one(state, data, examples, axis_name)
            broken = ~jnp.isfinite(metrics["loss"]) & (bad < 0)
            totals = jax.tree.map(jnp.add, totals, metrics)
            return new_state, totals, jnp.where(broken, state.step, bad)

        if not self.fused:
            return body(carry)
        return jax.lax.fori_loop(0, count, lambda _, carry: body(carry), carry)

    def _one(self, state, data, examples, axis_name):
        key = jax.random.fold_in(jax.random.key(self.seed), state.step)
        batches = jax.vmap(functools.partial(self.draw, data, key))(examples)
        return self.step(state, batches, axis_name)

    def _zero_metrics(self, state: TrainState, data: Any):
        """Zeros of the metrics' shapes, and "no bad step", placed."""
        rows = (self.accumulate, self.batch_size // self.accumulate)
        examples = jax.ShapeDtypeStruct(rows, jnp.int32)
        call = functools.partial(self._one, axis_name=None)
        metrics = jax.eval_shape(call, state, data, examples)[1]
        zeros = {name: np.zeros(x.shape, x.dtype) for name, x in metrics.items()}
        return zeros, np.int32(-1)
