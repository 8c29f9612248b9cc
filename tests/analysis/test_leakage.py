"""Probes on synthetic factors: concepts that each kind of probe reads or misses."""

import importlib

import numpy as np
import pytest

import iin_jax
from iin_jax.analysis import leakage


def identity(sizes):
    """An interpreter whose factors are slices of z."""
    layout = iin_jax.FactorLayout(sizes)
    flow = iin_jax.InterpretationFlow(layout.dim, 0, 4, 0)
    return iin_jax.Interpreter(flow, {"params": {}, "constants": {}}, layout)


def sample(rng, count):
    """Digits and colours in factors of their own, and a parity in the residual.

    The parity is the sign of the product of the residual's first two components, which
    no linear probe reads.
    """
    digit, color = rng.integers(0, 3, count), rng.uniform(size=(count, 2))
    z = rng.standard_normal((count, 8))
    z[:, :3] = 4.0 * np.eye(3)[digit] + 0.3 * z[:, :3]
    z[:, 3:5] = 3.0 * color
    parity = np.where(z[:, 5] * z[:, 6] > 0, "even", "odd")
    return z.astype(np.float32), {"digit": digit, "color": color, "parity": parity}


@pytest.fixture(scope="module")
def figures():
    rng = np.random.default_rng(0)
    (z_train, train), (z_test, test) = sample(rng, 1500), sample(rng, 400)
    layout = identity({"digit": 3, "color": 2, "residual": 3})
    return leakage(layout, z_train, z_test, train, test)


def test_probes_find_what_a_factor_holds_and_nothing_else(figures):
    assert list(figures) == ["digit", "color", "residual", "z", "pca"]
    for probe, least in (("figure", 0.99), ("mlp", 0.97), ("nearest", 0.97)):
        assert getattr(figures["digit"]["digit"], probe) > least
        assert getattr(figures["color"]["color"], probe) > least
    assert figures["z"]["color"].figure > 0.99
    for space in ("color", "residual"):
        cell = figures[space]["digit"]
        assert cell.measure == "accuracy" and cell.chance < 0.4
        for probe in ("figure", "mlp", "nearest"):
            assert abs(getattr(cell, probe) - cell.chance) < 0.12
    cell = figures["residual"]["color"]
    assert cell.measure == "r2" and cell.chance == 0.0
    assert abs(cell.figure) < 0.05
    assert cell.mlp < 0.1 and cell.nearest < 0.1


def test_slower_probes_see_what_linear_ones_miss(figures):
    cell = figures["residual"]["parity"]
    assert abs(cell.figure - cell.chance) < 0.1
    assert cell.mlp > 0.9 and cell.nearest > 0.85
    assert figures["digit"]["parity"].mlp < cell.chance + 0.1


def test_counts_say_how_many_latents_are_behind_each_figure(monkeypatch):
    """Rows without a value are left out; their meaningless latents would show."""
    file = importlib.import_module("iin_jax.analysis.leakage")  # not the function
    monkeypatch.setattr(file, "SLOW_TRAIN", slow := 600)
    rng = np.random.default_rng(1)
    (z_train, train), (z_test, test) = sample(rng, slow + 900), sample(rng, 300)
    digit, color = np.ma.array(train["digit"]), train["color"].copy()
    digit[:100], color[:500] = np.ma.masked, np.nan
    digit.data[:100] = 77
    z_train[:100, :3] = 1e4
    test_digit = np.ma.array(test["digit"], mask=np.arange(300) < 50)
    layout = identity({"digit": 3, "color": 2, "residual": 3})
    figures = leakage(
        layout,
        z_train,
        z_test,
        {"digit": digit, "color": color},
        {"digit": test_digit, "color": test["color"]},
    )
    cell = figures["digit"]["digit"]
    assert cell.figure > 0.99 and cell.nearest > 0.97
    counts = [
        getattr(cell, name) for name in ("train", "test", "slow_train", "slow_test")
    ]
    assert counts == [slow + 800, 250, slow, 250]
    assert figures["z"]["color"].train == slow + 400


def test_an_empty_factor_a_rare_class_and_an_unseen_one():
    rng = np.random.default_rng(2)
    z = rng.standard_normal((60, 4)).astype(np.float32)
    train = np.where(z[:40, 0] > 0, "right", "left").astype(object)
    train[7] = "once"
    test = np.where(z[40:, 0] > 0, "right", "left").astype(object)
    test[:5] = "never"
    figures = leakage(
        identity({"side": 4, "residual": 0}),
        z[:40],
        z[40:],
        {"side": train},
        {"side": test},
    )
    empty = figures["residual"]["side"]
    assert empty.figure == empty.mlp == empty.nearest == empty.chance
    _, counts = np.unique(test.astype(str), return_counts=True)
    assert empty.chance == counts.max() / 20
    assert (
        0.4 < figures["side"]["side"].figure <= 0.75
    )  # five test latents have an untrained class


def test_an_attribute_nobody_knows_is_one_line():
    z = np.zeros((6, 4), np.float32)
    values = {"mood": np.full(6, np.nan)}
    with pytest.raises(ValueError, match="'mood' is known of 6 of 6 training and of 0"):
        leakage(identity({"residual": 4}), z, z, {"mood": np.zeros(6)}, values)
