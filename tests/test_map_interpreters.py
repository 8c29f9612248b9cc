"""Interpreters of networks whose latents are maps: fits, files, swaps, bad input."""

import warnings

import numpy as np
import pytest

import iin_jax
from iin_jax.concepts.label_pairs import LabelPairs
from iin_jax.flows import MapStart
from iin_jax.networks import from_functions
from iin_jax.prepared import PreparedLatents, estimated_sizes

H, W, C, COUNT = 2, 3, 4, 240
LAYOUT = iin_jax.FactorLayout({"kind": 6, "tone": 6, "residual": 12})
MIXING = np.linalg.qr(np.random.default_rng(7).standard_normal((C, C)))[0]


def network():
    """E turns the channels of every position, G turns them back."""
    mixing = MIXING.astype(np.float32)
    return from_functions(
        lambda m, x: x @ m, lambda m, z: z @ m.T, mixing, image_shape=(H, W, C)
    )


def painted(seed=0):
    """Images whose first channel says ``kind`` everywhere, whose second ``tone``."""
    rng = np.random.default_rng(seed)
    kind, tone = np.divmod(rng.permutation(COUNT) % 4, 2)
    images = 0.08 * rng.standard_normal((COUNT, H, W, C))
    images[..., 0] += 0.4 * (2 * kind - 1)[:, None, None]
    images[..., 1] += 0.3 * (2 * tone - 1)[:, None, None]
    images += 0.2 * np.random.default_rng(9).uniform(-1, 1, (H, W, C))
    return images.clip(-1, 1).astype(np.float32), {"kind": kind, "tone": tone}


@pytest.fixture(scope="module")
def it():
    images, labels = painted()
    flow = iin_jax.FeatureMapFlow(H, W, C, 1, 8, 0)
    brief = {"steps": 4, "batch_size": 32, "progress": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return iin_jax.interpret(
            network(), images, labels, flow=flow, layout=LAYOUT, **brief
        )


def test_sizes_are_whole_channels():
    images, labels = painted()
    source = LabelPairs(labels, {}, np.arange(COUNT))
    z = (images @ MIXING).reshape(COUNT, -1)
    maps = PreparedLatents(z, None, source, np.arange(COUNT), H * W)
    sizes = estimated_sizes(*maps.split(0.3, 0), "shared_rank", 0)
    assert {name: x.rank for name, x in sizes.choices.items()} == {"kind": 1, "tone": 1}
    assert sizes.layout.dim == H * W * C
    for size, choice in zip(sizes.layout.sizes, sizes.choices.values(), strict=False):
        assert size == H * W * choice.size and choice.separation[1.0] > 0.3
    assert estimated_sizes(maps, None, "shared_rank", 0).layout == LAYOUT


@pytest.mark.thorough
def test_a_swap_moves_one_channel_at_every_position(it):
    images, _ = painted(1)
    a, b = images[:40], images[40:80]
    swapped = np.asarray(it.swap(a, b, ["kind"]))
    taken, kept = (np.array([m[..., c] for m in swapped]) for c in (0, 1))
    np.testing.assert_allclose(taken, b[..., 0], atol=0.15)
    np.testing.assert_allclose(kept, a[..., 1], atol=0.15)
    assert np.abs(a[..., 0] - b[..., 0]).max() > 0.6


@pytest.mark.thorough
def test_it_is_certified_saved_and_loaded_with_its_start(it, tmp_path):
    images = painted(1)[0][:6]
    certificate = it.certify(images)
    for name in ("round_trip_max_abs", "log_det_max_abs", "decode_max_abs"):
        assert certificate[name] <= 1e-5
    start = it.without_flow()
    assert isinstance(start.flow, MapStart)
    for name, saved in {"whole": it, "alone": start}.items():
        saved.save(tmp_path / name)
        again = iin_jax.load(tmp_path / name).with_network(network())
        assert again.flow == saved.flow and again.layout == saved.layout
        z = it.encode(images)
        np.testing.assert_array_equal(again.translate(z), saved.translate(z))
    assert np.abs(it.translate(z) - start.translate(z)).max() < 1.0


@pytest.mark.thorough
def test_arrays_of_maps_are_fitted_too():
    images, labels = painted()
    z = (images @ MIXING).astype(np.float32)
    half = COUNT // 2
    same = labels["kind"][:half] == labels["kind"][half:]
    shared = np.stack([same, np.zeros(half, bool)], axis=1)
    layout = iin_jax.FactorLayout({"kind": 6, "residual": 18})
    flow = iin_jax.FeatureMapFlow(H, W, C, 1, 8, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = iin_jax.fit(
            z[:half], z[half:], shared, layout, flow, steps=2, progress=False
        )
    means = fitted.without_flow().to_factors(z)["kind"].mean(axis=1)
    assert abs(np.corrcoef(means, labels["kind"])[0, 1]) > 0.9


@pytest.mark.parametrize(
    ("flow", "layout", "message"),
    [
        ((3, 2, 4), None, r"maps \(3, 2, 4\).*of another shape, \(2, 3, 4\)"),
        ((2, 3, 4), {"kind": 7, "tone": 5, "residual": 12}, "6 positions; got 'kind'"),
        ((2, 3, 3), None, "even number of them >= 2; got 3"),
    ],
)
def test_what_cannot_work_is_one_clear_line(flow, layout, message):
    images, labels = painted()
    flow = iin_jax.FeatureMapFlow(*flow)
    layout = None if layout is None else iin_jax.FactorLayout(layout)
    with pytest.raises(ValueError, match=message):
        iin_jax.interpret(network(), images, labels, flow=flow, layout=layout)


def test_vectors_are_no_maps():
    flat = from_functions(
        lambda v, x: x.reshape(len(x), -1),
        lambda v, z: z.reshape(len(z), H, W, C),
        {},
        image_shape=(H, W, C),
    )
    images, labels = painted()
    with pytest.raises(ValueError, match=r"latents are vectors, \(24,\)"):
        iin_jax.interpret(flat, images, labels, flow=iin_jax.FeatureMapFlow(H, W, C))
