"""NNX modules as networks, against the modules themselves and a hand-written split."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import iin_jax
from iin_jax.networks import from_nnx
from iin_jax.weights import tree_digest

SHAPE = (8, 8, 3)


def pictures(count=3, shape=SHAPE, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (count, *shape)).astype(np.float32)


def error(actual, expected):
    expected = np.asarray(expected)
    return np.abs(np.asarray(actual) - expected).max() / np.abs(expected).max()


class Block(nnx.Module):
    """A residual block with what behaves otherwise in training."""

    def __init__(self, rngs):
        self.conv = nnx.Conv(4, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return x + self.drop(nnx.relu(self.norm(self.conv(x))))


class Wide(Block):
    def __call__(self, x):
        return super().__call__(x) * 2.0


class Classifier(nnx.Module):
    def __init__(self, rngs):
        self.stem = nnx.Conv(3, 4, (3, 3), strides=2, rngs=rngs)
        for name, kind in (("first", Block), ("second", Wide)):
            setattr(self, name, kind(rngs))
        self.head = nnx.Sequential(
            nnx.Linear(4, 6, rngs=rngs), nnx.tanh, nnx.Linear(6, 4, rngs=rngs)
        )
        self.unused = nnx.Linear(4, 4, rngs=rngs)

    def __call__(self, x):
        return self.tail(self.first(self.stem(x)))

    def tail(self, z):
        return self.head(self.second(z).mean((1, 2)))


CUTS = {
    "stem": (4, 4, 4),
    "first": (4, 4, 4),
    "second": (4, 4, 4),
    "head.layers.0": (6,),
    "head.layers.2": (4,),
    "head": (4,),
}


def trained(module):
    """The module in training mode, with parameters and statistics near no default."""
    rng = np.random.default_rng(0)
    definition, streams, state = nnx.split(module, nnx.RngState, ...)
    moved = jax.tree.map(lambda x: x + 0.3 * rng.uniform(0, 1, x.shape), state)
    return nnx.merge(definition, streams, jax.tree.map(jnp.float32, moved))


@pytest.fixture(scope="module")
def module():
    return trained(Classifier(nnx.Rngs(0)))


@pytest.fixture(scope="module")
def network(module):
    return from_nnx(module, "first", image_shape=SHAPE)


@pytest.fixture(scope="module")
def evaluated(module):
    copy = nnx.clone(module)
    copy.eval()
    return copy


@pytest.mark.thorough
def test_every_cut_reads_and_resumes_the_module(network, evaluated):
    images, expected = pictures(), evaluated(pictures())
    assert network.layers() == CUTS and network.output == "logits"
    z = network.encode(images)
    assert error(z, evaluated.first(evaluated.stem(images))) <= 1e-6
    features = network.features(images)
    assert error(features["stem"], evaluated.stem(images)) <= 1e-6
    assert error(features["second"], evaluated.second(z)) <= 1e-6
    for layer in CUTS:
        assert error(network.cut_at(layer).decode(features[layer]), expected) <= 1e-6
    other = pictures(3, (4, 4, 4), 1)
    assert error(network.decode(other), evaluated.tail(other)) <= 1e-6
    ours = jax.grad(lambda z: network.decode_pure(network.variables, z).sum())(other)
    assert error(ours, jax.grad(lambda z: evaluated.tail(z).sum())(other)) <= 1e-5


def test_each_side_costs_what_lies_on_it(network):
    images = pictures()

    def convolutions(function, *arguments):
        program = jax.jit(function).lower(network.variables, *arguments).compile()
        return program.as_text().count(" convolution(")

    z = network.encode(images)
    assert convolutions(network.encode_pure, images) == 2
    assert convolutions(network.decode_pure, z) == 1


def test_the_users_module_stays_as_it_was_and_the_network_too(module):
    before = jax.tree.map(np.asarray, nnx.state(module, nnx.Param, nnx.BatchStat))
    network = from_nnx(module, "first", image_shape=SHAPE)
    y = network.decode(network.encode(pictures()))
    assert type(module.first) is Block and type(module.stem) is nnx.Conv
    assert not module.first.drop.deterministic
    assert not module.first.norm.use_running_average
    after = nnx.state(module, nnx.Param, nnx.BatchStat)
    jax.tree.map(np.testing.assert_array_equal, before, after)
    digest = tree_digest(network.variables)
    changed = trained(Classifier(nnx.Rngs(1)))
    assert (
        tree_digest(from_nnx(changed, "first", image_shape=SHAPE).variables) != digest
    )
    np.testing.assert_array_equal(network.decode(network.encode(pictures())), y)


def test_the_variables_given_are_those_used(network, evaluated):
    halved = {name: 0.5 * array for name, array in network.variables.items()}
    definition, streams, state = nnx.split(evaluated, nnx.RngState, ...)
    other = nnx.merge(definition, streams, jax.tree.map(lambda x: 0.5 * x, state))
    z = network.encode_pure(halved, pictures())
    assert error(network.decode_pure(halved, z), other(pictures())) <= 1e-6


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("second.norm", "more than this layer's .*it can be at 'second'"),
        ("first/conv", "'first.conv': .*it can be at 'first'"),
        ("unused", "calls it 0 times"),
        ("secund", "no layer 'secund'; did you mean second"),
    ],
)
def test_another_layer_is_named_that_works(network, layer, message):
    with pytest.raises(ValueError, match=message) as raised:
        network.cut_at(layer)
    assert "\n" not in str(raised.value)


class Function(nnx.Module):
    """A function of a convolution's output, as a module."""

    def __init__(self, function):
        self.layer = nnx.Conv(3, 3, (1, 1), rngs=nnx.Rngs(0))
        self.rngs = nnx.Rngs(1)
        self.norm = nnx.BatchNorm(3, rngs=self.rngs)
        self.function = function

    def __call__(self, x, **kwargs):
        return self.function(self, self.layer(x), **kwargs)


