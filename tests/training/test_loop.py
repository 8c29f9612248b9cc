"""The loop: same batches after a resume, NaN stops it, damage is noticed."""

import json
import os
import signal

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from iin_jax.training.checkpoints import Checkpoints
from iin_jax.training.log import MetricsLog
from iin_jax.training.loop import (
    NonFiniteLossError,
    StoppedError,
    TrainingInterrupt,
    train,
)
from iin_jax.training.parallel import Feed, Runner
from iin_jax.training.state import TrainState
from iin_jax.training.step import mean_gradients

TX = optax.adam(1e-2)


def draw(data, key, examples):
    def one(example):
        return jax.random.normal(jax.random.fold_in(key, example), (3,))

    return {"x": jax.vmap(one)(examples) + data["shift"]}


def make_step(poison_at=None):
    def step(state, batches, data):
        def loss(params, batch):
            value = jnp.square(batch["x"] @ params["w"] - 1.0).mean()
            if poison_at is not None:
                value = jnp.where(state.step == poison_at, jnp.nan, value)
            return value, {"loss": value}

        gradients, metrics = mean_gradients(loss, state.params, batches)
        return state.apply_gradients(TX, gradients), metrics

    return step


def fresh(poison_at=None, shift=0.0):
    state = TrainState.create(TX, {"w": jnp.ones(3)})
    data = {"shift": jnp.float32(shift)}
    runner = Runner(make_step(poison_at), Feed(draw, data), state, batch_size=8, seed=1)
    return runner, state


def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path):
    runner, state = fresh()
    whole = train(runner, state, 60, every=10)
    train(runner, state, 35, every=10, checkpoints=Checkpoints(tmp_path))
    resumed = train(runner, state, 60, every=10, checkpoints=Checkpoints(tmp_path))
    assert int(resumed.step) == 60
    chex.assert_trees_all_equal(jax.device_get(whole), jax.device_get(resumed))


def test_training_that_is_complete_does_nothing(tmp_path):
    runner, state = fresh()
    train(runner, state, 20, checkpoints=Checkpoints(tmp_path))
    before = sorted(p.name for p in tmp_path.iterdir())
    again = train(runner, state, 20, checkpoints=Checkpoints(tmp_path))
    assert int(again.step) == 20
    assert before == sorted(p.name for p in tmp_path.iterdir())


def test_nan_stops_with_step_and_keeps_the_last_good_checkpoint(tmp_path):
    runner, state = fresh(poison_at=33)
    with pytest.raises(
        NonFiniteLossError, match=r"at step 33 \(batch of 8\).*diverged"
    ):
        train(
            runner,
            state,
            60,
            every=10,
            checkpoint_every=10,
            checkpoints=Checkpoints(tmp_path),
        )
    kept = Checkpoints(tmp_path).restore(state)
    assert int(kept.step) == 30
    assert np.isfinite(kept.params["w"]).all()


def test_a_gradient_that_is_not_finite_saves_nothing(tmp_path):
    def step(state, batches, data):
        bad = jnp.where(state.step == 29, jnp.nan, 1.0)
        gradients = {"w": bad * jnp.ones(3)}
        return state.apply_gradients(TX, gradients), {"loss": jnp.float32(1.0)}

    state = TrainState.create(TX, {"w": jnp.ones(3)})
    data = {"shift": jnp.float32(0.0)}
    runner = Runner(step, Feed(draw, data), state, batch_size=8, seed=1)
    with pytest.raises(NonFiniteLossError, match="not finite after 30 steps"):
        train(runner, state, 60, checkpoint_every=10, checkpoints=Checkpoints(tmp_path))
    assert int(Checkpoints(tmp_path).restore(state).step) == 20


def test_checkpoints_come_every_so_many_steps(tmp_path):
    runner, state = fresh()
    saved = []
    train(
        runner,
        state,
        100,
        every=50,
        checkpoint_every=30,
        validate=lambda state: saved.append(int(state.step)) or {},
    )
    assert saved == [30, 60, 90, 100]
    with pytest.raises(ValueError, match="at least 1; got 10, 50 and 0"):
        train(runner, state, 10, checkpoint_every=0)


def test_nan_in_the_inputs_is_blamed_on_them():
    runner, state = fresh(shift=float("nan"))
    with pytest.raises(NonFiniteLossError, match=r"step 0 .*examples \[0, 1, 2"):
        train(runner, state, 10)


