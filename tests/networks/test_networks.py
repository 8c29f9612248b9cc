"""Autoencoder and classifier against convolutions written out; files; bad images."""

import json
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate

from iin_jax.files.json_files import read_description
from iin_jax.networks import (
    Autoencoder,
    AutoencoderNetwork,
    Classifier,
    ClassifierNetwork,
    from_functions,
    load_network,
    save_network,
)
from iin_jax.networks.base import check_image_values
from tests.conftest import normal, perturbed


@pytest.fixture(scope="module")
def classifier():
    module = Classifier(4, 6, 8, 3, 2, 4)
    images = jnp.tanh(normal((32, 8, 8, 3)))
    variables = jax.jit(module.init)(jax.random.key(0), images)
    return ClassifierNetwork(module, perturbed(variables, 0.05))


def convolve(x, kernel, stride=1):
    """(H, W, C) with (h, w, C, D), no padding, written as SciPy correlations."""
    maps = [
        sum(
            correlate(x[..., c], kernel[..., c, d], mode="valid")
            for c in range(x.shape[-1])
        )
        for d in range(kernel.shape[-1])
    ]
    return np.stack(maps, -1)[::stride, ::stride]


def leaky(x, slope):
    return np.where(x > 0, x, slope * x)


def act_norm(x, params):
    return (x + params["loc"]) * np.exp(params["log_scale"])


def encode_by_hand(image, params):
    x = np.asarray(image, np.float64)
    for layer in ("0", "1"):
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        x = convolve(padded, np.asarray(params[f"Conv_{layer}"]["kernel"]), 2)
        x = leaky(act_norm(x, params[f"ActNorm_{layer}"]), 0.2)
    full = params["Conv_2"]
    return convolve(x, np.asarray(full["kernel"]))[0, 0] + full["bias"]


def up_by_hand(x, kernel, stride, crop):
    """Transposed convolution: every input pixel stamps the kernel onto the output."""
    h, w, _, out = kernel.shape
    canvas = np.zeros(
        ((x.shape[0] - 1) * stride + h, (x.shape[1] - 1) * stride + w, out)
    )
    flipped = kernel[::-1, ::-1]
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            stamp = np.einsum("c,hwcd->hwd", x[i, j], flipped)
            canvas[i * stride : i * stride + h, j * stride : j * stride + w] += stamp
    return canvas[crop : canvas.shape[0] - crop, crop : canvas.shape[1] - crop]


def decode_by_hand(z, params):
    first = params["ConvTranspose_0"]
    x = np.asarray(z, np.float64)[None, None]
    x = up_by_hand(x, np.asarray(first["kernel"]), 1, 0) + first["bias"]
    x = up_by_hand(x, np.asarray(params["ConvTranspose_1"]["kernel"]), 2, 1)
    x = leaky(act_norm(x, params["ActNorm_0"]), 0.2)
    return np.tanh(up_by_hand(x, np.asarray(params["ConvTranspose_2"]["kernel"]), 2, 1))


def test_the_autoencoder_is_its_convolutions_written_out(autoencoder, images):
    params = autoencoder.variables["params"]
    mean, log_var = autoencoder.posterior(images)
    for index in range(2):
        expected = encode_by_hand(images[index], params["encoder"])
        actual = np.concatenate([mean[index], log_var[index]])
        np.testing.assert_allclose(actual, expected, atol=1e-4)
    z = normal((2, 8), 3)
    for index in range(2):
        expected = decode_by_hand(z[index], params["decoder"])
        np.testing.assert_allclose(autoencoder.decode(z)[index], expected, atol=1e-4)


def test_encoding_is_the_posteriors_mean_and_sampling_adds_its_noise(
    autoencoder, images
):
    mean, log_var = autoencoder.posterior(images)
    np.testing.assert_allclose(autoencoder.encode(images), mean, atol=1e-6)
    noise = normal((8, 8), 4)
    apply = jax.jit(autoencoder.module.apply)
    reconstruction, *_ = apply(autoencoder.variables, images, noise)
    z = mean + np.exp(0.5 * log_var) * noise
    np.testing.assert_allclose(reconstruction, autoencoder.decode(z), atol=1e-5)


