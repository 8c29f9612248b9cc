"""Linen modules as networks, against Linen itself; cut only where it is sound."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import iin_jax
from iin_jax.networks import Preprocessing, from_linen
from iin_jax.networks.adapters.traced import Watching
from tests.conftest import perturbed

SHAPE = (8, 8, 3)
EVALUATE = {"train": False}


def pictures(count=3, shape=SHAPE, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (count, *shape)).astype(np.float32)


def error(actual, expected):
    expected = np.asarray(expected)
    return np.abs(np.asarray(actual) - expected).max() / np.abs(expected).max()


class Block(nn.Module):
    """A residual block with what behaves otherwise in training."""

    @nn.compact
    def __call__(self, x, train):
        h = nn.Conv(4, (3, 3), name="conv")(x)
        h = nn.BatchNorm(use_running_average=not train, name="norm")(h)
        h = nn.Dropout(0.5, deterministic=not train, name="drop")(nn.relu(h))
        return x + h


class Body(nn.Module):
    def setup(self):
        self.stem = nn.Conv(4, (3, 3), strides=2)
        self.blocks = [Block(), Block()]

    def __call__(self, x, train):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x, train)
        return x


class Classifier(nn.Module):
    def setup(self):
        self.body = Body()
        self.hidden = nn.Dense(6)
        self.head = nn.Dense(4)

    def __call__(self, x, train):
        return self.tail(self.body(x, train))

    def tail(self, z):
        return self.head(nn.tanh(self.hidden(z.mean((1, 2)))))


CUTS = {
    "body/stem": (4, 4, 4),
    "body/blocks_0": (4, 4, 4),
    "body/blocks_1": (4, 4, 4),
    "body": (4, 4, 4),
    "hidden": (6,),
    "head": (4,),
}


def trained(module, shape=SHAPE, **kwargs):
    """Variables that are not near any default, those of the statistics too."""
    init = jax.jit(functools.partial(module.init, **kwargs))
    variables = init(jax.random.key(0), pictures(1, shape))
    variables = perturbed(variables)
    moved = jax.tree.map(lambda x: x + 0.2, variables.get("batch_stats", {}))
    return {**variables, "batch_stats": moved}


@pytest.fixture(scope="module")
def variables():
    return trained(Classifier(), train=False)


@pytest.fixture(scope="module")
def network(variables):
    module = Classifier()
    return from_linen(module, variables, "body", image_shape=SHAPE, kwargs=EVALUATE)


def test_every_cut_reads_and_resumes_the_module(network, variables):
    images = pictures()
    theirs, state = Classifier().apply(
        variables,
        images,
        train=False,
        capture_intermediates=True,
        mutable=["intermediates"],
    )
    assert network.layers() == CUTS and network.output == "logits"
    features = network.features(images)
    assert list(features) == list(CUTS)
    for layer in CUTS:
        inner = state["intermediates"]
        for name in layer.split("/"):
            inner = inner[name]
        z = network.cut_at(layer).encode(images)
        assert error(z, inner["__call__"][0]) <= 1e-6, layer
        np.testing.assert_array_equal(features[layer], z)
        assert error(network.cut_at(layer).decode(z), theirs) <= 1e-6, layer


def test_any_latent_goes_through_the_rest_of_the_module(network, variables):
    z = pictures(3, (4, 4, 4), 1)

    def tail(z):
        return Classifier().apply(variables, z, method="tail")

    assert error(network.decode(z), tail(z)) <= 1e-6
    ours = jax.grad(lambda z: network.decode_pure(variables, z).sum())(z)
    assert error(ours, jax.grad(lambda z: tail(z).sum())(z)) <= 1e-6
    other = jax.tree.map(lambda x: 0.5 * x, variables)
    expected = Classifier().apply(other, z, method="tail")
    assert error(network.decode_pure(other, z), expected) <= 1e-6


def convolutions(function, *arguments):
    program = jax.jit(function).lower(*arguments).compile().as_text()
    return program.count(" convolution(")


def test_each_side_costs_what_lies_on_it(network, variables):
    """The compiler removes the rest: 1 convolution in the stem, 1 in each block."""
    images = pictures()
    for layer, before in {"body/stem": 1, "body/blocks_0": 2, "body": 3}.items():
        cut = network.cut_at(layer)
        z = cut.encode(images)
        assert convolutions(cut.encode_pure, variables, images) == before
        assert convolutions(cut.decode_pure, variables, z) == 3 - before
    assert (
        convolutions(
            lambda images: network.features_pure(variables, images, ["body/stem"]),
            images,
        )
        == 1
    )


def test_ways_around_a_layer_are_refused_and_really_lead_around(network):
    probe = network.probe
    for layer in network.module.layers:
        z = network.module.run(
            network.variables, (), probe.images, Watching(None, {}, False)
        )[1][layer][0]
        resumed = network.module.resumed(layer, z, probe.base)
        around = np.abs(resumed - probe.expected).max() > probe.tolerance
        assert around == (layer not in CUTS), layer


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("body/blocks_1/norm", "more than this layer's .*at 'body/blocks_1'"),
        ("body.blocks_0.conv", "'body/blocks_0/conv': .*it can be at 'body/blocks_0'"),
        ("body/steam", "no layer 'body/steam'; did you mean body/stem"),
    ],
)
def test_another_layer_is_named_that_works(network, layer, message):
    with pytest.raises(ValueError, match=message) as raised:
        network.cut_at(layer)
    assert "\n" not in str(raised.value)


class Paths(nn.Module):
    """What hides a second path, or a layer."""

    @nn.compact
    def __call__(self, x):
        x = Same(name="first")(x)
        x = nn.Conv(4, (1, 1), name="stem")(x)
        x = x + Same(name="same")(x)
        twice = nn.Conv(4, (1, 1), name="twice")
        x = twice(twice(x))
        nn.Conv(4, (1, 1), name="unused")(x)
        x = Pair(name="pair")(x)[0]
        x = nn.remat(nn.Dense)(4, name="remat")(x)
        x = nn.Dense(4, name="middle")(x)
        faint = nn.Dense(4, name="faint")(x)
        tokens = (faint + 1e-9 * x).reshape(len(x), -1, 4)
        Order(name="order")(tokens)
        tokens = Attention(2, name="attention")(tokens)
        return nn.Dense(5, name="head")(tokens.max(1))


class Attention(nn.MultiHeadDotProductAttention):
    @nn.compact
    def __call__(self, x):
        return super().__call__(x)  # one call, not two


class Same(nn.Module):
    def __call__(self, x):
        return x


class Pair(nn.Module):
    def __call__(self, x):
        return x, 0.0


class Order(nn.Module):
    def __call__(self, x):
        return x.argsort(1)


@pytest.fixture(scope="module")
def paths():
    return from_linen(Paths(), trained(Paths()), "stem", image_shape=SHAPE)


@pytest.mark.thorough
def test_only_sound_cuts_are_offered_and_the_others_explained(paths):
    assert paths.layers() == {
        "first": (8, 8, 3),
        "stem": (8, 8, 4),
        "middle": (8, 8, 4),
        "attention/out": (64, 4),
        "attention": (64, 4),
        "head": (5,),
    }
    for layer, reason in {
        "same": "more than this layer's",
        "faint": "more than this layer's",
        "unused": "more than this layer's",
        "attention/query": "more than this layer's .* it can be at 'attention'",
        "twice": "calls it 2 times",
        "pair": "is a tuple",
        "remat": "inside of a transformation .*it can be at 'middle'",
        "order": "value of type int32",
    }.items():
        with pytest.raises(ValueError, match=reason) as raised:
            paths.cut_at(layer)
        assert "\n" not in str(raised.value)


class Function(nn.Module):
    """A function of a convolution's output, as a module."""

    function: object

    @nn.compact
    def __call__(self, x):
        return self.function(nn.Conv(3, (1, 1), name="layer")(x))


