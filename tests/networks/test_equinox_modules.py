"""Equinox modules as networks, against the modules themselves mapped over a batch."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from iin_jax.networks import from_equinox

SHAPE = (8, 6, 3)


def test_without_equinox_the_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "equinox", None)
    with pytest.raises(ImportError, match="pip install equinox"):
        from_equinox(object(), "0")


@pytest.fixture(scope="module")
def eqx():
    return pytest.importorskip("equinox", reason="equinox is not installed")


def pictures(count=3, shape=SHAPE, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (count, *shape)).astype(np.float32)


def error(actual, expected):
    expected = np.asarray(expected)
    return np.abs(np.asarray(actual) - expected).max() / np.abs(expected).max()


@pytest.fixture(scope="module")
def module(eqx):
    """A stem, a residual block with dropout, and a head of three layers."""

    class Block(eqx.Module):
        conv: eqx.nn.Conv2d
        drop: eqx.nn.Dropout

        def __call__(self, x, key=None):
            return x + self.drop(jnp.tanh(self.conv(x)), key=key)

    class Classifier(eqx.Module):
        blocks: list
        head: eqx.nn.Sequential

        def __call__(self, x):
            return self.tail(self.blocks[0](x))

        def tail(self, z):
            return self.head(self.blocks[1](z).mean((1, 2)))

    keys = jax.random.split(jax.random.key(0), 4)
    stem = eqx.nn.Conv2d(3, 4, 3, 2, 1, key=keys[0])
    block = Block(eqx.nn.Conv2d(4, 4, 3, 1, 1, key=keys[1]), eqx.nn.Dropout(0.5))
    first = eqx.nn.Linear(4, 6, key=keys[2])
    last = eqx.nn.Linear(6, 5, key=keys[3])
    head = eqx.nn.Sequential([first, eqx.nn.Lambda(jnp.tanh), last])
    return Classifier([stem, block], head)


@pytest.fixture(scope="module")
def network(module):
    return from_equinox(module, "blocks.0", image_shape=SHAPE)


def test_every_cut_reads_and_resumes_the_module(eqx, module, network):
    evaluated, images = eqx.nn.inference_mode(module), pictures()
    first = np.moveaxis(images, -1, 1)
    expected = jax.vmap(evaluated)(first)
    assert network.layers() == {
        "blocks.0": (4, 3, 4),
        "blocks.1": (4, 3, 4),
        "head.layers.0": (6,),
        "head.layers.1": (6,),
        "head.layers.2": (5,),
        "head": (5,),
    }
    z = network.encode(images)
    theirs = jax.vmap(evaluated.blocks[0])(first)
    assert error(z, np.moveaxis(theirs, 1, -1)) <= 1e-6
    features = network.features(images)
    for layer in network.layers():
        assert error(network.cut_at(layer).decode(features[layer]), expected) <= 1e-6
    other = pictures(3, (4, 3, 4), 1)
    theirs = jax.vmap(evaluated.tail)(np.moveaxis(other, -1, 1))
    assert error(network.decode(other), theirs) <= 1e-6
    assert (
        type(module.blocks[0]) is eqx.nn.Conv2d and not module.blocks[1].drop.inference
    )


def test_each_side_costs_what_lies_on_it(network):
    program = jax.jit(network.decode_pure).lower(
        network.variables, pictures(3, (4, 3, 4))
    )
    assert program.compile().as_text().count(" convolution(") == 1


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("blocks/1/conv", "'blocks.1.conv': .*more than .*it can be at 'blocks.1'"),
        ("blocks.3", "no layer 'blocks.3'; did you mean blocks.1"),
    ],
)
def test_another_layer_is_named_that_works(network, layer, message):
    with pytest.raises(ValueError, match=message) as raised:
        network.cut_at(layer)
    assert "\n" not in str(raised.value)


def test_mistakes_are_one_clear_line(eqx, module):
    keyed = eqx.nn.Conv2d(3, 4, 1, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"takes an equinox.Module; got function"):
        from_equinox(pictures, "0", image_shape=SHAPE)
    with pytest.raises(ValueError, match=r"expected logits .* or images"):
        from_equinox(keyed, "0", image_shape=SHAPE)
    with pytest.raises(ValueError, match=r"\(8, 6, 1\) do not go through the module"):
        from_equinox(module, "head", image_shape=(8, 6, 1))
