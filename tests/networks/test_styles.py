"""The style transformer: published weights give the published pictures."""

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from iin_jax.networks.backbones.style_transformer import separable
from iin_jax.networks.styles import FILE, load_style_network
from iin_jax.weights import read_arrays
from tests.conftest import normal
from tests.weights.loopback import use_empty_cache

EXPECTED = {  # style -> channel means, and the pixel at row and column 48
    "zeros": ((0.50353, 0.49623, 0.50390), None),
    "sketch": ((0.91646, 0.91423, 0.82903), (0.97894, 0.97900, 0.90731)),
    "udnie": ((0.38020, 0.38582, 0.38581), (0.39455, 0.38978, 0.39355)),
    "grass": ((0.48885, 0.49068, 0.49773), (0.70060, 0.70830, 0.71724)),
}


@pytest.fixture(scope="module")
def weights(shared):
    path = shared / "weights" / FILE
    if not path.is_file():
        pytest.skip(f"no {FILE} among the reference data")
    return path


@pytest.fixture(scope="module")
def network(weights):
    return load_style_network(weights)


@pytest.fixture(scope="module")
def cat():
    picture = Image.fromarray(pytest.importorskip("skimage.data").cat())
    picture = picture.crop((75, 0, 375, 300)).resize((96, 96), Image.Resampling.BICUBIC)
    return np.asarray(picture, np.float32)[None] / 127.5 - 1.0


@pytest.mark.thorough
def test_the_styles_look_as_published(network, cat):
    styles = {"zeros": np.zeros(100, np.float32), **network.styles}
    assert set(styles) == set(EXPECTED)
    together = np.stack([styles[name] for name in EXPECTED])
    found = np.asarray(network(cat.repeat(4, axis=0), together))
    for image, (mean, pixel) in zip(
        (found + 1.0) / 2.0, EXPECTED.values(), strict=True
    ):
        np.testing.assert_allclose(image.mean(axis=(0, 1)), mean, atol=2e-5)
        if pixel is not None:
            np.testing.assert_allclose(image[48, 48], pixel, atol=2e-5)


@pytest.mark.parametrize(("window", "features"), [(3, 8), (9, 3), (5, 4), (5, 5)])
def test_separable_convolutions_are_what_they_are_called(window, features):
    x, depthwise = normal((2, 12, 9, 6)), normal((window, window, 6, 1), 1)
    pointwise = normal((1, 1, 6, features), 2)
    half, names = window // 2, ("NHWC", "HWIO", "NHWC")
    grouped = jax.lax.conv_general_dilated(
        x,
        depthwise.swapaxes(2, 3),
        (1, 1),
        [(half, half)] * 2,
        dimension_numbers=names,
        feature_group_count=6,
    )
    expected = np.asarray(grouped) @ np.asarray(pointwise[0, 0])
    found = separable(x, depthwise, pointwise)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_the_file_is_found_by_name_or_asked_for_in_one_line(
    weights, network, tmp_path, monkeypatch
):
    use_empty_cache(monkeypatch, tmp_path)
    monkeypatch.setenv("IIN_JAX_WEIGHTS", f"{tmp_path}:{weights.parent}")
    found = load_style_network()
    jax.tree.map(np.testing.assert_array_equal, found.variables, network.variables)
    monkeypatch.setenv("IIN_JAX_WEIGHTS", str(tmp_path))
    with pytest.raises(ValueError, match=rf"^[^\n]*{FILE}[^\n]*{tmp_path}[^\n]*$"):
        load_style_network()


def test_arrays_of_another_network_are_named(weights, tmp_path):
    arrays = read_arrays(weights)
    arrays.pop("transformer/contract/conv1/weights")
    arrays["other"] = np.zeros(3, np.float32)
    save_file(arrays, tmp_path / "wrong.safetensors")
    message = r"^[^\n]*style transformer: unused: other.*missing: params/contract/conv1"
    with pytest.raises(ValueError, match=message):
        load_style_network(tmp_path / "wrong.safetensors")
    arrays = {**read_arrays(weights), "style_vector/short": np.zeros(3, np.float32)}
    save_file(arrays, tmp_path / "short.safetensors")
    with pytest.raises(ValueError, match="style_vector/short has another shape"):
        load_style_network(tmp_path / "short.safetensors")


@pytest.mark.parametrize(
    ("shape", "style", "message"),
    [
        ((1, 30, 32, 3), (100,), "multiples of 4"),
        ((1, 32, 32, 1), (100,), "multiples of 4"),
        ((32, 32, 3), (100,), "multiples of 4"),
        ((1, 32, 32, 3), (99,), r"shape \(100,\)"),
        ((1, 32, 32, 3), (2, 100), r"shape \(100,\)"),
    ],
)
def test_other_shapes_are_one_line(network, shape, style, message):
    with pytest.raises(ValueError, match=message) as error:
        network(np.zeros(shape, np.float32), np.zeros(style, np.float32))
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"\[-1, 1\]"):
        network(np.full((1, 32, 32, 3), 9.0, np.float32), np.zeros(100, np.float32))
