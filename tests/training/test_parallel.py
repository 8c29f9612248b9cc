"""Four devices, pmap and accumulation equal one device at the same global batch."""

import json
import os
import subprocess
import sys

import jax.numpy as jnp
import optax
import pytest

from iin_jax.training.parallel import Runner
from iin_jax.training.state import TrainState
from tests.conftest import ROOT


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
    assert {"flow", "autoencoder"} <= set(results)
    for case, found in results.items():
        assert found.pop("moved") > 1e-4  # training did something
        for variant, difference in found.items():
            assert difference["params"] <= 1e-6, (case, variant)
            assert difference["loss"] <= 1e-6, (case, variant)
    assert sum(map(len, results.values())) == variants


def test_devices_pmap_and_accumulation_equal_one_device():
    check(measure(), 6)


@pytest.mark.slow
def test_every_variant_equals_one_device():
    check(measure("all"), 21)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "tpu"}, "parallel is one of"),
        ({"batch_size": 3}, "does not divide into 1 micro-batches on 2 devices"),
        ({"accumulate": 3}, "does not divide into 3 micro-batches"),
        ({"batch_size": 0}, "does not divide"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    def step(state, batches, axis_name):
        return state, {"loss": jnp.float32(0.0)}

    state = TrainState.create(optax.sgd(0.1), {"w": jnp.zeros(2)})
    with pytest.raises(ValueError, match=message):
        Runner(
            step,
            lambda data, key, examples: examples,
            {},
            state,
            **({"batch_size": 8, "seed": 0} | settings),
        )
