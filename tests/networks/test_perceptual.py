"""LPIPS: published figures, its formula by hand, its gradients."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from iin_jax.networks import ARCHITECTURES, Perceptual, lpips, perceptual
from iin_jax.networks.perceptual import LAYERS, heads_file
from tests.conftest import normal
from tests.weights.loopback import answer, serving, use_empty_cache

pytest.importorskip("torch")  # the heads' files are PyTorch's


@pytest.fixture(scope="module")
def squeeze(shared):
    return lpips(
        backbone=shared / "weights" / "squeezenet1_1_torchvision_fp16.safetensors",
        heads=shared / "weights" / "lpips" / "v0.1_squeeze.pth",
    )


@pytest.fixture(scope="module")
def pair():
    """The documented pair: uniform images from PyTorch's generator."""
    import torch

    torch.manual_seed(123)
    drawn = [torch.rand(10, 3, 100, 100) * 2 - 1 for _ in range(2)]
    return [np.moveaxis(images.numpy(), 1, -1) for images in drawn]


def test_published_figures(squeeze, pair):
    assert float(squeeze(*pair).mean()) == pytest.approx(0.1008, abs=5e-5)
    data = pytest.importorskip("skimage.data")
    cat, coffee = (
        picture()[None, :256, :256].astype(np.float32) / 127.5 - 1
        for picture in (data.cat, data.coffee)
    )
    assert float(squeeze(coffee, cat)[0]) == pytest.approx(0.5519, abs=1e-4)
    assert float(squeeze(cat, cat[:, :, ::-1])[0]) == pytest.approx(0.4460, abs=1e-4)


def test_backbone_and_heads_are_found_by_name(squeeze, shared, tmp_path, monkeypatch):
    use_empty_cache(monkeypatch, tmp_path)
    monkeypatch.setenv("IIN_JAX_WEIGHTS", str(shared / "weights"))
    found = lpips()
    assert found.module == squeeze.module
    chex.assert_trees_all_equal(found.variables, squeeze.variables)


def test_missing_heads_are_downloaded_if_asked_for(
    squeeze, shared, tmp_path, monkeypatch
):
    cache = use_empty_cache(monkeypatch, tmp_path)
    file = heads_file("squeeze", "0.1")
    content = (shared / "weights" / file.name).read_bytes()
    backbone = shared / "weights" / "squeezenet1_1_torchvision_fp16.safetensors"
    with serving() as server:
        server.script = [answer(200, content)]
        here = dataclasses.replace(file, url=server.file().url)
        monkeypatch.setattr(perceptual, "heads_file", lambda *_: here)
        with pytest.raises(ValueError, match=f"^[^\n]*{here.url}[^\n]*$"):
            lpips(backbone=backbone)
        found = lpips(backbone=backbone, download=True)
        assert server.ranges == [None]
    assert (cache / file.name).read_bytes() == content
    chex.assert_trees_all_equal(found.variables, squeeze.variables)


def test_a_backbone_with_other_preprocessing_is_refused(shared):
    caffe = shared / "weights" / "squeezenet_v1.1_caffe_fp16.safetensors"
    message = rf"^{caffe} want BGR images in \[0, 255\][^\n]*$"
    with pytest.raises(ValueError, match=message):
        lpips(backbone=caffe)


@pytest.mark.thorough
def test_the_formula_by_hand(squeeze, pair, shared):
    a, b = (images[:2] for images in pair)
    v00 = lpips(
        version="0.0",
        backbone=shared / "weights" / "squeezenet1_1_torchvision_fp16.safetensors",
        heads=shared / "weights" / "lpips" / "v0.0_squeeze.pth",
    )
    outputs_of = jax.jit(squeeze.module.apply)
    for measure in (squeeze, v00):
        features = []
        for x in (a, b):
            if measure.version == "0.1":
                x = (x - np.array([-0.030, -0.088, -0.188])) / [0.458, 0.448, 0.450]
            outputs = outputs_of(measure.variables["backbone"], x)
            features.append([outputs[f"features.{i}"] for i in LAYERS["squeeze"][1]])
        expected = 0.0
        for number, (x, y) in enumerate(zip(*features, strict=True)):
            x, y = (np.asarray(v, np.float64) for v in (x, y))
            x, y = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (x, y))
            weights = np.asarray(measure.variables["heads"][f"lin{number}"])
            expected += (((x - y) ** 2) * weights).sum(-1).mean((1, 2))
        np.testing.assert_allclose(measure(a, b), expected, rtol=1e-4)


def test_a_distance(squeeze, pair):
    a, b = (images[:2] for images in pair)
    np.testing.assert_allclose(squeeze(a, b), squeeze(b, a), rtol=1e-5)
    np.testing.assert_allclose(squeeze(a, a), 0.0, atol=1e-6)


@pytest.mark.thorough
def test_gradients_are_finite_and_lead_downhill(squeeze, pair):
    images = jnp.asarray(pair[0][:2, :32, :32])

    @jax.jit
    @jax.value_and_grad
    def total(reconstructions):
        return squeeze.distance(squeeze.variables, images, reconstructions).sum()

    blank = jnp.zeros_like(images)  # dead features, where a root has no gradient
    value, gradient = total(blank)
    assert np.isfinite(gradient).all()
    lower = blank - 1e-2 * gradient / jnp.abs(gradient).max()
    assert float(total(lower)[0]) < float(value)


