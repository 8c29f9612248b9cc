"""The command line: a whole run in smoke size, and every bad input."""

import dataclasses
import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from inspect import getdoc

import numpy as np
import pytest

import iin_jax
from iin_jax.concepts import pair_table
from iin_jax.files.json_files import read_description, write_description
from iin_jax.runs import configs
from iin_jax.runs.command import main, parse, with_fast_cpu
from iin_jax.runs.networks import reused_network
from iin_jax.runs.run import Run
from iin_jax.runs.settings import ConceptSettings, Experiment, smoke
from iin_jax.runs.stages import network_stage
from iin_jax.training import cpu
from tests.conftest import QUICK_COMPILER, ROOT

STAGES = ["network", "latents", "sizes", "flow", "evaluate", "report"]


def command(*arguments):
    return [sys.executable, "-m", "experiments.run", *map(str, arguments)]


def environment():
    options = f"{QUICK_COMPILER},{cpu.MULTI_OUTPUT_FUSION}=true"  # with what a run sets
    return {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": f"--xla_backend_extra_options={options}",
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A whole run of ``digits --smoke``, as a user starts it."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    done = subprocess.run(
        command("digits", "--smoke", "--workdir", folder),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done


def test_a_run_says_device_stages_and_report(finished):
    folder, done = finished
    smoke, device = done.stdout.splitlines()[:2]
    assert "figures mean nothing" in smoke and device.startswith("device: 1 x cpu")
    for number, stage in enumerate(STAGES, start=1):
        assert f"[{number}/6] {stage}" in done.stdout
    assert done.stdout.rstrip().endswith(f"Report: {folder / 'report.html'}")
    assert "it/s" in done.stderr or "s/it" in done.stderr  # bars with time left


def test_a_run_leaves_the_promised_files(finished):
    folder, _ = finished
    for name in (
        "config.json",
        "network/network.safetensors",
        "interpreter/interpreter.json",
        "metrics.jsonl",
        "scorecard.json",
        "report.html",
        "figures/swap_digit.png",
    ):
        assert (folder / name).is_file(), name
    assert list((folder / "events").rglob("*tfevents*"))
    assert not list(folder.rglob("*.unfinished"))


def test_the_scorecard_says_all_it_should(finished):
    folder, _ = finished
    card = json.loads((folder / "scorecard.json").read_text())
    assert sum(card["sizes"].values()) == 32
    assert list(card["sizes"]) == ["digit", "color", "residual"]
    assert card["estimator"] == "given" and card["sizes"]["color"] == 4
    assert set(card["scores"]) == {"digit", "color"}
    estimates = card["estimates"]
    assert set(estimates) == {"shared_rank", "calibrated", "pooled", "correlation"}
    assert {sum(each["sizes"].values()) for each in estimates.values()} == {32}
    assert set(card["compared"]["digit"]) == {"linear", "start"}
    assert isinstance(card["unbeaten"], list) and card["split"] == "test"
    assert card["training"]["gaussian_bits_per_dim"] > 0
    certificate = card["certificate"]
    assert certificate["round_trip_max_abs"] < 1e-4
    assert certificate["log_det_max_abs"] < 1e-3
    assert certificate["decode_max_abs"] < 1e-4
    assert card["swap_pairs"] == 100
    for concept, other in (("digit", "color"), ("color", "digit")):
        swap = card["swap"][concept]
        assert np.isfinite([swap["transferred"], swap["others_kept"][other]]).all()
    assert set(card["floor"]) == set(card["floor_inputs"]) == {"digit", "color"}
    assert set(card["leakage"]) == {"digit", "color", "residual", "z", "pca"}
    probed = card["leakage"]["z"]["digit"]
    assert {"figure", "mlp", "nearest", "chance", "measure"} <= set(probed)
    assert set(card["linear"]) == {"digit", "color"}
    assert card["truth_l1"]["color"]["reconstructed"] > 0
    assert card["latents"]["images_per_second"] > 0 and card["peak_memory_mb"] > 100
    bits = card["nll_bits_per_dim"]
    assert {"train", "test", "gaussian_train", "gaussian_test"} <= set(bits)
    assert set(card["seconds"]) == {*STAGES[:-1]}
    assert {"versions", "seed", "device", "test_indices"} <= set(card)


def test_test_images_and_colours_train_nothing(finished):
    folder, _ = finished
    card = json.loads((folder / "scorecard.json").read_text())
    settings = smoke(configs.find("digits").experiment)
    run = Run.of("digits", settings, folder, "")
    test = set(card["test_indices"])
    assert not test & set(run.images.train_set.item.tolist())
    assert not test & set(run.images.validation_set.item.tolist())
    assert test == set(run.images.test_set.item.tolist())
    for purpose in ("test", "swap a", "swap b"):
        fresh = run.images.view.colors(purpose, 200)
        distance = np.abs(fresh[:, None] - run.images.view.train_colors[None]).max(-1)
        assert distance.min() > 0


def test_a_finished_run_loads_as_an_interpreter(finished):
    folder, _ = finished
    interpreter = iin_jax.load(folder)
    images = np.full((2, 16, 16, 3), -1.0, np.float32)
    assert interpreter.swap(images, images, ["digit"]).shape == (2, 16, 16, 3)


def test_a_second_start_does_nothing_again(finished, capsys):
    folder, _ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")}
    assert main(["digits", "--smoke", "--workdir", str(folder)]) == 0
    output = capsys.readouterr().out
    assert "nothing to do" in output and "report.html" in output
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")}


def test_other_settings_are_refused_by_name(finished, capsys):
    folder, _ = finished
    flags = ["--train.steps", "33", "--data.palette", "50"]
    code = main(["digits", "--smoke", "--workdir", str(folder), *flags])
    error = capsys.readouterr().err
    assert code == 2 and error.count("\n") == 1
    assert "train.steps: 20 there, 33 now" in error
    assert "data.palette: 64 there, 50 now" in error and "nothing was resumed" in error


def test_a_workdir_in_use_is_refused(tmp_path, capsys):
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["digits", "--workdir", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "in use by another run" in error and error.count("\n") == 1


def test_a_workdir_that_cannot_be_written_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["digits", "--workdir", str(tmp_path / "file" / "run")]) == 2
    error = capsys.readouterr().err
    assert "cannot be written" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digit", "--workdir", "x"], "no experiment 'digit'; did you mean 'digits'"),
        (["digits"], "--workdir DIR is missing"),
        (["digits", "--workdr", "x"], "--workdir DIR is missing"),
        (
            ["digits", "--workdir", "x", "--train.step", "3"],
            "did you mean --train.steps",
        ),
        (["digits", "--workdir", "x", "--wrokdir", "3"], "did you mean --workdir"),
        (["digits", "--workdir", "x", "--concept.sizzes=3"], "mean --concept.sizes"),
    ],
)
def test_misspelt_names_offer_the_nearest(arguments, message, capsys, tmp_path):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_wrong_value_is_an_error_without_traceback(capsys):
    assert main(["digits", "--workdir", "x", "--train.steps", "many"]) == 2
    error = capsys.readouterr().err
    assert "train.steps" in error and "Traceback" not in error
    assert error.startswith("error: ") and error.count("\n") == 1 and "many" in error


