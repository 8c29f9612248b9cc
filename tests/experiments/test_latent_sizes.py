"""The script for any number of latent dimensions."""

import json

import numpy as np
import pytest

from experiments.latent_sizes import SIDE, main, random_layer
from iin_jax.command_line import EXIT_BAD_INPUT, exit_status


def test_dead_units_are_0_for_every_image_and_the_others_vary():
    network = random_layer(40, 25, seed=0)
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (200, SIDE, SIDE, 1)).astype(np.float32)
    z = np.asarray(network.encode(images))
    assert z.shape == (200, 40) and not z[:, :25].any()
    assert (z.std(axis=0)[25:] > 0).mean() > 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["12", "--root", "missing"], "there is no folder"),
        (["1"], "0 of 1 units cannot be dead"),
        (["12", "--dead", "11"], "11 of 12 units cannot be dead"),
        (["12", "--images", "1"], "can form no pair"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_bad_input_is_one_line(shared, capsys, tmp_path, arguments, message):
    root = str(shared / "data" / "tfds")
    places = {"missing": str(tmp_path / "missing")}
    given = ["--root", root, *(places.get(each, each) for each in arguments)]
    assert exit_status(main, given) == EXIT_BAD_INPUT
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and message in lines[0]


@pytest.mark.thorough
def test_it_measures_a_small_latent_with_dead_units(shared, capsys):
    root = str(shared / "data" / "tfds")
    assert main(["12", "--dead", "4", "--images", "300", "--root", root]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert sum(figures["sizes"].values()) == 12
    assert set(figures["digit"]) == {"T", "T_0", "linear"}
    assert figures["certificate"]["round_trip_max_abs"] < 1e-3
    assert any("never vary" in line for line in figures["said"])
