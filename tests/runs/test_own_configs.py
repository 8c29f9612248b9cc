"""Config files: shipped ones, and a user's own with its own data set and flow."""

import json
import subprocess
import sys

import pytest

import iin_jax
from iin_jax.data import SOURCES
from iin_jax.flows import FLOWS
from iin_jax.runs import configs
from iin_jax.runs.command import main
from tests.conftest import ROOT

OWN = '''"""Bars of my own, on a flow of my own."""

import numpy as np

import iin_jax
from iin_jax.runs.settings import (
    DataSettings,
    Experiment,
    FlowSettings,
    NetworkSettings,
)


def bars(options):
    rng, size = np.random.default_rng(0), options.image_size
    upright = np.arange(160) % 2
    images = np.zeros((160, size, size, 1), np.uint8)
    for image, is_upright in zip(images, upright):
        line = rng.integers(size)
        place = (slice(None), line) if is_upright else (line, slice(None))
        image[place] = rng.integers(100, 256)
    labels = {"upright": upright.astype(np.int32)}
    return iin_jax.data.Dataset("bars", images, labels, {}, "made here")


class Couplings(iin_jax.Chain):
    dim: int = 8
    hidden_dim: int = 16
    zero_init: bool = False

    def setup(self):
        options = {"zero_init": self.zero_init}
        self.parts = [
            iin_jax.AffineCoupling(self.hidden_dim, 1, flip, **options)
            for flip in (False, True)
        ]

    def bijectors(self):
        return self.parts


iin_jax.data.SOURCES["bars"] = bars
iin_jax.flows.FLOWS["couplings"] = Couplings
EXPERIMENT = Experiment(
    data=DataSettings(source="bars", image_size=8, coloring="none"),
    network=NetworkSettings(
        latent_dim=8, num_down=2, base=4, perceptual="none", discriminator="none"
    ),
    flow=FlowSettings(kind="couplings"),
)
BUDGETS = {"tiny": EXPERIMENT}
'''


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A config file as a user writes it; what it registers goes away again."""
    monkeypatch.setitem(SOURCES, "bars", None)
    monkeypatch.setitem(FLOWS, "couplings", None)
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    return path


@pytest.mark.slow
def test_an_own_data_set_and_flow_run_from_the_users_file(own, tmp_path, capsys):
    flags = ["--smoke", "--workdir", str(tmp_path / "run"), "--budget", "tiny"]
    assert main([str(own), *flags]) == 0
    assert "Report:" in capsys.readouterr().out
    card = json.loads((tmp_path / "run" / "scorecard.json").read_text())
    assert list(card["sizes"]) == ["upright", "residual"]
    assert card["certificate"]["round_trip_max_abs"] < 1e-3
    assert card["command"].startswith(f"python -m iin_jax.runs {own}")
    settings = json.loads((tmp_path / "run" / "config.json").read_text())
    assert settings["name"] == "mine"
    assert settings["experiment"]["data"]["source"] == "bars"
    flow = iin_jax.load(tmp_path / "run").flow
    assert type(flow).__name__ == "Couplings" and flow.hidden_dim == 16
    assert main([str(own), *flags]) == 0
    assert "nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data.source", "barss"], "got 'barss'; did you mean bars?"),
        (["--flow.kind", "coupling"], "got 'coupling'; did you mean couplings"),
        (["--budget", "tinny"], "mine has no budget 'tinny'; did you mean tiny"),
    ],
)
def test_misspelt_names_of_ones_own_offer_the_nearest(
    own, tmp_path, capsys, flags, message
):
    assert main([str(own), "--workdir", str(tmp_path / "run"), *flags]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no config file"),
        ("EXPERIMENT = (", "is not Python: '(' was never closed (line 1)"),
        ("import iin_jax", "needs an EXPERIMENT"),
        ("EXPERIMENT = {}", "it has dict"),
        ("EXPERIMENT = unknown", "cannot be loaded: NameError"),
        (
            "from iin_jax.runs.settings import *\nEXPERIMENT = Experiment()\n"
            "BUDGETS = [EXPERIMENT]",
            "is a dictionary budget -> Experiment",
        ),
        (
            "from iin_jax.runs.settings import *\nEXPERIMENT = Experiment()\n"
            "COMPARED = {'one': {'network.steps': 1}}",
            "of at least two runs named by single words",
        ),
        (
            "from iin_jax.runs.settings import *\nEXPERIMENT = Experiment()\n"
            "COMPARED = {'one': {}, 'two': {'network.stepz': 1}}",
            "changes no setting",
        ),
    ],
)
def test_a_file_that_is_no_config_is_one_line(tmp_path, capsys, text, message):
    path = tmp_path / "bad.py"
    if text is not None:
        path.write_text(text)
    assert main([str(path), "--workdir", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert str(path) in error and message in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_shipped_config_and_its_path_are_the_same():
    path = ROOT / "experiments" / "configs" / "celeba_attributes.py"
    assert configs.find("celeba_attributes") == configs.find(str(path))


@pytest.mark.thorough
def test_a_wheel_has_the_shipped_configs_and_no_other_top_level(tmp_path):
    pytest.importorskip("setuptools")
    tracked = subprocess.run(
        ["git", "ls-files", "setup.py", "*.md", "*.txt", "iin_jax", "experiments"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if tracked.returncode:
        pytest.skip("no git checkout to build from")
    for name in tracked.stdout.splitlines():
        place = tmp_path / "source" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation"]
    target = tmp_path / "installed"
    subprocess.run(
        [*pip, "--target", str(target), str(tmp_path / "source")],
        check=True,
        capture_output=True,
    )
    top = {path.name for path in target.iterdir() if path.suffix != ".dist-info"}
    assert top == {"iin_jax"}
    shipped = target / "iin_jax" / "runs" / "shipped"
    assert sorted(path.stem for path in shipped.glob("*.py")) == configs.names()
