"""Distances against SciPy, closed forms and double loops, and their protocols."""

import dataclasses
import hashlib
import json
import sys
import warnings

import jax
import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage

from iin_jax import networks
from iin_jax.analysis import (
    Distance,
    DistanceProtocol,
    distances,
    frechet,
    image_features,
    kernel_distance,
)
from iin_jax.analysis.discrepancies import squared_discrepancy
from iin_jax.networks.backbones.inception import FID_FILE
from iin_jax.networks.registry import ARCHITECTURES
from iin_jax.weights import WeightsFile, tree_digest
from tests.compilations import compilations
from tests.networks.torch_models import arrays_of, random_model

LAYER = "features.12"
SQUEEZENET = "squeezenet1_1_torchvision_fp16.safetensors"


@pytest.fixture(scope="module")
def squeezenet(shared):
    return networks.load("squeezenet1_1", shared / "weights" / SQUEEZENET)


def covariance(rng, dim, rank):
    root = rng.standard_normal((dim, rank)) * rng.uniform(0.1, 3.0, rank)
    return root @ root.T


@pytest.mark.parametrize("rank", [6, 3])
def test_frechet_is_what_scipys_matrix_root_gives(rank):
    rng = np.random.default_rng(rank)
    a, b = covariance(rng, 6, rank), covariance(rng, 6, 6)
    mean_a, mean_b = rng.standard_normal((2, 6))
    root = scipy.linalg.sqrtm(a @ b).real
    expected = ((mean_a - mean_b) ** 2).sum() + np.trace(a + b - 2.0 * root)
    assert frechet(mean_a, a, mean_b, b) == pytest.approx(expected, rel=1e-6)
    assert frechet(mean_b, b, mean_a, a) == pytest.approx(expected, rel=1e-6)


def test_frechet_of_analytic_gaussians():
    rng = np.random.default_rng(1)
    basis = scipy.linalg.qr(rng.standard_normal((5, 5)))[0]
    spread_a = np.array(
        [4.0, 1.0, 0.5, 0.0, 0.0]
    )  # rank three; both covariances commute
    spread_b = np.array([1.0, 1.0, 2.0, 3.0, 0.0])
    a, b = (basis * spread**2 @ basis.T for spread in (spread_a, spread_b))
    zero, shift = np.zeros(5), np.arange(5.0)
    expected = ((spread_a - spread_b) ** 2).sum()
    assert frechet(zero, a, zero, b) == pytest.approx(expected, rel=1e-10)
    assert frechet(zero, a, shift, a) == pytest.approx(30.0, rel=1e-10)
    assert frechet(zero, a, zero, a) == pytest.approx(0.0, abs=1e-10)
    disjoint_a, disjoint_b = np.diag([4.0, 0.0]), np.diag([0.0, 9.0])
    nothing = np.zeros(2)
    assert frechet(nothing, disjoint_a, nothing, disjoint_b) == pytest.approx(13.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(2), np.eye(2), np.zeros(3), np.eye(3)), r"got \(2,\), \(3,\)"),
        ((np.zeros(2), np.eye(2), np.zeros(2), -np.eye(2)), "got -1 as the least"),
        ((np.zeros(2), np.eye(2), np.zeros(2), np.triu(np.ones((2, 2)))), "symm"),
        ((np.zeros(2), np.eye(2), np.zeros(2), np.full((2, 2), np.nan)), "NaN"),
    ],
)
def test_what_is_no_gaussian_is_one_line(arguments, message):
    with pytest.raises(ValueError, match=message):
        frechet(*arguments)


def test_the_discrepancy_is_the_unbiased_double_loop():
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((7, 4)), rng.standard_normal((9, 4)) + 0.5

    def kernel(u, v):
        return (sum(p * q for p, q in zip(u, v, strict=True)) / 4 + 1.0) ** 3

    def within(points):
        count = len(points)
        return sum(
            kernel(points[i], points[j]) / (count * (count - 1))
            for i in range(count)
            for j in range(count)
            if i != j
        )

    across = sum(kernel(u, v) for u in x for v in y) / (7 * 9)
    expected = within(x) + within(y) - 2.0 * across
    assert squared_discrepancy(x, y) == pytest.approx(expected, rel=1e-12)
    value, error = kernel_distance(x[:3], y[:3])  # a single block
    assert error is None
    assert value == pytest.approx(squared_discrepancy(x[:3], y[:3]), rel=1e-12)


def gaussian_kernel_mean(mean_x, mean_y):
    """E (x.y / D + 1)^3 for independent x ~ N(mean_x, 1), y ~ N(mean_y, 1).

    Given y, ``x.y / D + 1`` is normal; its third moment is averaged over y exactly by
    the moments of ``m = mean_x.y / D + 1`` and ``|y|^2``.
    """
    dim = len(mean_x)
    m = mean_x @ mean_y / dim + 1.0
    variance = mean_x @ mean_x / dim**2
    square = dim + mean_y @ mean_y
    third = m**3 + 3.0 * m * variance
    cross = m * square + 2.0 * (mean_x @ mean_y) / dim
    return third + 3.0 * cross / dim**2


