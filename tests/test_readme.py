"""What the README prints runs as printed."""

import os
import re
import subprocess
import sys

import pytest

from iin_jax.runs import configs
from iin_jax.runs.command import parse
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
LONG = ("layer_scores(", "FeatureMapFlow(", "networks.load(")  # two minutes each
RUNS = re.findall(r"python -m (?:experiments\.run|iin_jax\.runs) (\w[^\n`]+)", README)


def test_the_two_commands_stand_in_the_readme():
    lines = README.splitlines()
    assert (
        "pip install -e . && python -m experiments.run digits --workdir runs/digits"
        in (lines)
    )
    assert "pip install -e '.[test]' && python -m pytest" in lines


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(
            number,
            marks=pytest.mark.slow
            if any(name in block for name in LONG)
            else pytest.mark.thorough,
        )
        for number, block in enumerate(PYTHON)
    ],
)
def test_python_blocks_run_in_a_process_of_their_own(number, tmp_path, request):
    """Each block alone, as a reader would paste it; weights come from a folder."""
    environment = dict(os.environ)
    if "networks.load(" in PYTHON[number]:
        weights = request.getfixturevalue("shared") / "weights"
        environment["IIN_JAX_WEIGHTS"] = str(weights)
    if "import equinox" in PYTHON[number]:
        pytest.importorskip("equinox")
    finished = subprocess.run(
        [sys.executable, "-c", PYTHON[number]],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]


def test_there_are_blocks_for_arrays_and_for_networks():
    assert len(PYTHON) == 14
    assert any("iin_jax.fit(" in block for block in PYTHON)
    for name in ("from_functions", "from_linen", "from_nnx", "from_equinox"):
        assert any(f"networks.{name}(" in block for block in PYTHON)
    assert any("iin_jax.interpret(" in block for block in PYTHON)


@pytest.mark.parametrize("line", RUNS)
def test_every_command_line_parses(line, tmp_path, monkeypatch):
    name, *flags = line.split()
    if name.endswith(".py"):
        monkeypatch.chdir(tmp_path)
        (own,) = (block for block in PYTHON if "EXPERIMENT" in block)
        (tmp_path / name).write_text(own)
    assert parse(configs.find(name), flags).workdir


def test_every_path_exists():
    paths = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert paths
    for path in paths:
        assert (ROOT / path).exists(), path