def test_without_arguments_the_experiments_are_listed(capsys):
    assert main([]) == 0
    assert "digits" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--concept.sizes", "20", "20"], "which sum to 40"),
        (["--concept.sizes", "20"], "concept.sizes gives"),
        (["--flow.sigma", "1.5"], "similarity in (0, 1)"),
        (["--network.latent-dim", "1"], "network.latent_dim must be at least 2"),
        (["--train.accumulate", "3"], "train.batch_size of 16 does not divide into 3"),
        (["--network.steps", "0"], "network.steps must be at least 1"),
        (["--train.checkpoint-every", "0"], "train.checkpoint_every must be at least"),
        (["--concept.score-pairs", "1"], "concept.score_pairs must be at least 10"),
        (["--evaluate.pairs", "0"], "evaluate.pairs must be at least 1"),
        (["--network.num-down", "0"], "network.num_down must be at least 1"),
        (["--data.image-size", "18"], "multiple of 2 ** network.num_down = 8"),
        (["--concept.recolored"], "latents.colors >= 2"),
        (["--latents.colors", "0"], "must be at least 1"),
        (["--network.from", "nowhere"], "no network in nowhere"),
        (["--evaluate.invariances", "x"], "an autoencoder gives no answer"),
    ],
)
def test_impossible_settings_are_refused_at_once(tmp_path, capsys, flags, message):
    workdir = str(tmp_path / "run")
    assert main(["digits", "--smoke", "--workdir", workdir, *flags]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "run" / "config.json").exists()  # nothing to be held to


def test_a_finished_network_is_reused(finished, tmp_path):
    folder, _ = finished
    settings = smoke(configs.find("digits").experiment)
    network = dataclasses.replace(settings.network, from_run=str(folder))
    run = Run.of("digits", dataclasses.replace(settings, network=network), tmp_path, "")
    network_stage(run)
    weights = "network/network.safetensors"
    assert (tmp_path / weights).read_bytes() == (folder / weights).read_bytes()


