"""The only place that names devices: one step, many devices, many steps a dispatch.

A step is a pure function in global view, ``step(state, batches, data) -> (state,
metrics)``. ``batches`` has two leading axes, (accumulated micro-batches, examples);
``data`` is what the draws read, the variables of frozen networks among it. Under
``jit`` the examples are sharded over the mesh axis ``data`` and XLA inserts the
collectives; under ``pmap`` each device holds its share, and ``iin_jax.batch`` takes
means over all of them.
"""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from iin_jax.batch import divided_over
from iin_jax.training.state import TrainState
from iin_jax.types import Array, Key

AXIS = "data"
MODES = ("jit", "pmap")
CHUNK = 256  # examples of a first batch that are drawn at once

Metrics = dict[str, Array]
Step = Callable[[TrainState, Any, Any], tuple[TrainState, Metrics]]
# (data, key of the step, global example indices (B,)) -> batch of B examples
Draw = Callable[[Any, Key, Array], Any]
Stream = Callable[[int], Any]  # step -> arrays of the host, first axis the global batch


class Streamed(NamedTuple):
    """What ``draw`` reads in a streamed run: its ``data``, and the arrays of the step.

    Row i of the arrays in ``batch`` is for global example i.
    """

    resident: Any
    batch: Any


class Feed(NamedTuple):
    """Where the batches of a training come from.

    Attributes:
      draw: pure, makes the examples of a batch from their global indices.
      data: arrays that ``draw`` and the step read, copied to every device.
      stream: for data that do not fit on a device: step -> arrays of the host, first
        axis the global batch; new ones at every call, since the next step's are fetched
        while the devices read this one's. ``draw`` then gets ``Streamed``.
    """

    draw: Draw
    data: Any
    stream: Stream | None = None

    def first(self, count: int, key: Key, seed: int) -> Any:
        """A batch for initialisation.

        Args:
          count: number of examples, drawn with ``key`` in chunks, since a draw may run
            a whole network on its images.
          key: of the batch.
          seed: of the run; a stream gives its first steps' batches, until they have as
            many examples.
        """
        draw, parts, count_drawn = functools.partial(_drawn, self.draw), [], 0
        while count_drawn < count:
            if self.stream is None:
                examples = jnp.arange(count_drawn, min(count_drawn + CHUNK, count))
                parts.append(draw(self.data, key, examples))
            else:
                step_key = jax.random.fold_in(jax.random.key(seed), len(parts))
                arrays = jax.tree.map(jnp.asarray, self.stream(len(parts)))
                examples = jnp.arange(len(jax.tree.leaves(arrays)[0]))
                parts.append(draw(Streamed(self.data, arrays), step_key, examples))
            count_drawn += len(examples)
        return jax.tree.map(lambda *arrays: jnp.concatenate(arrays), *parts)


@functools.partial(jax.jit, static_argnums=0)
def _drawn(draw: Draw, data: Any, key: Key, examples: Array) -> Any:
    return draw(data, key, examples)


def check_batch(
    batch_size: int, accumulate: int, devices: int, name: str = "batch"
) -> None:
    """Raises ValueError unless devices and micro-batches divide the batch."""
    if batch_size < 1 or accumulate < 1 or batch_size % (accumulate * devices):
        raise ValueError(
            f"a {name} of {batch_size} does not divide into {accumulate} micro-batches "
            f"on {devices} devices"
        )