def test_the_kernel_distance_estimates_its_population_value_and_its_error():
    rng = np.random.default_rng(3)
    mean = np.array([0.6, 0.0, -0.3])
    zero = np.zeros(3)
    population = (
        gaussian_kernel_mean(zero, zero)
        + gaussian_kernel_mean(mean, mean)
        - 2.0 * gaussian_kernel_mean(zero, mean)
    )
    runs = [
        kernel_distance(
            rng.standard_normal((400, 3)), mean + rng.standard_normal((300, 3))
        )
        for _ in range(60)
    ]
    values, errors = np.array(runs, float).T
    spread = values.std(ddof=1)
    assert values.mean() == pytest.approx(population, abs=4.0 * spread / 60**0.5)
    assert (
        population > 5.0 * spread / 60**0.5
    )  # the tolerance above is small beside the value
    assert 0.7 < np.sqrt((errors**2).mean()) / spread < 1.4


def test_blocks_hold_a_thousand_and_are_seeded(monkeypatch):
    x = np.random.default_rng(4).standard_normal((25_000, 2))
    sizes = []
    monkeypatch.setattr(
        "iin_jax.analysis.discrepancies.squared_discrepancy",
        lambda a, b: sizes.append((len(a), len(b))) or float(a.sum()),
    )
    first = kernel_distance(x, x[:12_000], seed=1)
    assert sizes == [(1000, 1000)] * 12
    assert kernel_distance(x, x[:12_000], seed=1) == first
    assert kernel_distance(x, x[:12_000], seed=2) != first


def test_features_are_the_networks_own_averaged_over_positions(squeezenet):
    rng = np.random.default_rng(5)
    images = np.tanh(rng.standard_normal((5, 64, 64, 3))).astype(np.float32)
    features = image_features(
        squeezenet, LAYER, lambda rows: images[rows], 5, resize=64, batch_size=3
    )
    cut = dataclasses.replace(squeezenet, layer=LAYER, size=64)
    expected = np.asarray(cut.encode(images)).mean(axis=(1, 2))
    assert features.shape == (5, 512) and features.dtype == np.float64
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-4)


def test_features_are_compiled_once_for_all_calls(squeezenet):
    images = np.tanh(np.random.default_rng(5).standard_normal((6, 32, 32, 3)))
    counts, parts = [], []
    for rows in (slice(0, 3), slice(3, 6)):
        shown = images[rows].astype(np.float32)
        with compilations() as count:
            parts.append(
                image_features(
                    squeezenet, "features.3", shown.__getitem__, 3, resize=40
                )
            )
        counts.append(count[0])
    assert counts[0] > 0 and counts[1] == 0
    other = dataclasses.replace(
        squeezenet, variables=jax.tree.map(lambda x: 2 * x, squeezenet.variables)
    )
    again = image_features(other, "features.3", shown.__getitem__, 3, resize=40)
    assert np.abs(again - parts[1]).max() > 1e-3  # another network is not mistaken


def test_grey_images_are_repeated_and_resized(squeezenet):
    rng = np.random.default_rng(6)
    small = np.tanh(rng.standard_normal((2, 16, 16, 1))).astype(np.float32)
    large = np.asarray(
        [
            scipy.ndimage.zoom(
                image[..., 0], 2, order=1, grid_mode=True, mode="nearest"
            )
            for image in small
        ]
    )
    large = np.repeat(large[..., None], 3, axis=-1)
    of_small = image_features(
        squeezenet, "features.4", lambda r: small[r], 2, resize=32
    )
    of_large = image_features(
        squeezenet, "features.4", lambda r: large[r], 2, resize=32
    )
    np.testing.assert_allclose(of_small, of_large, rtol=1e-3, atol=1e-3)


def test_only_the_layers_that_are_needed_are_computed(squeezenet, monkeypatch):
    asked = []
    backbone = type(squeezenet.module)
    original = backbone.chain

    def chain(self):
        for name, layer in original(self):
            asked.append(name)
            yield name, layer

    squeezenet.layers()
    cut = dataclasses.replace(squeezenet, layer="features.3", size=32)
    cut.layers()
    monkeypatch.setattr(backbone, "chain", chain)
    images = np.zeros((1, 32, 32, 3), np.float32)
    cut.encode_pure(cut.variables, images)
    assert asked[-1] == "features.3"


