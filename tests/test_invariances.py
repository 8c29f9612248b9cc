"""What layers of known classifiers distinguish: colour-blind and colour-seeing ones."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits

import iin_jax
from iin_jax.analysis.base import Examples
from iin_jax.analysis.invariance import InvarianceAnalysis, InvarianceRecord
from iin_jax.flows import ConditionalFlow
from iin_jax.latents.representations import context_of, representation
from iin_jax.networks import from_functions

PIXELS = 64
FLOW = ConditionalFlow(20, 1, 16, 1)
BRIEF = {"flow": FLOW, "steps": 60, "batch_size": 64, "progress": False}


def painted(seed):
    """The digits 0 and 1 in random colours, (n, 8, 8, 3) in [-1, 1]."""
    digits = load_digits()
    grey = digits.images[digits.target < 2] / 16.0
    color = np.random.default_rng(seed).uniform(0.2, 1.0, (len(grey), 3))
    return (2 * grey[..., None] * color[:, None, None] - 1).astype(np.float32)


def ink(images):
    """Mean brightness of each channel, (n, 3) in [0, 1]."""
    return jnp.asarray(images).mean((1, 2)) / 2 + 0.5


def shape(images):
    """Every pixel's brightness over that of the whole image, (n, 64)."""
    grey = (images + 1).sum(-1).reshape(-1, PIXELS)
    return PIXELS * grey / grey.sum(-1, keepdims=True)


def classifier(represent):
    """A network whose one layer is a representation, a part of it the logits."""
    return from_functions(
        encode=lambda _, images: represent(images),
        decode=lambda _, z: z[:, :2],
        variables={},
        image_shape=(8, 8, 3),
        output="logits",
    )


@pytest.fixture(scope="module")
def autoencoder():
    """Principal components of such images, 20 of 192."""
    flat = np.concatenate([painted(k) for k in range(4)]).reshape(-1, 3 * PIXELS)
    mean = flat.mean(0)
    axes = np.linalg.svd(flat - mean, full_matrices=False)[2][:20].T
    return from_functions(
        encode=lambda v, x: (x.reshape(-1, 3 * PIXELS) - v["mean"]) @ v["axes"],
        decode=lambda v, z: (z @ v["axes"].T + v["mean"]).reshape(-1, 8, 8, 3),
        variables={"mean": jnp.asarray(mean), "axes": jnp.asarray(axes)},
        image_shape=(8, 8, 3),
    )


@pytest.fixture(scope="module")
def learned(autoencoder):
    """Invariances of a colour-blind layer, and of one that sees nothing but colour."""
    images = np.concatenate([painted(k) for k in range(10, 13)])
    networks = {"blind": classifier(shape), "seeing": classifier(ink)}
    return {
        name: iin_jax.invariances(autoencoder, network, "latent", images, **BRIEF)
        for name, network in networks.items()
    }


@pytest.mark.thorough
def test_colour_is_free_where_a_layer_is_blind_to_it(learned):
    images, key = painted(20)[:150], jax.random.key(1)
    freedom = {name: x.freedom(images, ink, key) for name, x in learned.items()}
    assert freedom["blind"] > 0.5
    assert freedom["seeing"] < 0.1
    of_shape = {name: x.freedom(images, shape, key) for name, x in learned.items()}
    assert of_shape["blind"] < 0.3 < of_shape["seeing"]
    distances = learned["seeing"].distance(images, key)
    assert distances["reconstructions"] < distances["samples"] < 0.3


@pytest.mark.thorough
def test_samples_are_pure_and_go_back(learned):
    images, found = painted(21)[:6], learned["blind"]
    samples = found.sample(images, jax.random.key(0), count=3)
    assert samples.shape == (3, 6, 8, 8, 3)
    again = found.sample(images, jax.random.key(0), count=3)
    np.testing.assert_array_equal(samples, again)
    v = found.translate(images)
    context = found.context(found.representation(images))
    back = found.decoded(v[None], context)[0]
    np.testing.assert_allclose(back, found.reconstructed(images), atol=1e-4)
    assert found.record["bits_per_dim"] <= found.record["start_bits_per_dim"]
    assert repr(found).startswith("Invariances of 'latent', context of")


@pytest.mark.thorough
def test_a_latent_of_odd_size_is_handled(autoencoder, learned):
    odd = from_functions(
        encode=lambda v, x: autoencoder.encode_pure(v, x)[:, :19],
        decode=lambda v, z: autoencoder.decode_pure(v, jnp.pad(z, ((0, 0), (0, 1)))),
        variables=autoencoder.variables,
        image_shape=(8, 8, 3),
    )
    settings = {**BRIEF, "flow": ConditionalFlow(19, 1, 16, 1), "steps": 2}
    network = learned["seeing"].classifier
    found = iin_jax.invariances(odd, network, "latent", painted(30), **settings)
    images = painted(31)[:3]
    v, context = (
        found.translate(images),
        found.context(found.representation(images)),
    )
    back = found.decoded(v[None], context)[0]
    np.testing.assert_allclose(back, found.reconstructed(images), atol=1e-4)


