"""Four devices, pmap and accumulation equal one device at the same global batch."""

import dataclasses
import json
import os
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from iin_jax.training.checkpoints import Checkpoints
from iin_jax.training.loop import NonFiniteLossError, train
from iin_jax.training.parallel import Feed, Program, Runner, compiled
from iin_jax.training.state import TrainState
from iin_jax.training.step import mean_gradients
from tests.compilations import compilations
from tests.conftest import ROOT, normal


def measure(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    finished = subprocess.run(
        [sys.executable, "tests/training/parallel_check.py", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    return json.loads(finished.stdout.splitlines()[-1])


def check(results, variants):
    assert {"flow", "batch-norm", "spectral norm"} <= set(results)
    for case, found in results.items():
        assert found.pop("moved") > 1e-4  # training did something
        for variant, difference in found.items():
            assert difference["params"] <= 1e-6, (case, variant)
            assert difference["loss"] <= 1e-6, (case, variant)
    assert sum(map(len, results.values())) == variants


@pytest.mark.thorough
def test_devices_pmap_and_accumulation_equal_one_device():
    check(measure(), 8)


@pytest.mark.slow
def test_every_variant_equals_one_device():
    check(measure("all"), 29)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "tpu"}, "parallel is one of"),
        ({"batch_size": 3}, "does not divide into 1 micro-batches on 2 devices"),
        ({"accumulate": 3}, "does not divide into 3 micro-batches"),
        ({"batch_size": 0}, "does not divide"),
        ({"stream": lambda step: np.zeros(8), "fused": True}, "cannot be fused"),
        ({"stream": lambda step: np.zeros((4, 2))}, r"arrays of \[4\] rows; .* the 8"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    def step(state, batches, data):
        return state, {"loss": jnp.float32(0.0)}

    state = TrainState.create(optax.sgd(0.1), {"w": jnp.zeros(2)})
    with pytest.raises(ValueError, match=message):
        settings = {"batch_size": 8, "seed": 0, **settings}
        stream = settings.pop("stream", None)
        feed = Feed(lambda data, key, examples: examples, {}, stream)
        Runner(step, feed, state, **settings)


TX = optax.sgd(0.1)
POOL = np.asarray(normal((40, 3)))
SEED, COUNT = 5, 8


def chosen(key, example):
    return jax.random.bits(jax.random.fold_in(key, example)) % len(POOL)


def draw_resident(data, key, examples):
    index = jax.vmap(lambda example: chosen(key, example))(examples)
    return {"x": data["shift"] + data["pool"][index]}


def draw_streamed(data, key, examples):
    return {"x": data.resident["shift"] + data.batch[examples]}


def stream(step):
    """The rows that ``draw_resident`` takes, chosen on the host."""
    key = jax.random.fold_in(jax.random.key(SEED), step)
    return POOL[[int(chosen(key, example)) for example in range(COUNT)]]


def frozen_step(state, batches, data):
    def loss(params, batch):
        value = jnp.square(batch["x"] @ params["w"] - data["target"]).mean()
        return value, {"loss": value}

    gradients, metrics = mean_gradients(loss, state.params, batches)
    return state.apply_gradients(TX, gradients), metrics


def feeds(mode, **settings):
    """The same run with all data on the device, and streamed."""
    state = TrainState.create(TX, {"w": jnp.ones(3)})
    shift = {"shift": jnp.float32(0.25), "target": jnp.float32(2.0)}
    shared = {"batch_size": COUNT, "seed": SEED, "mode": mode, **settings}
    pool = {**shift, "pool": jnp.asarray(POOL)}
    resident = Runner(frozen_step, Feed(draw_resident, pool), state, **shared)
    from_host = Feed(draw_streamed, shift, stream)
    streamed = Runner(frozen_step, from_host, state, **shared)
    return resident, streamed, state


@pytest.mark.parametrize(("mode", "accumulate"), [("jit", 1), ("pmap", 2)])
def test_streamed_batches_train_as_resident_ones(mode, accumulate, tmp_path):
    resident, streamed, state = feeds(mode, accumulate=accumulate)
    results = [runner.run(runner.place(state), 6) for runner in (resident, streamed)]
    (whole, loss, _), (other, other_loss, _) = results
    chex.assert_trees_all_equal(*map(jax.device_get, (whole, other)))
    assert loss == other_loss and loss["loss"] > 0.1
    for step in (0, 4):
        chex.assert_trees_all_equal(resident.batch(step), streamed.batch(step))
    train(streamed, state, 4, checkpoints=Checkpoints(tmp_path))
    resumed = train(streamed, state, 6, checkpoints=Checkpoints(tmp_path))
    chex.assert_trees_all_equal(resumed, jax.device_get(streamed.fetch(other)))


def test_the_loss_and_parameters_are_those_of_the_frozen_target():
    _, streamed, state = feeds("jit")
    placed, metrics, _ = streamed.run(streamed.place(state), 1)
    x = 0.25 + stream(0)
    residual = x @ np.ones(3) - 2.0
    assert metrics["loss"] == pytest.approx(np.square(residual).mean(), rel=1e-5)
    expected = 1.0 - 0.1 * 2.0 * (residual[:, None] * x).mean(0)
    np.testing.assert_allclose(placed.params["w"], expected, rtol=1e-5)


def test_nan_in_a_stream_is_blamed_on_its_examples():
    def broken(step):
        rows = stream(step)
        rows[3] = np.nan if step == 2 else rows[3]
        return rows

    state = TrainState.create(TX, {"w": jnp.ones(3)})
    shift = {"shift": jnp.float32(0.0), "target": jnp.zeros(())}
    from_host = Feed(draw_streamed, shift, broken)
    runner = Runner(frozen_step, from_host, state, batch_size=COUNT, seed=SEED)
    with pytest.raises(NonFiniteLossError, match=r"at step 2 .*examples \[3\]"):
        train(runner, state, 4)


def program(**changes):
    devices = tuple(jax.local_devices())
    made_of = (frozen_step, draw_resident, COUNT, 1, "jit", devices, False, False)
    return dataclasses.replace(Program(*made_of), **changes)


def test_equal_programs_are_compiled_once():
    assert program() == program() and hash(program()) == hash(program())
    assert compiled(program()) is compiled(program())
    one_device = tuple(jax.local_devices()[:1])
    for change in (
        {"step": lambda *arguments: frozen_step(*arguments)},
        {"draw": draw_streamed},
        {"batch_size": 2 * COUNT},
        {"accumulate": 2},
        {"mode": "pmap"},
        {"devices": one_device},
        {"fused": True},
        {"streamed": True},
    ):
        assert program(**change) != program(), change
        assert compiled(program(**change)) is not compiled(program()), change


@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_other_seeds_and_data_share_the_program(mode):
    """And draw other batches, from other data."""
    state = TrainState.create(TX, {"w": jnp.ones(3)})
    losses, counts = [], []
    for seed, shift in ((0, 0.25), (1, 0.25), (0, 0.5)):
        data = {"shift": jnp.float32(shift), "target": jnp.float32(2.0)}
        feed = Feed(draw_resident, {**data, "pool": jnp.asarray(POOL)})
        settings = {"batch_size": 2 * COUNT, "seed": seed, "mode": mode}
        with compilations() as count:
            runner = Runner(frozen_step, feed, state, **settings)
            _, metrics, _ = runner.run(runner.place(state), 2)
        losses.append(metrics["loss"])
        counts.append(count[0])
    assert len({*losses}) == 3
    assert counts[0] > 0
    if mode == "jit":  # pmap compiles the copying of every state and data
        assert counts[1:] == [0, 0]


@pytest.mark.parametrize("fused", [False, True])
def test_a_runner_stops_after_the_step_in_which_it_is_asked(fused):
    state = TrainState.create(TX, {"w": jnp.ones(3)})
    data = {"shift": jnp.float32(0.25), "target": jnp.float32(2.0)}
    feed = Feed(draw_resident, {**data, "pool": jnp.asarray(POOL)})
    settings = {"batch_size": COUNT, "seed": SEED, "fused": fused}
    runner = Runner(frozen_step, feed, state, **settings)
    asked = []
    placed, metrics, bad = runner.run(
        runner.place(state), 5, lambda: asked.append(0) or len(asked) == 2
    )
    done = int(placed.step)
    assert done == (5 if fused else 2) and bad is None  # fused, it is one dispatch
    alone, expected, _ = runner.run(runner.place(state), done)
    chex.assert_trees_all_equal(*map(jax.device_get, (placed, alone)))
    assert metrics == expected
