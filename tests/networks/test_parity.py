"""Every architecture against torchvision's: random weights, all layers.

At 64 pixels every family at a cut of every stage and every architecture at its own cut
(those of many seconds are marked thorough); every cut at the published sizes is marked
slow.
"""

import functools
import re

import jax
import numpy as np
import pytest

from iin_jax.networks import registry
from iin_jax.networks.backbones.vit import VisionTransformer
from iin_jax.networks.pretrained import (
    Architecture,
    PretrainedNetwork,
    build_pretrained,
    from_arrays,
)
from tests.networks.torch_models import (
    TINY_VIT,
    arrays_of,
    outputs_of,
    random_model,
)

TOLERANCE = 1e-4  # relative to the largest value of the layer
FAMILIES = {  # one of each, and cuts at which G is tried too: one per stage
    "squeezenet1_1": ("features.2", "features.5", "features.8", "features.12.squeeze"),
    "resnet18": ("layer1", "layer2", "layer3", "layer4"),
    "resnet50": ("layer4", "flatten"),
    "densenet121": (
        "features.pool0",
        "features.transition1",
        "features.transition2",
        "features.transition3",
        "relu",
    ),
    "vgg11_bn": (
        "features.3",
        "features.7",
        "features.14",
        "features.21",
        "features.28",
        "classifier.0",
    ),
    "alexnet": ("features.2", "features.5", "features.12", "classifier.1"),
    "inception_v3_fid": ("maxpool1", "maxpool2", "Mixed_5d", "Mixed_6e", "Mixed_7c"),
    "vit_tiny": (
        "conv_proj",
        "encoder.layers.encoder_layer_0",
        "encoder",
        "class_token",
    ),
}
DEEP = ("densenet121", "inception_v3_fid")  # a minute each
THOROUGH = pytest.mark.thorough
ALL = [
    name
    for name in registry.ARCHITECTURES
    if not name.startswith("densenet_bc")
    and name not in ("resnet20", "resnet32", "resnet44", "resnet56", "resnet110")
]


ARCHITECTURES = {
    **registry.ARCHITECTURES,
    "vit_tiny": Architecture(
        VisionTransformer(**TINY_VIT),
        "class_token",
        registry.ARCHITECTURES["vit_b_32"].releases,
    ),
}


def pixels(name, size):
    return max(size, 75) if name.startswith("inception") else size


def converted(name, size):
    """A random torchvision model, ours from its arrays, and two unlike images."""
    model = random_model(name, pixels(name, size))
    network = from_arrays(
        name, ARCHITECTURES[name], arrays_of(model), image_size=pixels(name, size)
    )
    rng = np.random.default_rng(0)
    shape = (2, *network.image_size, 3)
    images = rng.uniform(-1, 1, shape).astype(np.float32)
    images[1] = np.abs(images[1]) ** 0.1  # nearly white
    return model, network, images


def error(actual, expected):
    return np.abs(np.asarray(actual) - expected).max() / np.abs(expected).max()


def check_layers(model, network: PretrainedNetwork, images):
    """Compares all layers that the model has under the same name.

    Returns our layers, and the model's output.
    """
    theirs = outputs_of(model, np.asarray(network.preprocessing(images, network.size)))
    ours = jax.jit(network.features_pure)(network.variables, images)
    compared = [name for name in network.layers() if name in theirs]
    assert len(compared) >= len(network.layers()) - 4
    for name in compared:
        assert ours[name].shape == theirs[name].shape, name
        assert error(ours[name], theirs[name]) <= TOLERANCE, name
    assert error(ours[list(network.layers())[-1]], theirs[""]) <= TOLERANCE
    return ours, theirs[""]


def check_decoded(network, layer, ours, expected):
    """G on the latent that the whole network had at the layer."""
    decoded = network.cut_at(layer).decode(ours[layer])
    assert error(decoded, expected) <= TOLERANCE, layer


def check_cut(network, layer, images, expected):
    """E on the images, G on z alone: E has seen a blank image since."""
    network = network.cut_at(layer)
    z = network.encode(images)
    assert z.shape[1:] == network.layers()[layer]
    network.encode(np.zeros_like(images))
    assert error(network.decode(z), expected) <= TOLERANCE, layer


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in DEEP else THOROUGH)
        for name in FAMILIES
    ],
)
def test_a_family_at_64_pixels(name):
    model, network, images = converted(name, 64)
    ours, output = check_layers(model, network, images)
    *stages, last = dict.fromkeys([*FAMILIES[name], ARCHITECTURES[name].layer])
    for layer in stages:
        check_decoded(network, layer, ours, output)
    check_cut(network, last, images, output)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ALL if name not in FAMILIES])
def test_every_other_architecture_at_64_pixels(name):
    """Its E is that of its family, whose cuts are checked with E alone too."""
    model, network, images = converted(name, 64)
    ours, output = check_layers(model, network, images)
    check_decoded(network, ARCHITECTURES[name].layer, ours, output)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_every_architecture_at_its_own_size_and_every_cut(name):
    size = ARCHITECTURES[name].releases[0].preprocessing.size
    model, network, images = converted(name, size)
    _, output = check_layers(model, network, images)
    jitted = network.layers() if name in FAMILIES else [ARCHITECTURES[name].layer]
    for layer in jitted:
        check_cut(network, layer, images, output)


def test_a_transformer_names_the_sizes_that_its_weights_fit(tmp_path, monkeypatch):
    tiny = ARCHITECTURES["vit_tiny"]
    build = functools.partial(build_pretrained, "vit_tiny", tiny)
    monkeypatch.setitem(registry.ARCHITECTURES, "vit_tiny", tiny)
    monkeypatch.setitem(registry.NETWORKS, "vit_tiny", build)
    file, folder = tmp_path / "vit.npz", tmp_path / "vit"
    np.savez(file, **arrays_of(random_model("vit_tiny", 64)))
    network = registry.load("vit_tiny", file, image_size=95)
    assert network.layers()["encoder"] == (5, 64)
    registry.save_network(folder, network)
    for source, size in ((file, 128), (file, None), (folder, 63), (folder, 96)):
        with pytest.raises(ValueError, match=rf"64 to 95 pixels, not {size or 224}"):
            registry.load("vit_tiny", source, image_size=size)
    other = arrays_of(random_model("vit_tiny", 64))
    other["conv_proj.weight"] = other["conv_proj.weight"][..., :16, :16]
    with pytest.raises(ValueError, match=r"misshapen: conv_proj.weight \([^;]*$"):
        from_arrays("vit_tiny", tiny, other)


def test_names_that_torchvisions_files_write_otherwise():
    """Files of DenseNet say norm.1 for norm1, those of ViT mlp.linear_1 for mlp.0."""

    def target(name, source):
        rows = ARCHITECTURES[name].releases[0].table
        matches = ((re.fullmatch(row.source, source), row) for row in rows)
        return next((m.expand(row.target), row.layout) for m, row in matches if m)

    block = "features.denseblock2.denselayer11"
    for field in ("weight", "bias", "running_mean", "running_var"):
        assert target("densenet121", f"{block}.norm.1.{field}") == target(
            "densenet121", f"{block}.norm1.{field}"
        )
    assert target("densenet121", f"{block}.conv.2.weight") == (
        f"params/{block}.conv2/kernel",
        "conv",
    )
    layer = "encoder.layers.encoder_layer_3.mlp"
    for old, new in (("linear_1", "0"), ("linear_2", "3")):
        for field in ("weight", "bias"):
            assert target("vit_b_16", f"{layer}.{old}.{field}") == target(
                "vit_b_16", f"{layer}.{new}.{field}"
            )
