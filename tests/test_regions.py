"""Edits confined to a region of a map, on a small convolutional autoencoder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import iin_jax
from iin_jax.flows import FeatureMapFlow, InterpretationFlow
from iin_jax.networks import from_functions
from tests.conftest import normal, perturbed

SIDE, CHANNELS = 16, 2  # of the map; images have twice the sides
REGION = np.zeros((SIDE, SIDE), bool)
REGION[5:9, 6:10] = True


def convolved(x, weights):
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, weights, (1, 1), "SAME", None, None, layout)


def encode(weights, x):
    """2x2 patches, mixed."""
    patches = x.reshape(len(x), SIDE, 2, SIDE, 2, 3).transpose(0, 1, 3, 2, 4, 5)
    return patches.reshape(len(x), SIDE, SIDE, 12) @ weights["down"]


def decode(weights, z):
    """Every position becomes 2x2 pixels, which a 3x3 convolution mixes."""
    wide = jnp.repeat(jnp.repeat(z, 2, axis=1), 2, axis=2)
    return jnp.tanh(convolved(wide, weights["up"]))


@pytest.fixture(scope="module")
def it():
    weights = {"down": normal((12, CHANNELS), 1), "up": normal((3, 3, CHANNELS, 3), 2)}
    shape = (2 * SIDE, 2 * SIDE, 3)
    network = from_functions(encode, decode, weights, image_shape=shape)
    flow = FeatureMapFlow(SIDE, SIDE, CHANNELS, 1, 4, 0)
    variables = flow.init(jax.random.key(0), normal((2, flow.dim)))
    half = flow.dim // 2
    layout = iin_jax.FactorLayout({"kind": half, "residual": half})
    return iin_jax.Interpreter(flow, perturbed(variables, 0.1), layout, network)


@pytest.fixture(scope="module")
def pair():
    shape = (2, 3, 2 * SIDE, 2 * SIDE, 3)
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def pixels():
    return np.repeat(np.repeat(REGION, 2, axis=0), 2, axis=1)


def test_a_swap_in_a_region_leaves_the_pixels_elsewhere(it, pair):
    a, b = pair
    before = np.asarray(it.swap(a, b, []))
    swapped = np.asarray(it.swap(a, b, ["kind"], region=REGION))
    changed = np.abs(swapped - before).max(axis=-1) / 2.0  # of the range of values
    outside, within = changed[:, ~pixels()], changed[:, pixels()]
    assert (outside < 1 / 255).mean() >= 0.95
    assert (within > 1 / 255).mean() > 0.8
    everywhere = np.abs(np.asarray(it.swap(a, b, ["kind"])) - before).max(axis=-1)
    assert (everywhere[:, ~pixels()] > 1 / 255).mean() > 0.8


def test_z_outside_the_region_stays_exactly_as_it_was(it, pair):
    a, b = pair
    z = [np.asarray(it.encode(images)) for images in pair]
    tilde = [it.translate(side) for side in z]
    whole = np.asarray(it.untranslate(it.layout.swap(*tilde, ["kind"])))
    expected = it.decode(np.where(REGION[..., None], whole, z[0]))
    swapped = it.swap(a, b, ["kind"], region=REGION)
    np.testing.assert_allclose(swapped, expected, atol=1e-5)
    edited = it.swap(a, b, ["kind"], region=REGION, plausibility=True)
    np.testing.assert_allclose(edited.output, expected, atol=1e-5)
    confined = np.where(REGION[..., None], whole, z[0])
    tails = it.plausibility(it.translate(confined))
    np.testing.assert_allclose(edited.plausibility["kind"], tails["kind"], atol=1e-4)


def test_other_edits_are_confined_too(it, pair):
    a, b = pair
    full = it.swap(a, b, ["kind"], region=REGION)
    before = np.asarray(it.decode(it.encode(a)))
    path = it.interpolate(a, b, ["kind"], steps=2, region=REGION)
    np.testing.assert_allclose(path[0], before, atol=1e-4)
    np.testing.assert_allclose(path[1], full, atol=1e-4)
    options = {"count": 2, "region": REGION}
    drawn = np.asarray(it.sample(a, ["kind"], jax.random.key(0), **options))
    far = np.kron(REGION, np.ones((2, 2))) > 0
    far = ~np.pad(far, 1)[2:, 2:] & ~np.pad(far, 1)[:-2, :-2] & ~pixels()
    np.testing.assert_allclose(drawn[0][:, 0], before[:, 0], atol=1e-5)
    assert np.abs(drawn - before)[:, :, pixels()].max() > 0.1
    way = np.ones(it.flow.dim, np.float32)
    moved = np.asarray(it.move(a, way, [0.5], region=REGION))[0]
    difference = np.abs(moved - before).max(axis=-1)
    assert difference[:, pixels()].max() > 0.1 and difference[:, 0].max() < 1e-5
    np.testing.assert_allclose(
        it.move(a, way, [0.5], region=np.zeros_like(REGION))[0], before, atol=1e-6
    )


@pytest.mark.parametrize(
    "region", [np.ones((4, 4), bool), np.ones((SIDE, SIDE)), np.ones(SIDE, bool)]
)
def test_a_region_of_another_form_is_one_clear_line(it, pair, region):
    with pytest.raises(ValueError, match=r"one value per position.*\(16, 16\); got"):
        it.swap(*pair, ["kind"], region=region)


def test_a_vector_has_no_regions(interpreter, images):
    with pytest.raises(ValueError, match="z is a vector"):
        interpreter.swap(images, images, ["digit"], region=np.ones((2, 2), bool))


def test_a_flattened_flow_of_a_map_edits_regions_as_well():
    network = from_functions(
        lambda v, x: x, lambda v, z: z, {}, image_shape=(2, 2, 2), output="images"
    )
    flow = InterpretationFlow(8, 1, 8, 0)
    variables = perturbed(flow.init(jax.random.key(0), normal((20, 8))))
    layout = iin_jax.FactorLayout({"kind": 3, "residual": 5})
    it = iin_jax.Interpreter(flow, variables, layout, network)
    a, b = np.clip(0.3 * np.asarray(normal((2, 3, 2, 2, 2), 4)), -1, 1)
    region = np.array([[True, False], [False, False]])
    swapped = np.asarray(it.swap(a, b, ["kind"], region=region))
    np.testing.assert_array_equal(swapped[:, ~region], a[:, ~region])
    whole = np.asarray(it.swap(a, b, ["kind"]))
    np.testing.assert_allclose(swapped[:, region], whole[:, region], atol=1e-6)
