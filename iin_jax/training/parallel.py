"""The only place that names devices: one step, many devices, many steps a dispatch.

A step is a pure function in global view, ``step(state, batches, axis_name, frozen) ->
(state, metrics)``. ``batches`` has two leading axes, (accumulated micro-batches,
examples). Under ``jit`` the examples are sharded over the mesh axis ``data`` and XLA
inserts the collectives; under ``pmap`` each device holds its share and ``axis_name`` is
set. ``frozen`` holds the variables of networks that are used and not trained.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from iin_jax.training.state import TrainState
from iin_jax.types import Array, Key, Tree

AXIS = "data"
MODES = ("jit", "pmap")

Metrics = dict[str, Array]
Step = Callable[[TrainState, Any, str | None, Tree], tuple[TrainState, Metrics]]
# (data, key of the step, global example indices (B,)) -> batch of B examples
Draw = Callable[[Any, Key, Array], Any]
Stream = Callable[[int], Any]  # step -> arrays of the host, first axis the global batch


class Streamed(NamedTuple):
    """What ``draw`` reads in a streamed run: its ``data``, and the arrays of the step.

    Row i of the arrays in ``batch`` is for global example i.
    """

    resident: Any
    batch: Any


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

    def found(carry, batch):
        return carry, gradient(params, batch)

    return global_mean_over(found, (), batches, axis_name)[1]


def global_mean_over(
    function: Callable[[Any, Any], tuple[Any, Any]],
    carry: Any,
    batches: Any,
    axis_name: str | None,
) -> tuple[Any, Any]:
    """Mean of a function's results over the whole global batch.

    Args:
      function: (carry, micro-batch) -> new carry, means over the micro-batch.
      carry: what goes from one micro-batch to the next.
      batches: micro-batches, stacked on the first axis.
      axis_name: as in a step.

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
    return carry, global_mean(jax.tree.map(lambda x: x / count, total), axis_name)


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
        Never with a stream.
      frozen: the step's last argument, copied to every device.
      stream: for data that do not fit on a device: step -> arrays of the host, first
        axis the global batch; new ones at every call, since the next step's are fetched
        while the devices read this one's. ``draw`` gets a ``Streamed`` as its data.

    Raises:
      ValueError: an unknown mode, a batch that devices and micro-batches do not divide,
        fused streamed steps, or a stream of another batch size.
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
        frozen: Tree | None = None,
        stream: Stream | None = None,
    ):
        self.devices = list(devices or jax.local_devices())
        if mode not in MODES:
            raise ValueError(f"parallel is one of {list(MODES)}; got {mode!r}")
        check_batch(batch_size, accumulate, len(self.devices))
        self.step, self.draw, self.seed = step, draw, seed
        self.accumulate, self.batch_size, self.mode = accumulate, batch_size, mode
        if fused and stream is not None:
            raise ValueError("streamed steps cannot be fused; leave fused out")
        on_cpu = self.devices[0].platform == "cpu"
        wanted = not on_cpu if fused is None else fused
        self.stream, self.fused = stream, wanted and stream is None
        if stream is not None:
            self._streamed(stream, int(state.step))  # refused before anything compiles
        self._mesh = Mesh(np.array(self.devices), (AXIS,))
        if self.fused:
            self._zeros = self._zero_metrics(state, data, frozen or {})
        self._data, self._frozen = self.place(data), self.place(frozen or {})
        self._run = self._compile()

    def place(self, tree: Any) -> Any:
        """Copies arrays to every device, in the form that ``run`` takes."""
        if self.mode == "jit":
            whole = NamedSharding(self._mesh, PartitionSpec())
            own = jax.tree.map(jnp.array, tree)  # a copy, since ``run`` gives it away
            return jax.device_put(own, whole)
        if not jax.tree.leaves(tree):  # which pmap refuses
            return tree
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
        if not self.fused:
            return self._run_apart(state, count)
        carry = (state, *self.place(self._zeros))
        carry = self._run(carry, self._data, self._frozen, jnp.int32(count))
        state, totals, bad = carry
        totals, bad = jax.device_get(self.fetch((totals, bad)))
        metrics = {name: float(total) / count for name, total in totals.items()}
        return state, metrics, int(bad) if bad >= 0 else None

    def _run_apart(
        self, state: Any, count: int
    ) -> tuple[Any, dict[str, float], int | None]:
        """``run``, one dispatch per step."""
        first = int(np.asarray(self.fetch(state.step)))
        found, data = [], self._data_of(first)
        for step in range(first, first + count):
            state, metrics = self._run(state, data, self._frozen, 1)
            if step + 1 < first + count:
                data = self._data_of(step + 1)
            state, metrics = jax.block_until_ready((state, metrics))
            found.append(metrics)
        found = jax.device_get([self.fetch(metrics) for metrics in found])
        bad = [first + i for i, m in enumerate(found) if not np.isfinite(m["loss"])]
        means = {name: float(np.mean([m[name] for m in found])) for name in found[0]}
        return state, means, bad[0] if bad else None

    def batch(self, step: int) -> Any:
        """The whole batch of one step, as the step saw it."""
        key = jax.random.fold_in(jax.random.key(self.seed), step)
        data = self.fetch(self._data)
        if self.stream is not None:
            arrays = self._streamed(self.stream, step)
            data = Streamed(data, jax.tree.map(jnp.asarray, arrays))
        return self.draw(data, key, jnp.arange(self.batch_size))

    def _data_of(self, step: int) -> Any:
        """What ``draw`` reads in a step, placed."""
        if self.stream is None:
            return self._data
        arrays = self._streamed(self.stream, step)
        if self.mode == "pmap":
            return Streamed(self._data, self.place(arrays))
        rows = NamedSharding(self._mesh, PartitionSpec(AXIS))
        return Streamed(self._data, jax.device_put(arrays, rows))

    def _streamed(self, stream: Stream, step: int) -> Any:
        arrays = stream(step)
        sizes = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(arrays)}
        if sizes != {(self.batch_size,)}:
            found = sorted(size[0] if size else 0 for size in sizes)
            raise ValueError(
                f"stream({step}) gives arrays of {found} rows; expected one row for "
                f"each of the {self.batch_size} examples of the global batch"
            )
        return arrays

    def _compile(self):
        rows = (self.accumulate, -1)
        if self.mode == "jit":
            split = NamedSharding(self._mesh, PartitionSpec(None, AXIS))
            whole = NamedSharding(self._mesh, PartitionSpec())

            def run_global(carry, data, frozen, count):
                examples = jnp.arange(self.batch_size).reshape(rows)
                examples = jax.lax.with_sharding_constraint(examples, split)
                return self._steps(carry, data, frozen, count, examples, None)

            return jax.jit(run_global, donate_argnums=0, out_shardings=whole)

        def run_share(carry, data, frozen, count):
            examples = jnp.arange(self.batch_size).reshape(rows)
            share = examples.shape[1] // len(self.devices)
            first = jax.lax.axis_index(AXIS) * share
            examples = jax.lax.dynamic_slice_in_dim(examples, first, share, axis=1)
            return self._steps(carry, data, frozen, count, examples, AXIS)

        axes = {"in_axes": (0, 0, 0, None), "devices": self.devices}
        return jax.pmap(run_share, AXIS, donate_argnums=0, **axes)

    def _steps(self, carry, data, frozen, count, examples, axis_name):
        """A state after one step and its metrics; fused, a carry after ``count``."""
        if not self.fused:
            return self._one(carry, data, frozen, examples, axis_name)

        def body(carry):
            state, totals, bad = carry
            new_state, metrics = self._one(state, data, frozen, examples, axis_name)
            broken = ~jnp.isfinite(metrics["loss"]) & (bad < 0)
            totals = jax.tree.map(jnp.add, totals, metrics)
            return new_state, totals, jnp.where(broken, state.step, bad)

        return jax.lax.fori_loop(0, count, lambda _, carry: body(carry), carry)

    def _one(self, state, data, frozen, examples, axis_name):
        key = jax.random.fold_in(jax.random.key(self.seed), state.step)
        batches = jax.vmap(functools.partial(self.draw, data, key))(examples)
        return self.step(state, batches, axis_name, frozen)

    def _zero_metrics(self, state: TrainState, data: Any, frozen: Tree):
        """Zeros of the metrics' shapes, and "no bad step", placed."""
        rows = (self.accumulate, self.batch_size // self.accumulate)
        examples = jax.ShapeDtypeStruct(rows, jnp.int32)
        call = functools.partial(self._one, axis_name=None)
        metrics = jax.eval_shape(call, state, data, frozen, examples)[1]
        zeros = {name: np.zeros(x.shape, x.dtype) for name, x in metrics.items()}
        return zeros, np.int32(-1)
