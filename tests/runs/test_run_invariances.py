"""What a run learns of its classifier's layers is kept; damage is learned again."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from iin_jax.networks import Classifier, ClassifierNetwork
from iin_jax.runs import invariances
from tests.conftest import normal


class Pictures:
    """Random images, with what a run asks of a set of images."""

    def __init__(self, count):
        self.all = np.tanh(np.asarray(normal((count, 8, 8, 3))))

    def __len__(self):
        return len(self.all)

    def images(self, rows):
        return self.all[rows]


def test_the_first_the_middle_and_the_cut_are_chosen():
    def chosen(names, cut):
        network: Any = SimpleNamespace(layers=lambda: dict.fromkeys(names), cut=cut)
        return invariances.chosen_layers(network)

    assert chosen("abcdefg", "e") == ["a", "c", "e"]
    assert chosen("ab", "b") == ["a", "b"]
    assert chosen("abc", "a") == ["a"]


@pytest.mark.thorough
def test_what_is_whole_is_kept_and_damage_is_said(
    autoencoder, tmp_path, monkeypatch, capsys
):
    module = Classifier(4, 6, 8, 3, 2, 4)
    variables = jax.jit(module.init)(jax.random.key(0), jnp.zeros((2, 8, 8, 3)))
    monkeypatch.setattr(invariances, "autoencoder_of", lambda run: autoencoder)
    run: Any = SimpleNamespace(
        network=ClassifierNetwork(module, variables),
        folder=SimpleNamespace(path=tmp_path),
        experiment=SimpleNamespace(seed=0, train=SimpleNamespace(steps=2)),
        latents=SimpleNamespace(images=lambda split: Pictures(60)),
        images=SimpleNamespace(test_set=Pictures(20)),
    )
    assert list(invariances.learned_invariances(run)) == ["down1", "down2", "latent"]
    files = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    capsys.readouterr()
    grids = invariances.invariance_grids(run)
    assert "no longer distinguishes" not in capsys.readouterr().out
    title, cells = grids["invariances_down2"]
    assert title.startswith("down2: ") and cells.shape == (6, 8, 8, 8, 3)
    damaged = tmp_path / "invariances" / "down2" / "invariances.safetensors"
    damaged.write_bytes(b"damaged")
    invariances.learned_invariances(run)
    said = capsys.readouterr().out
    assert "invariances of down2 are learned again: " in said
    assert said.count("no longer distinguishes") == 1
    again = tmp_path / "invariances" / "down1" / "invariances.safetensors"
    assert again.read_bytes() == files[again]