def test_log_variances_are_clipped(autoencoder, images):
    params = jax.tree.map(jnp.asarray, autoencoder.variables["params"])
    encoder = {**params["encoder"]}
    bias = jnp.concatenate([jnp.zeros(8), jnp.full(4, 99.0), jnp.full(4, -99.0)])
    encoder["Conv_2"] = {**encoder["Conv_2"], "bias": bias}
    variables = {"params": {**params, "encoder": encoder}}
    _, log_var = AutoencoderNetwork(autoencoder.module, variables).posterior(images)
    np.testing.assert_array_equal(log_var[:, :4], 10.0)
    np.testing.assert_array_equal(log_var[:, 4:], -30.0)


def test_published_sizes():
    shapes = jax.eval_shape(
        Autoencoder().init,
        jax.random.key(0),
        jnp.zeros((2, 32, 32, 3)),
        jnp.zeros((2, 64)),
    )["params"]
    kernels = [shapes["encoder"][f"Conv_{layer}"]["kernel"].shape for layer in range(5)]
    assert kernels == [
        (4, 4, 3, 64),
        (4, 4, 64, 128),
        (4, 4, 128, 256),
        (4, 4, 256, 512),
        (2, 2, 512, 128),
    ]


def test_a_classifier_is_cut_before_its_head(classifier, images):
    logits = jax.jit(classifier.module.apply)(classifier.variables, images)
    z = classifier.encode(images)
    assert z.shape == (8, 6) and classifier.cut == "latent"
    np.testing.assert_allclose(classifier.decode(z), logits, atol=1e-5)
    head = classifier.variables["params"]["head"]
    np.testing.assert_allclose(z @ head["kernel"] + head["bias"], logits, atol=1e-5)
    assert classifier.posterior(images) is None


def test_a_classifier_can_be_cut_behind_every_halving(classifier, images, tmp_path):
    shapes = {"down1": (4, 4, 4), "down2": (2, 2, 8), "latent": (6,)}
    assert classifier.layers() == shapes
    outputs, logits = (
        classifier.features(images),
        classifier.decode(classifier.encode(images)),
    )
    params = classifier.variables["params"]["encoder"]
    padded = np.pad(np.asarray(images[0], np.float64), ((1, 1), (1, 1), (0, 0)))
    first = convolve(padded, np.asarray(params["Conv_0"]["kernel"]), 2)
    first = leaky(act_norm(first, params["ActNorm_0"]), 0.2)
    np.testing.assert_allclose(outputs["down1"][0], first, atol=1e-4)
    for layer, shape in shapes.items():
        cut = classifier.cut_at(layer)
        z = cut.encode(images)
        assert z.shape == (8, *shape) and cut.latent_shape == shape
        np.testing.assert_allclose(z, outputs[layer], atol=1e-6)
        np.testing.assert_allclose(cut.decode(z), logits, atol=1e-5)
    save_network(tmp_path, classifier.cut_at("down2"))
    assert load_network(tmp_path).cut == "down2"
    with pytest.raises(ValueError, match=r"no layer 'down3'.*did you mean"):
        classifier.cut_at("down3")


