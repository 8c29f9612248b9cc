"""Checkpoints as trainers save them: wrappers, prefixes, records beside the weights."""

import argparse
import pathlib

import numpy as np
import pytest

from iin_jax.weights.readers import read_arrays
from iin_jax.weights.state_dicts import without_prefix, without_wrappers

torch = pytest.importorskip("torch")

WEIGHTS = {
    "conv.weight": torch.arange(24.0).reshape(2, 3, 2, 2),
    "conv.bias": torch.ones(2),
}
EXPECTED = {name: value.numpy() for name, value in WEIGHTS.items()}


@pytest.fixture
def read(tmp_path):
    def saved_and_read(content, legacy=False):
        path = tmp_path / "w.pth"
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
        return read_arrays(path)

    return saved_and_read


def assert_weights(arrays):
    assert list(arrays) == list(EXPECTED)
    for name, value in EXPECTED.items():
        np.testing.assert_array_equal(arrays[name], value)


def renamed(change):
    return {change(name): value for name, value in WEIGHTS.items()}


@pytest.mark.parametrize(
    "change",
    [
        lambda name: f"_orig_mod.{name}",
        lambda name: f"module._orig_mod.{name}",
        lambda name: f"_orig_mod.module.{name}",
        lambda name: name.replace("conv.", "conv._orig_mod."),
        lambda name: f"_fsdp_wrapped_module.{name}",
    ],
)
def test_names_of_wrapped_modules_become_plain(read, change):
    assert_weights(read(renamed(change)))


def test_an_averaged_module_brings_a_counter(read):
    averaged = {"n_averaged": torch.tensor(3), **renamed(lambda name: f"module.{name}")}
    assert_weights(read(averaged))
    assert list(without_wrappers({"n_averaged": 1, "conv.w": 2})) == [
        "n_averaged",
        "conv.w",
    ]


def test_names_that_would_fall_together_stay():
    names = {"a._orig_mod.w": 1, "a.w": 2}
    assert without_wrappers(names) == names


@pytest.mark.parametrize("key", ["net", "network", "model_ema", "generator"])
def test_the_only_weights_are_read_whatever_their_key(read, key):
    moments = {"state": {0: {"exp_avg": torch.ones(2)}}}
    for beside in (
        {},
        {"epoch": 3, "optimizer": moments, "optimizer_states": [moments]},
    ):
        assert_weights(read({key: WEIGHTS, **beside}))
    assert_weights(read({"model": WEIGHTS, "model_ema": renamed(str.upper)}))
    with pytest.raises(ValueError, match=r"several sets .* 'a', 'b'; save one alone"):
        read({"a": WEIGHTS, "b": WEIGHTS})


@pytest.mark.parametrize("legacy", [False, True])
def test_records_beside_the_weights_are_no_obstacle(read, legacy):
    records = {
        "best": np.float64(0.9),
        "step": np.int64(3),
        "done": np.bool_(True),
        "curve": np.arange(3.0),
        "names": np.array(["a", "bc"]),
        "args": argparse.Namespace(lr=np.float32(0.1), out=pathlib.PosixPath("x")),
    }
    assert_weights(read({"state_dict": WEIGHTS, **records}, legacy))
    assert_weights(read({**EXPECTED}, legacy))  # weights that are NumPy's


def test_other_objects_are_named(read):
    with pytest.raises(ValueError, match=r"other objects \(fractions\.Fraction\), not"):
        read({"state_dict": WEIGHTS, "ratio": __import__("fractions").Fraction(1, 2)})


def test_the_prefix_under_which_most_names_are_known_is_dropped():
    def known(names):
        return len({"conv.w", "conv.b"} & set(names))

    plain = {"conv.w": 1, "conv.b": 2}
    deep = {f"model.backbone.{name}": value for name, value in plain.items()}
    assert without_prefix(deep, known) == plain
    assert without_prefix(plain, known) == plain
    mixed = {**deep, "loss.w": 3}
    assert without_prefix(mixed, known) == mixed
    assert without_prefix({}, known) == {}