def test_distances_carry_their_protocol_and_refuse_others(squeezenet, shared):
    rng = np.random.default_rng(7)
    x, y = rng.standard_normal((60, 8)), rng.standard_normal((50, 8)) + 1.0
    near = distances(squeezenet, LAYER, x, x[:50] + 1e-3, 64)
    far = distances(squeezenet, LAYER, x, y, 64)
    protocol = far["frechet"].protocol
    assert protocol == DistanceProtocol(
        "squeezenet1_1", LAYER, tree_digest(squeezenet.variables), 60, 50, 64
    )
    assert protocol.value_range == (-1.0, 1.0)
    assert near["frechet"] < far["frechet"] and far["kernel"] > near["kernel"]
    assert far["frechet"] - near["frechet"] == pytest.approx(
        far["frechet"].value - near["frechet"].value
    )
    assert far["frechet"].value == pytest.approx(
        frechet(x.mean(0), np.cov(x, rowvar=False), y.mean(0), np.cov(y, rowvar=False)),
        rel=1e-12,
    )
    assert far["frechet"].name == f"Fréchet distance (squeezenet1_1, {LAYER})"
    assert far["kernel"].name == f"kernel distance (squeezenet1_1, {LAYER})"
    assert far["kernel"].standard_error > 0 and far["frechet"].standard_error is None
    with pytest.raises(ValueError, match=r"unlike protocols.*kind \(frechet and kern"):
        _ = far["frechet"] < far["kernel"]
    fewer = distances(squeezenet, LAYER, x[:40], y, 224)["frechet"]
    with pytest.raises(ValueError) as error:
        _ = fewer - far["frechet"]
    assert "images (40 and 60), resize (224 and 64)" in str(error.value)
    assert "weights" not in str(error.value)
    for distance in (*near.values(), *far.values()):
        text = json.dumps(distance.as_dict())
        assert Distance.from_dict(json.loads(text)) == distance


def test_fid_is_a_name_for_one_protocol_alone():
    protocol = DistanceProtocol(
        "inception_v3_fid", "flatten", "0" * 64, 9, 9, 299, weights_file=FID_FILE.name
    )
    assert Distance("frechet", 1.0, None, protocol).name == "FID"
    assert Distance("kernel", 1.0, 0.1, protocol).name == "KID"
    for field, value in {
        "network": "inception_v3",
        "layer": "Mixed_7c",
        "resize": 75,
        "weights_file": None,
    }.items():
        other = dataclasses.replace(protocol, **{field: value})
        assert Distance("frechet", 1.0, None, other).name.startswith("Fréchet dist")


@pytest.mark.thorough
def test_fid_needs_the_published_weights_not_just_the_architecture(
    tmp_path, monkeypatch
):
    """Random weights stand in for the published file; no others are called FID."""
    arrays = arrays_of(random_model("inception_v3_fid", 75))
    entry = ARCHITECTURES["inception_v3_fid"]
    network = networks.pretrained.from_arrays("inception_v3_fid", entry, arrays)
    x = np.random.default_rng(8).standard_normal((9, 3))
    monkeypatch.setenv("IIN_JAX_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("IIN_JAX_CACHE", str(tmp_path / "cache"))
    with pytest.warns(UserWarning, match="not called FID and KID.*is in none of"):
        unknown = distances(network, "flatten", x, x, 299)["frechet"]
    assert unknown.name == "Fréchet distance (inception_v3_fid, flatten)"

    path = tmp_path / "published.npz"
    np.savez(path, **arrays)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    published = WeightsFile(path.name, "https://example.org/x", digest)
    module = sys.modules[
        distances.__module__
    ]  # the module, which the function of that name hides
    monkeypatch.setattr(module, "FID_FILE", published)
    known = distances(network, "flatten", x, x, 299)["frechet"]
    assert known.name == "FID" and not unknown < known  # equal, and comparable
    arrays["fc.bias"] = arrays["fc.bias"] + 1.0
    other = networks.pretrained.from_arrays("inception_v3_fid", entry, arrays)
    result = distances(other, "flatten", x, x, 299)["frechet"]
    assert result.name.startswith("Fréchet distance")
    with pytest.raises(ValueError, match="weights"):
        _ = result < known


def test_bad_features_are_one_line(squeezenet):
    x = np.random.default_rng(9).standard_normal((20, 4))
    with pytest.raises(ValueError, match="two images on either side; got 20 and 1"):
        distances(squeezenet, LAYER, x, x[:1], 64)
    with pytest.raises(ValueError, match=r"got \(20, 4\) and \(20, 3\)"):
        distances(squeezenet, LAYER, x, x[:, :3], 64)
    with pytest.raises(ValueError, match="NaN"):
        distances(squeezenet, LAYER, x, np.where(x > 1, np.nan, x), 64)
    with pytest.warns(UserWarning, match="4 images in 4 dimensions.*singular"):
        distances(squeezenet, LAYER, x, x[:4], 64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        distances(squeezenet, LAYER, x, x[:5], 64)


def test_bad_images_are_one_line(squeezenet):
    images = np.zeros((4, 32, 32, 3), np.float32)
    with pytest.raises(ValueError, match=r"did you mean features\.3"):
        image_features(squeezenet, "features.13", lambda r: images[r], 4, resize=32)
    with pytest.raises(ValueError, match=r"\[-1, 1\]"):
        image_features(squeezenet, LAYER, lambda r: images[r] + 9, 4, resize=32)
    with pytest.raises(ValueError, match="3 images were asked for; got 4"):
        image_features(squeezenet, LAYER, lambda r: images, 3, resize=32)
    with pytest.raises(ValueError, match="must be square"):
        image_features(squeezenet, LAYER, lambda r: images[r, :9], 4, resize=32)
