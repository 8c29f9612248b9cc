"""``python -m iin_jax.convert``: every kind of source, and what it refuses."""

import subprocess
import sys

import jax
import numpy as np
import pytest

import iin_jax
from iin_jax.convert.__main__ import main
from iin_jax.networks import load_network
from tests.conftest import ROOT, normal

CKPT = "model-120000.ckpt"


@pytest.mark.thorough
def test_a_pretrained_network_becomes_a_folder_that_needs_no_torch(shared, tmp_path):
    pytest.importorskip("torch")
    source = shared / "weights" / "resnet20-12fca82f.th"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "iin_jax.convert", source, tmp_path / "resnet20"),
            *("--network", "resnet20", "--layer", "layer3"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{tmp_path / 'resnet20'}: resnet20, latents (8, 8, 64)\n"
    code = (
        "import sys, types\n"
        "def find_spec(name, path, target=None):\n"
        "    if name.partition('.')[0] == 'torch': raise ImportError(name)\n"
        "sys.meta_path.insert(0, types.SimpleNamespace(find_spec=find_spec))\n"
        "import iin_jax, numpy\n"
        f"net = iin_jax.networks.load('resnet20', {str(tmp_path / 'resnet20')!r})\n"
        "print(net.decode(net.encode(numpy.zeros((1, 32, 32, 3), 'float32'))).shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "(1, 10)\n"
    images = np.tanh(normal((2, 32, 32, 3)))
    direct = iin_jax.networks.load("resnet20", source, "layer3")
    np.testing.assert_array_equal(
        load_network(tmp_path / "resnet20").encode(images), direct.encode(images)
    )


def test_a_flow_there_and_back(shared, tmp_path):
    pytest.importorskip("torch")
    source = shared / "reference_checkpoints" / "flow_small_factor"
    arguments = ["--network", "flow", "--sizes", "digit=5", "color=4"]
    assert main([str(source / CKPT), str(tmp_path / "flow"), *arguments]) == 0
    interpreter = iin_jax.load(tmp_path / "flow")
    assert interpreter.layout.as_dict() == {"digit": 5, "color": 4, "residual": 7}
    data = np.load(source / "data.npz")
    parts = interpreter.to_factors(data["x"].reshape(-1, 16))
    for name, number in (("digit", 0), ("color", 1), ("residual", 2)):
        expected = data[f"z{number}"].reshape(len(data["x"]), -1)
        np.testing.assert_allclose(parts[name], expected, atol=1e-4)
    back = tmp_path / "back.ckpt"
    assert main([str(tmp_path / "flow"), str(back), "--network", "flow"]) == 0
    _, variables = iin_jax.convert.load_published_flow(back)
    for a, b in zip(
        jax.tree.leaves(variables), jax.tree.leaves(interpreter.variables), strict=True
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("name", "kind"), [("ae_tiny", "autoencoder"), ("clf_tiny", "classifier")]
)
def test_published_networks(shared, tmp_path, name, kind):
    pytest.importorskip("torch")
    source = shared / "reference_checkpoints" / name
    assert main([str(source / CKPT), str(tmp_path / kind), "--network", kind]) == 0
    network = load_network(tmp_path / kind)
    data = np.load(source / "data.npz")
    images = np.moveaxis(data["x"], 1, -1)
    expected = data["mean" if kind == "autoencoder" else "z"]
    z = network.encode(images)
    np.testing.assert_allclose(z, expected.reshape(z.shape), atol=1e-4)


def test_the_list_names_every_network(capsys):
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 + len(iin_jax.networks.ARCHITECTURES)
    (line,) = [line for line in lines if line.startswith("resnet50 ")]
    assert "resnet50-0676ba61.pth (102,530,333 bytes)" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.npz", "OUT", "--network", "resnet51"], "did you mean resnet5"),
        (["nothing.npz", "OUT", "--network", "resnet50"], "no weights at nothing.npz"),
        (["nothing.npz", "TMP", "--network", "resnet50"], "exists already"),
        (["x", "OUT", "--network", "vgg11", "--sizes", "a=1"], "those of a flow"),
        (["TMP", "OUT", "--network", "flow", "--sizes", "a=1"], "has its own"),
        (["x", "OUT", "--network", "flow", "--layer", "a"], "--layer and --image-size"),
        (["x", "OUT", "--network", "autoencoder", "--image-size", "32"], "pretrained"),
        (["x", "OUT", "--network", "classifier", "--layer", "a"], "pretrained"),
        (["TMP", "OUT", "--network", "flow"], "no interpreter in"),
        (["TMP", "OUT"], "--network"),
        (["TMP", "OUT", "--network", "flow", "--layr", "x"], "layr"),
        (["x", "OUT", "--network", "vgg11", "--image-size", "big"], "image-size"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, arguments, message):
    places = {"OUT": str(tmp_path / "out"), "TMP": str(tmp_path)}
    assert main([places.get(argument, argument) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("sizes", [["digit=20"], ["digit"], ["digit=2", "digit=3"]])
def test_bad_sizes(shared, tmp_path, capsys, sizes):
    pytest.importorskip("torch")
    source = shared / "reference_checkpoints" / "flow_small_factor" / CKPT
    arguments = [str(source), str(tmp_path / "out"), "--network", "flow"]
    assert main([*arguments, "--sizes", *sizes]) == 2
    assert "sizes" in capsys.readouterr().err


def test_without_torch_the_extra_is_named(shared, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    source = shared / "weights" / "resnet20-12fca82f.th"
    assert main([str(source), str(tmp_path / "out"), "--network", "resnet20"]) == 2
    assert "iin_jax[torch]" in capsys.readouterr().err
