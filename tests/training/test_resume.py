"""Kill it at any moment and it goes on as if nothing had happened."""

import os
import random
import subprocess
import sys
import time

import chex
import pytest

from iin_jax.weights import load_tree
from tests.conftest import ROOT


def start(folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
        [sys.executable, "tests/training/kill_check.py", str(folder)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def last_step(folder):
    steps = [
        int(p.name) for p in (folder / "checkpoints").glob("*") if p.name.isdigit()
    ]
    return max(steps, default=0)


@pytest.mark.thorough
def test_killed_three_times_equals_uninterrupted(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    uninterrupted = start(whole)
    kills = 0
    for _ in range(3):
        process = start(killed)
        assert process.stdout.readline() == "started\n"
        before = last_step(killed)
        deadline = time.monotonic() + 60
        while last_step(killed) <= before and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(random.uniform(0.0, 0.5))
        kills += process.poll() is None
        process.kill()
        process.wait()
    assert kills == 3
    assert 0 < last_step(killed) < 1500
    assert not (killed / "final.safetensors").exists()
    resumed = start(killed)
    for process in (uninterrupted, resumed):
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors[-3000:]
    chex.assert_trees_all_equal(
        load_tree(whole / "final.safetensors"), load_tree(killed / "final.safetensors")
    )
    records = [(folder / "record.json").read_text() for folder in (whole, killed)]
    assert records[0] == records[1]
