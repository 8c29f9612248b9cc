"""Compiled programs are kept in a folder of their owner's, unless JAX was told."""

import os
import stat
import subprocess
import sys

import jax
import pytest

from iin_jax.files.programs import LEAST_SECONDS
from iin_jax.runs import command
from tests.conftest import ROOT

PROGRAM = """
import jax
from iin_jax.files.programs import keep_programs
keep_programs()
values = jax.config.values
print(values["jax_compilation_cache_dir"])
print(values["jax_persistent_cache_min_compile_time_secs"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.jit(lambda x: x + 1)(1.0)
"""


def kept(cache, **changes):
    """Folder that JAX keeps programs in, and from how many seconds on."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "IIN_JAX_CACHE": str(cache)}
    for name in [name for name in variables if "_CACHE_" in name and "JAX_" in name]:
        if name != "IIN_JAX_CACHE":
            del variables[name]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**variables, **changes},
        umask=0,  # so that only what is asked for keeps others out
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split()


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform == "darwin", reason="nothing is kept there")
def test_programs_are_kept_where_their_owner_alone_reads_them(tmp_path):
    cache = tmp_path / "cache"
    folder, seconds = kept(cache)
    (made,) = (cache / "programs").iterdir()
    assert folder == str(made) and float(seconds) == LEAST_SECONDS
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert any(file.is_file() for file in made.rglob("*"))  # JAX writes there
    assert kept(cache)[0] == folder


@pytest.mark.thorough
def test_a_folder_that_jax_was_told_stays(tmp_path):
    told = tmp_path / "told"
    folder, seconds = kept(tmp_path / "cache", JAX_COMPILATION_CACHE_DIR=str(told))
    assert folder == str(told) and float(seconds) != LEAST_SECONDS
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("flags", "keeps"),
    [
        ((), True),
        (("--compilation-cache", "True"), True),
        (("--compilation-cache", "False"), False),
    ],
)
def test_a_run_keeps_programs_unless_it_is_told_not_to(
    monkeypatch, tmp_path, flags, keeps
):
    asked = []
    monkeypatch.setattr(command, "keep_programs", lambda: asked.append(True))
    monkeypatch.setattr(command, "check_new", lambda run: None)
    monkeypatch.setattr(command, "run_to_end", lambda run: 0)
    start = ["digits", "--smoke", "--workdir", str(tmp_path / "run"), *flags]
    assert command.main(start) == 0
    assert asked == [True] * keeps


def test_a_cache_folder_that_cannot_be_made_is_one_line(monkeypatch, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("IIN_JAX_CACHE", str(tmp_path / "file"))
    usual = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", None)
    try:
        start = ["digits", "--smoke", "--workdir", str(tmp_path / "run")]
        assert command.main(start) != 0
    finally:
        jax.config.update("jax_compilation_cache_dir", usual)
    error = capsys.readouterr().err
    assert str(tmp_path / "file") in error and error.count("\n") == 1