def damage(folder):
    """Flips one byte in the middle of the largest file of a checkpoint."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 0x10
    largest.write_bytes(bytes(content))


def test_a_damaged_checkpoint_is_passed_over_and_named(tmp_path):
    runner, state = fresh()
    train(
        runner,
        state,
        40,
        every=10,
        checkpoint_every=20,
        checkpoints=Checkpoints(tmp_path),
    )
    for leaf in (tmp_path / "40" / "state").rglob("*"):
        if leaf.is_file():
            leaf.write_bytes(b"")
    said = []
    restored = Checkpoints(tmp_path, say=said.append).restore(state)
    assert int(restored.step) == 20
    assert len(said) == 1
    assert "checkpoint 40 is damaged" in said[0] and "step 20" in said[0]
    train(runner, state, 30, checkpoints=Checkpoints(tmp_path, say=said.append))
    assert int(Checkpoints(tmp_path).restore(state).step) == 30
    assert len(said) == 1


def test_a_wrong_digest_is_damage(tmp_path):
    _, state = fresh()
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state)
    files = [p for p in (tmp_path / "0" / "digests").rglob("*") if p.is_file()]
    (record,) = [path for path in files if "'w'" in path.read_text()]
    digests = json.loads(record.read_text())
    name = next(name for name in digests if "'w'" in name)
    digests[name] = "0" * 64
    record.write_text(json.dumps(digests))
    with pytest.raises(
        ValueError, match=r"digest differs for .*'w'.*Remove the folder"
    ):
        Checkpoints(tmp_path).restore(state)


def test_a_flipped_byte_never_restores_silently(tmp_path):
    _, state = fresh()
    big = state.replace(params={"w": jnp.arange(3000.0)})
    Checkpoints(tmp_path).save(big)
    damage(tmp_path / "0" / "state")
    with pytest.raises(ValueError, match="no usable checkpoint"):
        Checkpoints(tmp_path).restore(big)


def test_no_checkpoint_is_no_error(tmp_path):
    assert Checkpoints(tmp_path).restore(fresh()[1]) is None


def test_sigterm_saves_and_stops(tmp_path):
    runner, state = fresh()

    def validate(state):
        if int(state.step) == 20:
            os.kill(os.getpid(), signal.SIGTERM)
        return {}

    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(StoppedError, match=r"stopped at step \d+ of 1000"):
        train(
            runner,
            state,
            1000,
            every=10,
            checkpoint_every=20,
            checkpoints=Checkpoints(tmp_path),
            validate=validate,
        )
    assert signal.getsignal(signal.SIGTERM) is handler
    assert int(Checkpoints(tmp_path).restore(state).step) in (20, 30)


def signalled(runner, step, number):
    """A runner that gets a signal while the step before this one runs."""
    usual = runner._data_of

    def data_of(next_step):
        if next_step == step:
            os.kill(os.getpid(), number)
        return usual(next_step)

    runner._data_of = data_of
    return runner


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_training_goes_on_from_that_very_step(tmp_path, number):
    runner, state = fresh()
    whole = train(runner, state, 40, every=10)
    with pytest.raises((StoppedError, KeyboardInterrupt), match="13 of 40") as error:
        train(
            signalled(runner, 13, number),
            state,
            40,
            every=10,
            checkpoints=Checkpoints(tmp_path),
        )
    assert isinstance(error.value, StoppedError)
    assert int(Checkpoints(tmp_path).restore(state).step) == 13
    runner, state = fresh()
    resumed = train(runner, state, 40, every=10, checkpoints=Checkpoints(tmp_path))
    chex.assert_trees_all_equal(jax.device_get(whole), jax.device_get(resumed))


def test_without_checkpoints_ctrl_c_gives_the_state_so_far():
    runner, state = fresh()
    expected = train(runner, state, 13, every=10)
    with pytest.raises(KeyboardInterrupt, match="stopped at step 13 of 40") as error:
        train(signalled(runner, 13, signal.SIGINT), state, 40, every=10)
    assert isinstance(error.value, TrainingInterrupt)
    chex.assert_trees_all_equal(*map(jax.device_get, (error.value.result, expected)))


def test_metrics_are_logged_once_per_step_after_a_resume(tmp_path):
    runner, state = fresh()
    log = MetricsLog(tmp_path, "stage")
    log.write(30, {"loss": 99.0})  # after the last checkpoint of a killed run
    log.close()
    for steps in (25, 40):
        log = MetricsLog(tmp_path, "stage")
        train(
            runner,
            state,
            steps,
            every=10,
            log=log,
            checkpoints=Checkpoints(tmp_path / "checkpoints"),
            validate=lambda state: {"loss": 1.5},
        )
        log.close()
    with (tmp_path / "metrics.jsonl").open("a") as lines:
        lines.write('{"stage": "stage", "st')  # a line that a kill cut short
    log = MetricsLog(tmp_path, "stage")
    log.write(50, {"loss": 0.5})
    log.close()
    read = MetricsLog.read(tmp_path, "stage")
    assert [line["step"] for line in read] == [10, 20, 25, 30, 40, 50]
    assert read[-2]["validation_loss"] == 1.5
    assert read[3]["step"] == 30 and read[3]["loss"] < 99.0
    assert all(np.isfinite(line["loss"]) for line in read)
    assert list((tmp_path / "events" / "stage").glob("*tfevents*"))


def test_example_draws_do_not_depend_on_the_batch_size():
    small, _ = fresh()
    state = TrainState.create(TX, {"w": jnp.ones(3)})
    data = {"shift": jnp.float32(0.0)}
    large = Runner(make_step(), Feed(draw, data), state, batch_size=16, seed=1)
    np.testing.assert_array_equal(large.batch(5)["x"][:8], small.batch(5)["x"])