def normalised(x):
    return nn.BatchNorm(use_running_average=False)(x).mean((1, 2))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: {"logits": x.mean((2, 3))}, "returns a dict: wrap it"),
        (lambda x: x.mean((1, 2)).argmax(1), "returns a value of type int32"),
        (lambda x: x[:, :2], r"\(2, 2, 8, 3\); expected logits .* or images"),
        (lambda x: x.mean((1, 2)) / 0.0, "NaN or infinite"),
        (lambda x: 0.0 * x, "same for unlike images"),
        (lambda x: x - x.mean(0), "depends on the other images of its batch"),
        (normalised, r"batch_stats.*'train': False"),
        (nn.Dropout(0.5, deterministic=False), r"dropout.*'deterministic': True"),
        (nn.Dropout(0.5), r"deterministic.*'deterministic': True"),
        (lambda x: x.reshape(-1, 7), r"\(8, 8, 3\) do not go through the module"),
    ],
)
def test_modules_that_are_no_networks_are_one_clear_line(function, message):
    module = Function(function)
    keys = dict(
        zip(("params", "dropout"), jax.random.split(jax.random.key(0)), strict=True)
    )
    plain = Function(lambda x: x)
    if function is normalised:
        plain = module
    with pytest.raises(ValueError, match=message) as raised:
        variables = plain.init(keys, pictures(1))
        from_linen(module, variables, "layer", image_shape=SHAPE)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"module": {}}, "flax.linen.Module; got dict"),
        ({"variables": [1.0]}, r"what module.init returns.*got list"),
        ({"variables": {}}, "do not go through the module: "),
        ({"kwargs": None}, r"missing .*'train'; .*\{'train': False\}"),
        ({"image_shape": None}, r"give the image_shape=\(H, W, C\)"),
        ({"image_shape": (8, 8)}, r"image_shape=\(H, W, C\).*got \(8, 8\)"),
        ({"image_shape": (8, 8, 1)}, r"shape \(8, 8, 1\) do not go through"),
        ({"output": "image"}, "'images', 'logits' or None; got 'image'"),
        ({"output": "images"}, r"shape \(2, 4\); expected images \(2, 8, 8, 3\)"),
        ({"layer": "tail"}, "no layer 'tail'"),
    ],
)
def test_mistakes_are_one_clear_line(variables, change, message):
    arguments = {
        "module": Classifier(),
        "variables": variables,
        "layer": "body",
        "image_shape": SHAPE,
        "kwargs": EVALUATE,
    }
    with pytest.raises(ValueError, match=message) as raised:
        from_linen(**(arguments | change))
    assert "\n" not in str(raised.value)


