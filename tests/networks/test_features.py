"""Several layers in one pass: ``Network.features``, of every kind of network."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from iin_jax.networks import from_functions, from_torch
from iin_jax.networks.pretrained import IMAGENET, PretrainedNetwork
from iin_jax.networks.registry import ARCHITECTURES

IMAGES = np.random.default_rng(0).uniform(-1, 1, (3, 8, 8, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def network():
    return from_functions(
        lambda scale, images: scale * images.mean((1, 2)),
        lambda scale, z: z[:, :2] / scale,
        jnp.float32(3.0),
        image_shape=(8, 8, 3),
        output="logits",
    )


def test_a_network_with_one_cut_has_one_layer(network):
    features = network.features(IMAGES)
    assert list(features) == list(network.layers()) == ["latent"]
    np.testing.assert_array_equal(features["latent"], network.encode(IMAGES))
    assert network.features(IMAGES, []) == {}


@pytest.mark.parametrize(
    ("images", "layers", "message"),
    [
        (IMAGES, ["latant"], "no layer 'latant' to be cut at; did you mean latent"),
        (IMAGES, "latent", "a list of names; got 'latent'"),
        (IMAGES[..., :1], None, r"must have shape \(B, 8, 8, 3\)"),
        (IMAGES * 2.0, None, r"must lie in \[-1, 1\]"),
    ],
)
def test_mistakes_are_one_clear_line(network, images, layers, message):
    with pytest.raises(ValueError, match=message) as raised:
        network.features(images, layers)
    assert "\n" not in str(raised.value)


def test_layers_are_compiled_once_and_come_in_the_order_asked_for():
    traced = []

    def encode(scale, images):
        traced.append(1)
        return scale * images.mean((1, 2))

    network = from_functions(
        encode,
        lambda scale, z: z[:, :2],
        jnp.float32(2.0),
        image_shape=(8, 8, 3),
        output="logits",
    )
    traced.clear()
    for _ in range(3):
        network.features(IMAGES, ["latent"])
    assert len(traced) == 1


def test_layers_of_a_backbone_cost_what_leads_to_them():
    module = ARCHITECTURES["squeezenet1_1"].module.clone(num_classes=3)
    shapes = jax.eval_shape(module.init, jax.random.key(0), np.zeros((1, 32, 32, 3)))
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda x: np.float32(rng.normal(0, 0.1, x.shape)), shapes)
    network = PretrainedNetwork(
        "squeezenet1_1", module, variables, "features.3", IMAGENET, 32
    )
    features = network.features(IMAGES, ["features.3", "features.0"])
    assert list(features) == ["features.3", "features.0"]
    for layer, values in features.items():
        cut = network.cut_at(layer)
        np.testing.assert_allclose(values, cut.encode(IMAGES), rtol=1e-5, atol=1e-5)

    def convolutions(layers):
        run = functools.partial(network.features_pure, layers=layers)
        program = str(jax.make_jaxpr(run)(variables, IMAGES))
        return program.count("conv_general_dilated[") + program.count("dot_general[")

    first, both = (
        convolutions(["features.0"]),
        convolutions(["features.3", "features.0"]),
    )
    assert 0 < first < both == convolutions(["features.3"]) < convolutions(None)


def test_layers_of_a_torch_module_come_from_one_forward_pass():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    nn = torch.nn
    module = nn.Sequential(
        nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 4)
    )
    network = from_torch(module, "1", image_shape=(8, 8, 3))
    calls = []
    network.module.module.register_forward_hook(lambda *_: calls.append(1))
    features = network.features(IMAGES, ["3", "0"])
    assert len(calls) == 1 + len(network.module.layers) + 1  # layers are tried once
    assert list(features) == ["3", "0"]
    for layer, values in features.items():
        np.testing.assert_array_equal(values, network.cut_at(layer).encode(IMAGES))
    calls.clear()
    network.features(IMAGES)
    assert len(calls) == 1
