"""The command line that prepares a published set."""

import importlib.util
import runpy
import sys

import pytest
import tensorflow_datasets as tfds

from iin_jax.data import SOURCES, SourceOptions
from iin_jax.data.prepare import main


def pretend(monkeypatch, tensorflow):
    """Pretends that TensorFlow is installed, or that it is not."""
    find = importlib.util.find_spec

    def find_spec(name, package=None):
        return tensorflow if name == "tensorflow" else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)


def test_a_download_that_fails_is_one_line(tmp_path, capsys, monkeypatch):
    def fail(self, **settings):
        assert settings == {"file_format": "array_record"}
        raise tfds.core.download.download_manager.NonMatchingChecksumError("full\nup")

    pretend(monkeypatch, tensorflow=object())
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    assert main(["celeb_a", "--root", str(tmp_path)]) == 2
    line = capsys.readouterr().err
    assert line == "error: celeb_a could not be prepared: full\n"


def test_preparing_without_tensorflow_is_one_line(tmp_path, capsys, monkeypatch):
    pretend(monkeypatch, tensorflow=None)
    root = str(tmp_path / "new")
    assert main(["mnist", "--root", root]) == 2
    line = capsys.readouterr().err
    assert "preparing mnist needs tensorflow" in line and line.count("\n") == 1
    assert "pip install -e '.[prepare]'" in line
    with pytest.raises(ValueError, match="preparing mnist needs tensorflow"):
        SOURCES["mnist"](SourceOptions(root=root, download=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mnits"], "no set 'mnits'; did you mean mnist"),
        (["digits"], "no set 'digits'; "),
        ([], "required"),
        (["mnist", "--rot", "x"], "--rot"),
    ],
)
def test_bad_arguments_are_one_line(arguments, message, capsys):
    assert main(arguments) == 2
    line = capsys.readouterr().err
    assert message in line and line.startswith("error: ") and line.count("\n") == 1


def test_it_runs_as_a_module_and_explains_itself(monkeypatch, capsys):
    name = "iin_jax.data.prepare"
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    monkeypatch.delitem(sys.modules, name)
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module(name, run_name="__main__")
    output = capsys.readouterr().out
    assert not stopped.value.code
    assert "TFDS_DATA_DIR" in output and "celeb_a" in output