@pytest.mark.thorough
def test_bad_input_is_one_line(autoencoder, learned):
    images, blind = painted(22), classifier(shape)
    cases = [
        ((blind, blind, "latent", images), "this network puts out logits"),
        ((autoencoder, blind, "latent", images[:9]), "need 20 images; got 9"),
        ((autoencoder, blind, "latnt", images), "no layer 'latnt'"),
        (
            (autoencoder, classifier(lambda x: ink(x) * 0), "latent", images),
            "'latent' is the same for all images",
        ),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message) as raised:
            iin_jax.invariances(*arguments, **BRIEF)
        assert "\n" not in str(raised.value)
    key, same = jax.random.key(0), np.repeat(images[:1], 3, axis=0)
    for method in (learned["blind"].distance, learned["blind"].freedom):
        measure = () if method.__name__ == "distance" else (ink,)
        with pytest.raises(ValueError, match="two images are compared; got 1"):
            method(images[:1], *measure, key)
        with pytest.raises(ValueError, match=r"none of these|the same for all images"):
            method(same, *measure, key)
    other = {**BRIEF, "flow": ConditionalFlow(18)}
    with pytest.raises(ValueError, match="have 20 numbers, the flow acts on 18"):
        iin_jax.invariances(autoencoder, blind, "latent", images, **other)
    found = learned["blind"]
    v = found.translate(images[:5])[None]
    context = found.context(found.representation(images[:7]))
    with pytest.raises(ValueError, match="v is of 5 images, so the context has shape"):
        found.decoded(v, context)


@pytest.mark.thorough
def test_what_was_learned_survives_as_a_folder(autoencoder, learned, tmp_path):
    found, images = learned["blind"], painted(23)[:4]
    found.save(tmp_path)
    loaded = iin_jax.Invariances.load(tmp_path, autoencoder, found.classifier)
    assert loaded.record == found.record and loaded.layer == found.layer
    key = jax.random.key(3)
    np.testing.assert_array_equal(loaded.sample(images, key), found.sample(images, key))
    found.save(tmp_path)  # over the older one
    assert len(list(tmp_path.iterdir())) == 2
    other = from_functions(
        encode=lambda v, images: shape(images) * v["scale"],
        decode=lambda _, z: z[:, :2],
        variables={"scale": jnp.ones(())},
        image_shape=(8, 8, 3),
        output="logits",
    )
    for folder, network, message in (
        (tmp_path, other, "are of another classifier"),
        (tmp_path / "none", found.classifier, "there is no invariances.json"),
    ):
        with pytest.raises(ValueError, match=message):
            iin_jax.Invariances.load(folder, autoencoder, network)
    (tmp_path / "invariances-2.safetensors").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"invariances-2\.safetensors"):
        iin_jax.Invariances.load(tmp_path, autoencoder, found.classifier)


@pytest.mark.thorough
def test_a_scorecard_says_what_layers_leave_open(learned):
    images = painted(24)
    for name, found in learned.items():
        test = Examples.of(found.classifier, images, {"ink": ink(images)})
        evidence: Any = SimpleNamespace(
            test=test, invariances={"latent": found}, seed=0
        )
        record = InvarianceAnalysis().measure(evidence)
        figures = record.invariances["latent"]
        assert figures.bits_per_dim == found.record["bits_per_dim"]
        assert (figures.tint > 0.5) == (name == "blind")
        assert (figures.pixels > 0.5) == (name == "seeing")
        assert figures.reconstructions < figures.samples
        section = InvarianceAnalysis().section(InvarianceRecord.of(record.entries()))
        assert section.grids == ["invariances_latent"]
        fixes = "fixes an image's tint" in section.text[1]
        assert fixes == (name == "seeing")
    nothing: Any = SimpleNamespace(invariances={})
    assert InvarianceAnalysis().measure(nothing) is None


def test_a_context_is_few_numbers_of_deviation_one():
    network, images = classifier(shape), painted(25)
    context, values = context_of(network, "latent", images, 0)
    assert values.shape[1] <= 64 and len(values) == len(images)
    np.testing.assert_allclose(values.std(0, ddof=1), 1.0, atol=1e-3)
    np.testing.assert_allclose(
        np.corrcoef(values.T), np.eye(values.shape[1]), atol=0.01
    )
    own = context(representation(network, "latent", images[:5]))
    np.testing.assert_allclose(own, values[:5], atol=1e-4)
