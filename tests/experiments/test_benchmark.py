"""The benchmark: it proves before it times, and its PyTorch version is the method."""

import dataclasses
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from experiments.benchmark import equality
from experiments.benchmark.cases import (
    SMALL,
    STEPS,
    BenchmarkOptions,
    Problem,
    Task,
    flops,
)
from experiments.benchmark.contract import RATE
from experiments.benchmark.launch import main
from experiments.benchmark.processes import Worker, WorkerError
from tests.conftest import ROOT

torch = pytest.importorskip("torch")

from experiments.benchmark import problem, torch_model, torch_side  # noqa: E402
from experiments.benchmark.jax_side import JaxSide  # noqa: E402

FLAGS = ["--batches", "4", "--repetitions", "3", "--seconds", "0.02"]
REFERENCE = Problem(dim=16, num_blocks=3, hidden_dim=32, concepts=(5, 4))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """PyTorch's threads would fight with JAX's in this process."""
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """A task for each side of a small problem, its files written."""
    folder = str(tmp_path_factory.mktemp("benchmark"))
    task = Task("jax", folder, SMALL, "highest", "fused", "default")
    problem.write(task, (4,))
    return task, dataclasses.replace(task, side="torch_eager")


@pytest.fixture(scope="module")
def ours(tasks):
    return JaxSide(tasks[0]).results()


def command(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "experiments.benchmark", "--small", *arguments],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def check_measurements(results, sides, cases):
    """Every figure is there, for every case and side, and fits the others."""
    rows = results["measurements"]
    assert [(row["case"], row["side"]) for row in rows] == [
        (case, side) for case in cases for side in sides
    ]
    for row in rows:
        assert len(row["seconds"]) == 3 and min(row["seconds"]) > 0
        assert row["median_seconds"] == pytest.approx(np.median(row["seconds"]))
        assert 1 <= row["threads"] <= results["cores"]
        assert row["flops"] == flops(row["case"], 4, SMALL)
    assert set(results["sides"]) == set(sides)
    for side in results["sides"].values():
        assert side["matmul_flops"] > 1e6
        assert 1e8 < side["memory_at_start_bytes"] <= side["peak_memory_bytes"]
    assert results["sides"]["jax"]["compile_seconds"] > 0.1


@pytest.mark.thorough
def test_the_command_proves_times_and_reports(tmp_path):
    out = tmp_path / "times.json"
    cases = ["pair_step_drawn", "update", "encode"]
    printed = command(*FLAGS, "--no-compile", "--cases", *cases, "--out", str(out))
    results = json.loads(out.read_text())
    check_measurements(results, ["jax", "torch_eager"], cases)
    assert set(results["equality"]["torch_eager"]) == set(equality.LIMITS)
    assert "| case | batch | JAX, ms | torch eager, ms | torch eager / JAX |" in printed
    ours, theirs = (row["median_seconds"] for row in results["measurements"][:2])
    lines = printed.splitlines()
    line = next(x for x in lines if x.startswith("| pair_step_drawn | 4 |"))
    assert line.endswith(f"| {theirs / ours:.2f} |")


@pytest.mark.slow
def test_every_case_with_torch_compile(tmp_path):
    out = tmp_path / "times.json"
    command(*FLAGS, "--out", str(out))
    results = json.loads(out.read_text())
    sides = ["jax", "torch_eager", "torch_compile"]
    check_measurements(results, sides, BenchmarkOptions().cases)
    assert results["sides"]["torch_compile"]["compile_seconds"] > 1.0


def test_both_sides_compute_the_same(tasks, ours):
    side = torch_side.TorchSide(tasks[1])
    errors = equality.check("torch_eager", ours, side.results())
    assert max(errors.values()) < 2e-5
    assert sum(name.startswith("gradient/") for name in ours) == len(
        list(side.flow.parameters())
    )


@pytest.mark.parametrize(
    "name", ["1.t.1.main.2.bias", "0.scale", "1.s.0.main.4.weight"]
)
def test_altered_weights_are_noticed(tasks, ours, name):
    side = torch_side.TorchSide(tasks[1])
    side.state[f"realnvp.flow.0.flow.{name}"].view(-1)[0] += 0.01
    with pytest.raises(equality.UnequalError, match="do not compute the same: "):
        equality.check("torch_eager", ours, side.results())