def test_networks_survive_as_files(autoencoder, classifier, images, tmp_path):
    for network in (autoencoder, classifier):
        folder = tmp_path / network.architecture
        save_network(folder, network)
        loaded = load_network(folder)
        assert type(loaded) is type(network) and loaded.module == network.module
        np.testing.assert_array_equal(loaded.encode(images), network.encode(images))
    with pytest.raises(ValueError, match="no network in"):
        load_network(tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:40], "cannot be used: Unterminated"),
        (lambda text: "[1]", "no JSON object"),
        (lambda text: "{}", "no entry 'architecture'"),
        (lambda text: text.replace('"settings": {', '"settings": 3, "x": {'), "int"),
        (lambda text: text.replace('"autoencoder"', '"autoencodr"'), "did you mean au"),
        (lambda text: text.replace('"base"', '"basis"'), "argument 'basis'"),
    ],
)
def test_damaged_descriptions_are_one_line_with_the_file(
    autoencoder, tmp_path, damage, message
):
    save_network(tmp_path, autoencoder)
    file = tmp_path / "network.json"
    # without its checksum, as version 0.1 wrote it: then only what it says can be wrong
    file.write_text(damage(json.dumps(read_description(file), indent=2)))
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        load_network(tmp_path)
    assert str(error.value).startswith(str(file)) and message in str(error.value)


def test_functions_make_a_network(images):
    weight = normal((192, 4), 2)
    network = from_functions(
        lambda w, x: x.reshape(len(x), -1) @ w,
        lambda w, z: jnp.tanh(z @ w.T).reshape(len(z), 8, 8, 3),
        weight,
        image_shape=(8, 8, 3),
    )
    assert network.latent_shape == (4,)
    expected = np.asarray(images).reshape(8, -1) @ np.asarray(weight)
    np.testing.assert_allclose(network.encode(images), expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="cannot be saved"):
        network.settings()
    with pytest.raises(ValueError, match=r"expected z .* and images"):
        from_functions(
            lambda w, x: x.reshape(len(x), -1) @ w,
            lambda w, z: z,
            weight,
            image_shape=(8, 8, 3),
            output="images",
        )


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 8, 8, 3), np.uint8), r"floats in \[-1, 1\]; got uint8.*127.5"),
        (np.full((2, 8, 8, 3), 200.0), r"got \[200, 200\]: try images / 127.5 - 1"),
        (np.full((2, 8, 8, 3), 1.5), r"must lie in \[-1, 1\]"),
        (np.full((2, 8, 8, 3), np.nan), "NaN"),
        (np.zeros((0, 8, 8, 3), np.float32), "no images"),
        (
            np.zeros((2, 8, 8, 1), np.float32),
            r"shape \(B, 8, 8, 3\); got \(2, 8, 8, 1\)",
        ),
        (np.zeros((2, 9, 8, 3), np.float32), r"shape \(B, 8, 8, 3\)"),
        (np.zeros((8, 8, 3), np.float32), r"shape \(B, 8, 8, 3\)"),
    ],
)
def test_bad_images_are_one_clear_line(autoencoder, images, message):
    with pytest.raises(ValueError, match=message) as error:
        autoencoder.encode(images)
    assert "\n" not in str(error.value)


def test_bad_latents_and_sizes_are_refused(autoencoder):
    with pytest.raises(ValueError, match=r"\(B, 8\); got \(2, 7\)"):
        autoencoder.decode(np.zeros((2, 7)))
    with pytest.raises(ValueError, match="multiple of 2"):
        Autoencoder(8, 10, 3, 2, 4).init(
            jax.random.key(0), jnp.zeros((2, 10, 10, 3)), jnp.zeros((2, 8))
        )


def test_images_without_a_negative_value_are_warned_of():
    images = np.random.default_rng(0).uniform(0, 1, (4, 8, 8, 1)).astype(np.float32)
    with pytest.warns(UserWarning, match=r"without one negative .* 2 \* images - 1 if"):
        check_image_values(images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_image_values(2 * images - 1)
        check_image_values(np.ones_like(images))  # white, or nothing to tell by


def test_a_network_is_shown_in_a_line():
    network = AutoencoderNetwork(Autoencoder(8, 16, 1, 2, 4), {"w": np.ones(10_000)})
    assert repr(network) == (
        "AutoencoderNetwork 'autoencoder': images (16, 16, 1), cut at 'latent', "
        "z (8,), output 'images'"
    )
