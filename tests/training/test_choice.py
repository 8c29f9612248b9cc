"""The best state on held-out data is kept, and a resumed run keeps the same one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from iin_jax.training.checkpoints import Checkpoints
from iin_jax.training.loop import Choice, train
from iin_jax.training.parallel import Feed, Runner
from iin_jax.training.state import TrainState

SCORES = [1.0, 1.5, 3.0, 2.0, 4.0, 0.0, 0.5, 0.5, 0.5]  # -loss at steps 0, 2, 4, ...
BITS = [2.0, 1.9, 1.9, 1.8, 2.5, 1.7, 1.7, 1.7, 1.7]  # the fifth is over the limit


def counting_runner(state):
    """Adds 1 to the parameter at every step."""

    def step(state, batches, data):
        del batches, data
        gradients = jax.tree.map(lambda x: -jnp.ones_like(x), state.params)
        return state.apply_gradients(optax.sgd(1.0), gradients), {"loss": jnp.zeros(())}

    def draw(data, key, examples):
        return data["x"][examples % 2]

    data = {"x": jnp.zeros((2, 1))}
    devices = jax.devices()[:1]
    return Runner(step, Feed(draw, data), state, batch_size=2, seed=0, devices=devices)


def validate(state):
    index = int(state.step) // 2
    return {"loss": -SCORES[index], "bits_per_dim": BITS[index]}


def run(steps=16, patience=10, checkpoints=None):
    state = TrainState.create(optax.sgd(1.0), {"x": jnp.zeros(())})
    return train(
        counting_runner(state),
        state,
        steps,
        checkpoint_every=2,
        checkpoints=checkpoints,
        validate=validate,
        choice=Choice(patience=patience),
    )


def test_the_best_state_within_the_limit_is_returned():
    state = run()
    assert int(state.best["step"]) == 4 and float(state.params["x"]) == 4.0
    assert int(state.step) == 16


def test_a_limit_may_be_exceeded_by_its_share():
    state = TrainState.create(optax.sgd(1.0), {"x": jnp.zeros(())})
    choice = Choice(limited={"bits_per_dim": 0.0, "confusion": 0.03})
    state = choice.first(state, {"loss": 1.0, "bits_per_dim": 2.0, "confusion": -7.0})
    better = {"loss": 0.5, "bits_per_dim": 1.9, "confusion": -6.8}  # 7 less 3 %: 6.79
    assert float(choice.better(state, better).best["score"]) == 0.5
    for worse in ({"confusion": -6.78}, {"bits_per_dim": 2.01}):
        kept = choice.better(state, {**better, **worse})
        assert float(kept.best["score"]) == 1.0


def test_patience_counts_from_the_lowest_loss_limit_or_not():
    assert int(run(patience=2).step) == 12  # the lowest loss is at step 8
    assert float(run(patience=1).params["x"]) == 4.0


def test_the_first_state_is_a_candidate(monkeypatch):
    monkeypatch.setattr(f"{__name__}.SCORES", [9.0, *SCORES[1:]])
    assert float(run().params["x"]) == 0.0


def test_a_resumed_run_keeps_the_same_state(tmp_path):
    whole = run(checkpoints=None)
    checkpoints = Checkpoints(tmp_path / "part")
    run(steps=6, checkpoints=checkpoints)
    resumed = run(checkpoints=checkpoints)
    checkpoints.close()
    jax.tree.map(np.testing.assert_array_equal, whole.best, resumed.best)
    np.testing.assert_array_equal(whole.params["x"], resumed.params["x"])


def test_a_choice_needs_a_validation():
    state = TrainState.create(optax.sgd(1.0), {"x": jnp.zeros(())})
    with pytest.raises(ValueError, match="only be chosen by a validation"):
        train(counting_runner(state), state, 2, choice=Choice())