def test_the_pytorch_process_holds_no_jax():
    side = "experiments.benchmark.torch_side"
    code = f"import sys, {side}; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("alter", ["loss", "spread", "optimiser"])
def test_all_that_is_timed_is_proved(tasks, ours, alter, monkeypatch):
    side = torch_side.TorchSide(tasks[1])
    if alter == "loss":
        loss = side.unsupervised_loss
        side.unsupervised_loss = lambda flow, z: loss(flow, z) + flow(z)[1].mean()
    elif alter == "spread":
        half = len(side.encoder.dense_encode["sub_layers"][0].bias) // 2
        side.encoder.dense_encode["sub_layers"][0].bias.data[half] += 0.1
    else:
        side._optimizer = lambda p: torch.optim.Adam(p, RATE, (0.9, 0.9))
    named = {"loss": "unsupervised_loss", "spread": "encode", "optimiser": "adam"}
    with pytest.raises(equality.UnequalError, match=f"same: {named[alter]} "):
        equality.check("torch_eager", ours, side.results())


def test_an_altered_encoder_is_noticed(tasks, ours):
    side = torch_side.TorchSide(tasks[1])
    next(side.encoder.parameters()).data.view(-1)[0] += 0.1
    with pytest.raises(equality.UnequalError, match="same: encode "):
        equality.check("torch_eager", ours, side.results())


LOSS = np.float32(3.0)
GRADIENT = np.linspace(-2.0, 2.0, 8, dtype=np.float32)
TINY = np.full(8, 3e-5, np.float32)


SCALARS = {"loss", "gradients", "gradients_norm", "logits"}


def results_with(**changed):
    rest = dict.fromkeys(equality.LIMITS.keys() - SCALARS, np.zeros(2))
    arrays = {"loss": LOSS, "gradient/a": GRADIENT, "gradient/b": TINY, **rest}
    return arrays | {name.replace("__", "/"): x for name, x in changed.items()}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"loss": LOSS + np.float32(1e-4)}, "loss 3.3e-05 .limit 1e-05."),
        ({"gradient__a": GRADIENT + np.float32(3e-4)}, "gradients 0.0003"),
        ({"gradient__b": 0.0 * TINY}, "same: gradients_norm 1 "),
        ({"gradient__b": np.nan * TINY}, "gradients inf"),
        ({"inverse": np.full(2, 2e-4)}, "inverse 0.0002"),
        ({"log_det": np.zeros(3)}, "different arrays: 1 .* log_det"),
        ({"gradient__c": TINY}, "different arrays: 1 .* gradient/c"),
    ],
)
def test_altered_results_are_noticed(changed, message):
    assert max(equality.check("x", results_with(), results_with()).values()) == 0.0
    with pytest.raises(equality.UnequalError, match=message):
        equality.check("torch_eager", results_with(), results_with(**changed))


@pytest.fixture(scope="module")
def published(shared):
    """The PyTorch flow with a published checkpoint's weights, and what it computes."""
    folder = shared / "reference_checkpoints" / "flow_small_factor"
    state = torch.load(folder / "model-120000.ckpt", weights_only=True)["model"]
    flow = torch_model.TorchFlow(REFERENCE)
    flow.load_state_dict(state)
    with np.load(folder / "data.npz") as arrays:
        data = {name: torch.from_numpy(x).squeeze() for name, x in arrays.items()}
    return flow, data, load_file(folder / "train_steps.safetensors")