def divisible_batch(batch_size: int, accumulate: int) -> int:
    """The next larger batch that all devices and micro-batches divide.

    Warns where that is another one. A batch below 1 is left for ``check_batch``.
    """
    share = max(accumulate, 1) * jax.local_device_count()
    divisible = -(-batch_size // share) * share
    if divisible != batch_size and batch_size > 0:
        warnings.warn(
            f"a batch of {batch_size} does not divide into {accumulate} micro-batches "
            f"on {jax.local_device_count()} devices: it is one of {divisible} here",
            stacklevel=2,
        )
    return divisible


def check_one_process() -> None:
    """Raises ValueError where several processes train: each would train its own T."""
    if jax.process_count() > 1:
        raise ValueError(
            f"several hosts are not supported yet, and JAX runs "
            f"{jax.process_count()} processes: start one, which uses all devices that "
            "it sees"
        )


class Runner:
    """Runs a step on devices.

    The examples of step s are drawn from ``fold_in(key(seed), s)`` and their global
    index, so they do not depend on how many devices there are.

    Args:
      step: pure, see the module's head; its metrics include ``"loss"``.
      feed: where batches come from.
      state: any state of the run, for its shapes.
      batch_size: of the global batch.
      seed: of all randomness in the run.
      accumulate: micro-batches per step.
      mode: ``"jit"`` or ``"pmap"``.
      devices: JAX devices; None: all that this process sees.
      fused: many steps in one dispatch; None: not on CPUs, where XLA runs
        convolutions inside a loop on one core (measured: 113 ms a step against 21).
        Never with a stream.

    Raises:
      ValueError: several processes, an unknown mode, a batch that devices and
        micro-batches do not divide, fused streamed steps, or a stream of another batch
        size.
    """

    def __init__(
        self,
        step: Step,
        feed: Feed,
        state: TrainState,
        *,
        batch_size: int,
        seed: int,
        accumulate: int = 1,
        mode: str = "jit",
        devices: Sequence[Any] | None = None,
        fused: bool | None = None,
    ):
        check_one_process()
        self.devices = list(devices or jax.local_devices())
        if mode not in MODES:
            raise ValueError(f"parallel is one of {list(MODES)}; got {mode!r}")
        check_batch(batch_size, accumulate, len(self.devices))
        draw, data, stream = feed
        self.draw, self.seed, self.batch_size, self.mode = draw, seed, batch_size, mode
        if fused and stream is not None:
            raise ValueError("streamed steps cannot be fused; leave fused out")
        on_cpu = self.devices[0].platform == "cpu"
        fuses = not on_cpu if fused is None else fused
        self.stream, self.fused = stream, fuses and stream is None
        if stream is not None:
            self._streamed(stream, int(state.step))  # refused before anything compiles
        self._mesh = Mesh(np.array(self.devices), (AXIS,))
        self._key = np.asarray(jax.random.key_data(jax.random.key(seed)))
        sizes = (batch_size, accumulate, mode, tuple(self.devices))
        program = Program(step, draw, *sizes, self.fused, stream is not None)
        if self.fused:
            self._zeros = program.zero_metrics(state, data, self._key)
        self._data = self.place(data, given_away=False)
        self._run = compiled(program)

    def place(self, tree: Any, *, given_away: bool = True) -> Any:
        """Puts arrays on every device, in the form that ``run`` takes.

        Args:
          tree: of arrays.
          given_away: they are a state, whose buffers ``run`` uses for the next; others
            are not copied where they are on the device already.
        """
        if self.mode == "jit":
            replicated = NamedSharding(self._mesh, PartitionSpec())
            copies = jax.tree.map(jnp.array, tree) if given_away else tree
            return jax.device_put(copies, replicated)
        if not jax.tree.leaves(tree):  # pmap refuses an empty tree
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

    def run(
        self, state: Any, count: int, stop: Callable[[], bool] = lambda: False
    ) -> tuple[Any, dict[str, float], int | None]:
        """Does ``count`` steps and waits for them.

        Args:
          state: placed; its buffers are given away.
          count: number of steps, >= 1; another number compiles nothing anew.
          stop: asked after every step that is a dispatch of its own; True: do no more.

        Returns:
          The placed state, metrics averaged over these steps, and the first step whose
          loss was not finite (None if there was none).
        """
        if not self.fused:
            return self._run_apart(state, count, stop)
        carry = (state, *self.place(self._zeros))
        carry = self._run(carry, self._data, np.int32(count), self._key)
        state, totals, bad = carry
        totals, bad = jax.device_get(self.fetch((totals, bad)))
        metrics = {name: float(total) / count for name, total in totals.items()}
        return state, metrics, int(bad) if bad >= 0 else None

    def _run_apart(
        self, state: Any, count: int, stop: Callable[[], bool]
    ) -> tuple[Any, dict[str, float], int | None]:
        """``run``, one dispatch per step."""
        first = int(np.asarray(self.fetch(state.step)))
        values, data = [], self._data_of(first)
        for step in range(first, first + count):
            state, metrics = self._run(state, data, np.int32(1), self._key)
            if step + 1 < first + count:
                data = self._data_of(step + 1)
            state, metrics = jax.block_until_ready((state, metrics))
            values.append(metrics)
            if stop():
                break
        values = jax.device_get([self.fetch(metrics) for metrics in values])
        bad = [first + i for i, m in enumerate(values) if not np.isfinite(m["loss"])]
        means = {name: float(np.mean([m[name] for m in values])) for name in values[0]}
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
            rows = sorted(size[0] if size else 0 for size in sizes)
            raise ValueError(
                f"stream({step}) gives arrays of {rows} rows; expected one row for "
                f"each of the {self.batch_size} examples of the global batch"
            )
        return arrays


@dataclasses.dataclass(frozen=True)
class Program:
    """What is compiled of a ``Runner``; equal ones share what is.

    Attributes:
      step, draw: as of the runner and its feed.
      batch_size, accumulate, mode, devices, fused: as of the runner.
      streamed: the draw reads ``Streamed``.
    """

    step: Step
    draw: Draw
    batch_size: int
    accumulate: int
    mode: str
    devices: tuple[Any, ...]
    fused: bool
    streamed: bool

    def global_steps(self, carry, data, count, seed_key):
        """``count`` steps in global view."""
        mesh = Mesh(np.array(self.devices), (AXIS,))
        split = NamedSharding(mesh, PartitionSpec(None, AXIS))
        examples = jnp.arange(self.batch_size).reshape(self.accumulate, -1)
        examples = jax.lax.with_sharding_constraint(examples, split)
        return self._steps(carry, data, count, seed_key, examples)

    def steps_of_a_share(self, carry, data, count, seed_key):
        """``count`` steps on one device's examples."""
        examples = jnp.arange(self.batch_size).reshape(self.accumulate, -1)
        share = examples.shape[1] // len(self.devices)
        first = jax.lax.axis_index(AXIS) * share
        examples = jax.lax.dynamic_slice_in_dim(examples, first, share, axis=1)
        with divided_over(AXIS):
            return self._steps(carry, data, count, seed_key, examples)

    def zero_metrics(self, state: TrainState, data: Any, seed_key: Array):
        """Zeros of the metrics' shapes, and "no bad step"."""
        rows = (self.accumulate, self.batch_size // self.accumulate)
        examples = jax.ShapeDtypeStruct(rows, jnp.int32)
        shapes = jax.eval_shape(self._one_step, state, data, seed_key, examples)[1]
        zeros = {name: np.zeros(x.shape, x.dtype) for name, x in shapes.items()}
        return zeros, np.int32(-1)

    def _steps(self, carry, data, count, seed_key, examples):
        """A state after one step and its metrics; fused, a carry after ``count``."""
        if not self.fused:
            return self._one_step(carry, data, seed_key, examples)

        def body(carry):
            state, totals, bad = carry
            new_state, metrics = self._one_step(state, data, seed_key, examples)
            broken = ~jnp.isfinite(metrics["loss"]) & (bad < 0)
            totals = jax.tree.map(jnp.add, totals, metrics)
            return new_state, totals, jnp.where(broken, state.step, bad)

        return jax.lax.fori_loop(0, count, lambda _, carry: body(carry), carry)

    def _one_step(self, state, data, seed_key, examples):
        key = jax.random.fold_in(jax.random.wrap_key_data(seed_key), state.step)
        batches = jax.vmap(functools.partial(self.draw, data, key))(examples)
        return self.step(state, batches, data.resident if self.streamed else data)


@functools.lru_cache(maxsize=8)
def compiled(program: Program) -> Callable[[Any, Any, Any, Array], Any]:
    """(carry, data, count, data of the seed's key) -> carry, or state and metrics.

    The carry's buffers are given away.
    """
    if program.mode == "jit":
        replicated = NamedSharding(
            Mesh(np.array(program.devices), (AXIS,)), PartitionSpec()
        )
        return jax.jit(program.global_steps, donate_argnums=0, out_shardings=replicated)
    return jax.pmap(
        program.steps_of_a_share,
        AXIS,
        donate_argnums=0,
        in_axes=(0, 0, None, None),
        devices=program.devices,
    )