class Autoencoder(nn.Module):
    """Pixels in [0, 1], blue first, in and out."""

    @nn.compact
    def __call__(self, x):
        z = nn.tanh(nn.Conv(6, (4, 4), strides=2, name="down")(x))
        z = Same(name="latent")(z)
        return nn.sigmoid(nn.ConvTranspose(3, (4, 4), strides=(2, 2), name="up")(z))


def test_images_of_an_autoencoder_come_back_in_their_own_range():
    variables, images = trained(Autoencoder()), pictures()
    pixels = Preprocessing(8, (0.0,) * 3, (1.0,) * 3, channel_order="BGR")
    network = from_linen(Autoencoder(), variables, "latent", preprocessing=pixels)
    assert network.output == "images" and network.latent_shape == (4, 4, 6)
    y = Autoencoder().apply(variables, (images[..., ::-1] + 1) / 2)
    expected = 2 * np.asarray(y)[..., ::-1] - 1
    assert error(network.decode(network.encode(images)), expected) <= 1e-6
    larger = pictures(2, (16, 16, 3))
    assert network.encode(larger).shape == (2, 4, 4, 6)
    assert network.features(larger, ["up"])["up"].shape == (2, 8, 8, 3)


def test_half_precision_goes_in_and_out_as_float32():
    module = nn.Sequential(
        [nn.Conv(4, (3, 3), dtype=jnp.bfloat16), lambda x: x.mean((1, 2))]
    )
    variables, images = trained(module), pictures()
    network = from_linen(module, variables, "layers_0", image_shape=SHAPE)
    z = network.encode(images)
    expected = np.asarray(module.apply(variables, images), np.float32)
    assert z.dtype == network.decode(z).dtype == jnp.float32
    np.testing.assert_array_equal(network.decode(z), expected)


@pytest.mark.thorough
def test_interpreting_a_linen_module_end_to_end(network, variables):
    rng = np.random.default_rng(0)
    labels = {"bright": rng.integers(0, 2, 120), "left": rng.integers(0, 2, 120)}
    images = 0.2 * pictures(120)
    images += (labels["bright"] - 0.5)[:, None, None, None] * 0.6
    images[:, :, :4] += (labels["left"] - 0.5)[:, None, None, None] * 0.6
    cut = network.cut_at("hidden")
    flow = iin_jax.InterpretationFlow(6, 1, 8, 1)
    it = iin_jax.interpret(
        cut, images, labels, flow=flow, steps=2, batch_size=32, progress=False
    )

    def f(images):
        return Classifier().apply(variables, images, train=False)

    a, b = images[:8], images[8:16]
    assert error(it.swap(a, b, []), f(a)) <= 1e-4
    assert error(it.swap(a, b, it.layout.names), f(b)) <= 1e-4
    assert it.certify(a)["prediction_agreement"] == 1.0