def test_the_pytorch_flow_computes_what_the_published_one_does(published):
    flow, data, _ = published
    with torch.no_grad():
        z_tilde, log_det = flow(data["x"])
        back = flow.inverse(data["z_random"])
    expected = torch.cat([data["z0"], data["z1"], data["z2"]], dim=1)
    torch.testing.assert_close(z_tilde, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(log_det, data["logdet"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(back, data["x_from_z_random"], rtol=1e-5, atol=1e-5)


def test_the_pytorch_loss_and_gradients_are_the_published_ones(published):
    flow, data, steps = published
    factor = data["step0/factor"]
    shared = torch.nn.functional.one_hot(factor.abs(), 3).bool()
    shared[factor < 0] = ~shared[factor < 0]
    sizes = torch.tensor(list(REFERENCE.factor_sizes.values()))
    rho = 0.975 * shared.repeat_interleave(sizes, dim=1)
    flow.zero_grad()
    loss = torch_model.pair_loss(
        flow, torch.cat([data["step0/x1"], data["step0/x2"]]), rho
    )
    loss.backward()
    # The published loss leaves out the terms that do not depend on parameters.
    constants = 0.5 * (1 - rho**2).log().sum(1).mean() + 16 * torch_model.LOG_2PI
    torch.testing.assert_close(
        loss - constants, data["step0/loss"], rtol=1e-5, atol=1e-5
    )
    for name, parameter in flow.named_parameters():
        expected = torch.from_numpy(steps[f"grad0/{name}"])
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-4, atol=1e-5)


def test_operations_are_what_pytorch_counts(tasks):
    from torch.utils.flop_counter import FlopCounterMode

    side = torch_side.TorchSide(tasks[1])
    counted = {}
    for case in (*STEPS, "forward", "inverse", "encode"):
        run = side.build(case, 4)
        with FlopCounterMode(display=False) as counter:
            run(1)
        counted[case] = counter.get_total_flops()
    assert counted == {case: flops(case, 4, SMALL) for case in counted}
    assert flops("forward", 1, Problem()) / 2 == pytest.approx(26.8e6, rel=0.01)


def test_a_process_that_fails_or_dies_is_named_in_one_line(tmp_path):
    task = Task("torch_eager", str(tmp_path), SMALL, "highest", "fused", "default")
    with Worker(task, BenchmarkOptions(device="cpu")) as worker:
        with pytest.raises(WorkerError, match=r"^torch_eager, describe .*flow\.ckpt"):
            worker.ask("describe")
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(WorkerError, match=r"ended during describe .SIGKILL."):
            worker.ask("describe")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batches", "0"], "--batches are numbers >= 1"),
        (["--batches", "x"], "--batches"),
        (["--cases"], "--cases must name some of pair_step, "),
        (["--cases", "pear_step"], "invalid choice 'pear_step'"),
        (["--repetitions", "0"], "--repetitions must be at least 1"),
        (["--seconds", "0"], "--seconds positive"),
        (["--repetition", "3"], "--repetition"),
        (["--out", "no/such/folder/x.json"], "there is no folder"),
        (["--out", "."], "is a folder"),
    ],
)
def test_bad_arguments_are_one_line(arguments, message, capsys):
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == "" and output.err.startswith("error: ")
    assert message in output.err and output.err.count("\n") == 1


def test_without_pytorch_the_extra_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main([]) == 2
    assert capsys.readouterr().err == (
        "error: the comparison needs PyTorch, which is not installed: "
        "pip install 'iin_jax[torch]'\n"
    )


@pytest.mark.slow
def test_pretrained_networks_compute_the_same_on_both_sides(tmp_path):
    pytest.importorskip("tests.networks.torch_models").torchvision_models()
    small = dataclasses.replace(SMALL, backbones=("squeezenet1_1",))
    task = Task("jax", str(tmp_path), small, "highest", "fused", "default")
    problem.write(task, (2,))
    ours = JaxSide(task).results()
    side = torch_side.TorchSide(dataclasses.replace(task, side="torch_eager"))
    theirs = side.results()
    assert np.ptp(ours["logits/squeezenet1_1"]) > 0
    equality.check("torch", ours, theirs)
    theirs["logits/squeezenet1_1"] = 1.01 * theirs["logits/squeezenet1_1"]
    with pytest.raises(equality.UnequalError, match="logits"):
        equality.check("torch", ours, theirs)
    for sides in (JaxSide(task), side):
        sides.prepare("squeezenet1_1", 2, 1)
        assert sides.timed(1) > 0
    assert flops("squeezenet1_1", 2, small) == round(4 * 349e6 * (64 / 224) ** 2)