def test_grey_images_count_as_three_equal_channels(squeeze, pair):
    a, b = (images[:2, :32, :32] for images in pair)
    thrice = [np.repeat(images[..., :1], 3, axis=-1) for images in (a, b)]
    grey = jax.jit(squeeze.distance)(squeeze.variables, a[..., :1], b[..., :1])
    np.testing.assert_allclose(grey, squeeze(*thrice), rtol=1e-5)


def test_heads_of_every_variant_load_and_are_not_negative(shared):
    from iin_jax.weights import read_arrays

    sums = {"0.0": (65.506, 52.5207, 104.9286), "0.1": (105.2754, 131.8555, 173.4387)}
    for version, expected in sums.items():
        for variant, total in zip(("alex", "vgg", "squeeze"), expected, strict=True):
            arrays = read_arrays(shared / "weights" / heads_file(variant, version).name)
            assert min(array.min() for array in arrays.values()) >= 0
            assert sum(array.sum() for array in arrays.values()) == pytest.approx(
                total, rel=1e-4
            )


def torch_distance(features, heads, layers, a, b):
    """The formula in PyTorch, in float64."""
    import torch

    shift = torch.tensor([-0.030, -0.088, -0.188])[:, None, None]
    scale = torch.tensor([0.458, 0.448, 0.450])[:, None, None]
    pair = (torch.tensor(np.asarray(x)).permute(0, 3, 1, 2) for x in (a, b))
    x, y = (((images - shift) / scale).double() for images in pair)
    total = torch.zeros(len(a))
    compared = features[: layers[-1] + 1].double().requires_grad_(False)
    for index, layer in enumerate(compared):
        x, y = layer(x), layer(y)
        if index in layers:
            weights = torch.tensor(heads[layers.index(index)])[:, None, None]
            unit_x, unit_y = (v / (v.norm(dim=1, keepdim=True) + 1e-10) for v in (x, y))
            total = total + (weights * (unit_x - unit_y) ** 2).sum(1).mean((1, 2))
    return total.numpy()


@pytest.mark.parametrize(
    ("variant", "layers"),
    [("alex", (1, 4, 7, 9, 11)), ("vgg", (3, 8, 15, 22, 29))],
)
def test_the_formula_in_pytorch_on_torchvisions_layers(variant, layers):
    from tests.networks.torch_models import torchvision_models

    models = torchvision_models()
    import torch
    from torch.nn import Conv2d, init

    torch.manual_seed(0)
    features = (
        models.alexnet(weights=None).features
        if variant == "alex"
        else models.vgg.make_layers(models.vgg.cfgs["D"])
    )
    params, widths = {}, {}
    for index, layer in enumerate(features):
        if isinstance(layer, Conv2d):
            init.kaiming_normal_(layer.weight)
            init.normal_(layer.bias, std=0.1)
            kernel = layer.weight.detach().numpy().transpose(2, 3, 1, 0).copy()
            bias = layer.bias.detach().numpy().copy()
            params[f"features.{index}"] = {"kernel": kernel, "bias": bias}
            widths[index + 1] = len(bias)
    heads = [np.abs(normal((widths[index],), index)) for index in layers]
    variables = {
        "backbone": {"params": params},
        "heads": {f"lin{number}": head for number, head in enumerate(heads)},
    }
    module = ARCHITECTURES[LAYERS[variant][0]].module
    a, b = (jnp.tanh(normal((2, 48, 48, 3), seed)) for seed in (0, 1))
    expected = torch_distance(features, heads, layers, a, b)
    actual = Perceptual(variant, "0.1", module, variables)(a, b)
    np.testing.assert_allclose(actual, expected, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["alex", "vgg"])
def test_other_variants_compute_with_random_backbones(shared, tmp_path, variant):
    """No weights of theirs lie here: the layers and widths are what is checked."""
    from tests.networks.torch_models import arrays_of, random_model

    model = random_model(LAYERS[variant][0], 224)
    np.savez(tmp_path / "backbone.npz", **arrays_of(model))
    heads = shared / "weights" / "lpips" / f"v0.1_{variant}.pth"
    measure = lpips(variant, backbone=tmp_path / "backbone.npz", heads=heads)
    a, b = jnp.tanh(normal((2, 64, 64, 3))), jnp.tanh(normal((2, 64, 64, 3), 1))
    assert (measure(a, b) > 0).all()
    with pytest.raises(ValueError, match="misshapen"):
        lpips(
            variant,
            backbone=tmp_path / "backbone.npz",
            heads=shared / "weights" / "lpips" / "v0.1_squeeze.pth",
        )


def test_bad_input(squeeze, pair):
    a, b = (images[:1] for images in pair)
    with pytest.raises(ValueError, match=r"\[-1, 1\]; got .*images / 127.5 - 1"):
        squeeze((a + 1) * 127.5, b)
    with pytest.raises(ValueError, match="at least 32 pixels"):
        squeeze(a[:, :16, :16], b[:, :16, :16])
    with pytest.raises(ValueError, match="like with like"):
        squeeze(a, b[:, :64, :64])
    with pytest.raises(ValueError, match="did you mean squeeze"):
        lpips("squeez")
    with pytest.raises(ValueError, match="versions"):
        lpips(version="0.2")
