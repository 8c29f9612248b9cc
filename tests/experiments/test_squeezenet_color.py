"""A real pretrained network through all stages, in smoke size, and its bad input."""

import json

import numpy as np
import pytest

import iin_jax
from iin_jax.runs.command import main

WEIGHTS = "squeezenet1_1_torchvision_fp16.safetensors"


@pytest.fixture(scope="module")
def run(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "squeezenet"
    code = main(
        [
            *("squeezenet_color", "--smoke", "--workdir", str(folder)),
            *("--network.weights", str(shared / "weights" / WEIGHTS)),
            *("--network.layer", "features.12.squeeze"),
            *("--data.image-size", "32", "--network.latent-dim", "64"),
        ]
    )
    assert code == 0
    return folder


@pytest.mark.slow
def test_the_scorecard_of_a_pretrained_network(run):
    card = json.loads((run / "scorecard.json").read_text())
    assert sum(card["sizes"].values()) == 64
    assert card["certificate"]["latents"] == 50
    assert card["certificate"]["prediction_agreement"] == 1.0
    assert card["certificate"]["round_trip_max_abs"] < 1e-3
    layers = card["layer_scores"]
    network = iin_jax.load(run).network
    assert list(layers) == list(network.layers())
    for layer, entry in layers.items():
        assert tuple(entry["shape"]) == network.layers()[layer]
        for concept in ("digit", "color"):
            low, high = entry["score_null"][concept]
            assert entry["scores"][concept] > high > low
    assert card["floor"]["digit"] > 0.7 and card["floor"]["color"] < 0.15
    assert "floor_inputs" not in card
    assert {"layers.png", "sizes.png", "maps_digit.png", "maps_color.png"} <= {
        path.name for path in (run / "figures").iterdir()
    }
    assert "Which layer encodes what" in (run / "report.html").read_text()


@pytest.mark.slow
def test_its_interpreter_is_the_network_itself(run, shared):
    interpreter = iin_jax.load(run)
    network = iin_jax.networks.load(
        "squeezenet1_1",
        shared / "weights" / WEIGHTS,
        "features.12.squeeze",
        image_size=32,
    )
    images = np.tanh(np.random.default_rng(0).standard_normal((3, 32, 32, 3)))
    images = images.astype(np.float32)
    z = interpreter.encode(images)
    assert z.shape == (3, 1, 1, 64)
    np.testing.assert_array_equal(z, network.encode(images))
    whole = network.features_pure(network.variables, images)["flatten"]
    through = interpreter.decode(interpreter.from_factors(interpreter.to_factors(z)))
    np.testing.assert_allclose(through, whole, atol=2e-3)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--network.layer", "features.12"], "has 4608 numbers (3, 3, 512); set"),
        (["--network.layer", "features.1x"], "did you mean features.1"),
        (["--network.name", "resnet19"], "did you mean resnet1"),
        (["--network.weights", "nowhere.npz"], "no weights at nowhere.npz"),
        (["--data.image-size", "8"], "8x8 are too small for squeezenet1_1"),
        (
            ["--flow.kind", "feature_map", "--concept.sizes", "6", "4"],
            "concept.sizes are multiples of the map's 9 positions; got [6, 4]",
        ),
    ],
)
def test_bad_input_fails_before_anything_is_written(
    shared, tmp_path, capsys, flags, message
):
    weights = str(shared / "weights" / WEIGHTS)
    command = ["squeezenet_color", "--smoke", "--workdir", str(tmp_path / "run")]
    if "--network.weights" not in flags:
        flags = [*flags, "--network.weights", weights]
    assert main([*command, *flags]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "run" / "config.json").exists()


def test_missing_weights_are_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("IIN_JAX_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("IIN_JAX_CACHE", str(tmp_path / "cache"))
    command = ["squeezenet_color", "--workdir", str(tmp_path / "run")]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "squeezenet1_1-b8a52dc0.pth" in error and "download" in error
    assert error.count("\n") == 1