def test_a_network_that_may_have_seen_the_test_images_is_refused(finished, tmp_path):
    folder, _ = finished
    settings = smoke(configs.find("digits").experiment)
    network = dataclasses.replace(settings.network, from_run=str(folder))
    for change, message in (({"seed": 5}, "seed: 0 there, 5 now"), ({}, None)):
        other = dataclasses.replace(settings, network=network, **change)
        run = Run.of("digits", other, tmp_path, "")
        if message is None:
            assert reused_network(run, folder).latent_shape == (32,)
        else:
            with pytest.raises(ValueError, match=message):
                reused_network(run, folder)


def test_a_damaged_or_foreign_cache_is_made_again(finished, tmp_path, capsys):
    folder, _ = finished
    for name in ("network", "latents"):
        shutil.copytree(folder / name, tmp_path / name)
    settings = smoke(configs.find("digits").experiment)
    run = Run.of("digits", settings, tmp_path, "")
    whole = np.array(run.latents.cached("validation").mean)
    assert "again" not in capsys.readouterr().out
    path = tmp_path / "latents" / "validation" / "mean.npy"
    path.write_bytes(path.read_bytes()[:-1000])
    np.testing.assert_allclose(run.latents.cached("validation").mean, whole, atol=1e-5)
    assert "encoding again" in capsys.readouterr().out
    other = Run.of("digits", dataclasses.replace(settings, seed=3), tmp_path, "")
    other.latents.cached("validation")
    said = capsys.readouterr().out
    assert "other data" in said
    assert "encoding again" in said


def test_other_images_are_not_resumed(finished, tmp_path):
    folder, _ = finished
    run = Run.of("digits", smoke(configs.find("digits").experiment), tmp_path, "")
    shutil.copy(folder / "data.json", tmp_path)
    run.folder.check_data(run.images.describe())
    known = read_description(tmp_path / "data.json")
    write_description(tmp_path / "data.json", {**known, "digest": "0" * 64})
    with pytest.raises(ValueError, match="have changed since"):
        run.folder.check_data(run.images.describe())