def noisy(module, x):
    return x.mean((1, 2)) + jax.random.normal(module.rngs(), (3,))


def unlike(module, x):
    jax.random.normal(module.rngs(), (3,))  # drawn, but in vain
    return x.mean((1, 2))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (noisy, "depends on a random stream in evaluation mode"),
        (
            lambda m, x: m.norm(x, use_running_average=False),
            "other images of its batch",
        ),
        (lambda m, x, train: x, "missing 1 required .*'train'.*{'train': False}"),
        (lambda m, x: (x, x), "returns a tuple: wrap it"),
        (lambda m, x: m.layer(x), "calls it 2 times"),
    ],
)
def test_modules_that_are_no_networks_are_one_clear_line(function, message):
    with pytest.raises(ValueError, match=message) as raised:
        from_nnx(Function(function), "layer", image_shape=SHAPE)
    assert "\n" not in str(raised.value)


def test_a_stream_may_be_drawn_from_in_vain_and_calls_take_settings():
    assert from_nnx(Function(unlike), "layer", image_shape=SHAPE).output == "logits"
    module = Function(lambda m, x, scale: scale * x)
    network = from_nnx(module, "layer", image_shape=SHAPE, kwargs={"scale": 2.0})
    images = pictures()
    expected = 2.0 * module.layer(images)
    assert error(network.decode(network.encode(images)), expected) <= 1e-6


def test_what_is_no_module_is_one_clear_line():
    with pytest.raises(ValueError, match=r"flax.nnx.Module; got function"):
        from_nnx(noisy, "layer", image_shape=SHAPE)


@pytest.mark.thorough
def test_interpreting_an_nnx_module_end_to_end(network, evaluated):
    rng = np.random.default_rng(0)
    labels = {"bright": rng.integers(0, 2, 120), "left": rng.integers(0, 2, 120)}
    images = 0.2 * pictures(120)
    images += (labels["bright"] - 0.5)[:, None, None, None] * 0.6
    images[:, :, :4] += (labels["left"] - 0.5)[:, None, None, None] * 0.6
    flow = iin_jax.InterpretationFlow(6, 1, 8, 1)
    cut = network.cut_at("head/layers/0")
    it = iin_jax.interpret(
        cut, images, labels, flow=flow, steps=2, batch_size=32, progress=False
    )
    a, b = images[:8], images[8:16]
    assert error(it.swap(a, b, []), evaluated(a)) <= 1e-4
    assert error(it.swap(a, b, it.layout.names), evaluated(b)) <= 1e-4
    assert it.certify(a)["prediction_agreement"] == 1.0