@pytest.mark.thorough
def test_a_report_that_is_damaged_is_made_again(finished, tmp_path, capsys):
    folder = shutil.copytree(finished[0], tmp_path / "run")
    run = Run.of("digits", smoke(configs.find("digits").experiment), folder, "")
    assert not any(run.folder.fault(stage) for stage in STAGES)
    whole = (folder / "report.html").read_text()
    damaged = "not as it was written"  # spaces, so that no picture's bytes read so
    (folder / "report.html").write_text(whole.replace("</h1>", f"{damaged}</h1>", 1))
    card = (folder / "scorecard.json").read_bytes()
    assert main(["digits", "--smoke", "--workdir", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "[6/6] report: report.html is not as it was written; done again" in said
    assert "[5/6] evaluate: complete" in said
    assert damaged not in (folder / "report.html").read_text()
    assert (folder / "scorecard.json").read_bytes() == card
    assert not any(run.folder.fault(stage) for stage in STAGES)


@pytest.mark.parametrize("recolored", [False, True])
def test_the_published_defaults_give_every_entry_a_partner(recolored, tmp_path):
    """As few colours per image as the defaults have, on the real digits."""
    settings = dataclasses.replace(
        Experiment(), concept=ConceptSettings(recolored=recolored)
    )
    run = Run.of("digits", settings, tmp_path, "")
    images = run.images.train_set
    differ = ("color",) if recolored else ()
    table = pair_table(images.codes, differ=differ, identity=images.variant)
    assert table.order.shape == (2 + recolored, len(images))
    assert np.bincount(images.color).min() >= 7


@pytest.mark.thorough
def test_sigterm_saves_and_prints_the_line_that_resumes(tmp_path):
    arguments = (
        "digits",
        "--workdir",
        tmp_path,
        "--smoke",
        "--network.steps",
        "100000",
    )
    process = subprocess.Popen(
        command(*arguments),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    saved = tmp_path / "network" / "checkpoints"
    deadline = time.monotonic() + 90
    while not any(path.name.isdigit() for path in saved.glob("*")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    step = int(output.split("stopped at step ")[1].split()[0])
    assert (saved / str(step)).is_dir()
    line = output.splitlines()[-1].strip()
    expected = " ".join(map(str, arguments))
    assert line == f"python -m experiments.run {expected}"
    stages = json.loads((tmp_path / "stages.json").read_text())
    assert stages["network"]["complete"] is False


def test_help_explains_every_field(capsys):
    with pytest.raises(SystemExit) as stopped:
        parse(configs.find("digits"), ["--help"])
    assert stopped.value.code == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for section in dataclasses.fields(Experiment):
        kind = type(getattr(Experiment(), section.name))
        if not dataclasses.is_dataclass(kind):
            continue
        classes = [cls for cls in kind.__mro__ if dataclasses.is_dataclass(cls)]
        meanings = " ".join(
            (getdoc(cls) or "").split("Attributes:")[1] for cls in classes
        )
        for field in dataclasses.fields(kind):
            flag = {"from_run": "from"}.get(field.name, field.name).replace("_", "-")
            assert f"--{section.name}.{flag}" in text
            meaning = meanings.split(f"{field.name}: ")[1].split("\n  ")[0]
            first = " ".join(meaning.split()[:4])
            assert first in text, first


@pytest.mark.parametrize("name", configs.names())
def test_every_config_has_a_docstring_and_budgets(name):
    config = configs.find(name)
    assert config.description and isinstance(config.experiment, Experiment)
    assert isinstance(config.budgets["cpu"], Experiment)


@pytest.mark.slow
def test_a_classifier_runs_through_all_stages(finished, tmp_path):
    flags = ["--smoke", "--network.kind", "classifier", "--concept.recolored"]
    flags += ["--latents.colors", "2", "--evaluate.invariances", str(finished[0])]
    assert main(["digits", "--workdir", str(tmp_path), *flags]) == 0
    card = json.loads((tmp_path / "scorecard.json").read_text())
    assert 0.0 <= card["certificate"]["prediction_agreement"] <= 1.0
    assert card["swap"]["color"]["transferred"] > 0.0  # read in z: logits show none
    layers = card["invariances"]
    assert len(layers) == 3 and list(layers)[-1] == "latent"
    for layer in layers:
        assert (tmp_path / "figures" / f"invariances_{layer}.png").is_file()


@pytest.mark.slow
def test_a_run_killed_at_three_random_moments_ends_the_same(finished, tmp_path):
    """Any stage, any moment: network and flow are those of the uninterrupted run."""
    folder, _ = finished
    start = command("digits", "--smoke", "--workdir", tmp_path)
    for _ in range(3):
        process = subprocess.Popen(
            start,
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(random.uniform(5.0, 18.0))
        process.kill()
        process.wait()
    done = subprocess.run(start, cwd=ROOT, env=environment(), capture_output=True)
    assert done.returncode == 0
    for name in ("network/network.safetensors", "interpreter/flow.safetensors"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_a_run_starts_over_unless_all_is_set(monkeypatch):
    started = []
    monkeypatch.setattr(os, "execv", lambda *process: started.append(process))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(cpu, "TRIED_SINCE", (0, 0))  # whatever jaxlib is here
    for name in ("GLIBC_TUNABLES", "XLA_FLAGS"):
        monkeypatch.setenv(name, "")  # so that it is as before in the end
        monkeypatch.delenv(name)
    with_fast_cpu()
    assert started == [(sys.executable, sys.orig_argv)]
    assert "hugetlb" in os.environ["GLIBC_TUNABLES"]
    assert cpu.MULTI_OUTPUT_FUSION in os.environ["XLA_FLAGS"]
    with_fast_cpu()
    assert len(started) == 1


@pytest.mark.thorough
def test_a_run_starts_over_once_with_what_makes_cpus_fast(tmp_path):
    """In the same process, so that signals and locks stay where they are."""
    code = (
        "import os, runpy, sys\n"
        "names = ('GLIBC_TUNABLES', 'XLA_FLAGS')\n"
        "print(os.getpid(), *map(os.environ.get, names), flush=True)\n"
        "from iin_jax.runs.command import with_fast_cpu\n"
        "with_fast_cpu()\n"
    )
    settings = environment()
    settings.pop("GLIBC_TUNABLES", None)
    settings.pop("XLA_FLAGS", None)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=settings,
        capture_output=True,
        text=True,
    )
    first, second = (line.split() for line in done.stdout.splitlines())
    assert first[1:] == ["None", "None"], done.stderr
    assert second[0] == first[0]
    fusion = "--xla_backend_extra_options=xla_cpu_use_multi_output_fusion=true"
    assert second[1].startswith("glibc.malloc.hugetlb=1:") and second[2] == fusion


def test_flags_of_a_pretrained_network_are_not_ignored(tmp_path, capsys):
    flags = ["--network.layer", "features.3"]
    assert main(["digits", "--workdir", str(tmp_path), *flags]) == 2
    assert "--network.kind pretrained" in capsys.readouterr().err
