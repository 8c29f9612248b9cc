"""What is compiled once serves again; filled-up batches give what single images do."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import iin_jax
from iin_jax.analysis.layers import scored_layers
from iin_jax.concepts import pairs_from_labels
from iin_jax.losses import gaussian_nll
from iin_jax.networks import AutoencoderNetwork
from tests.compilations import compilations
from tests.conftest import normal

LAYOUT = iin_jax.FactorLayout({"shape": 2, "residual": 2})
FLOW = iin_jax.InterpretationFlow(4, 1, 10, 0)  # of no other test
BRIEF = {"sigma": 0.9, "steps": 2, "batch_size": 8, "progress": False}
LARGE = 300  # more images than go into one batch


@pytest.fixture(autouse=True)
def no_warnings_of_brief_fits():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def fitted(seed_of_data, count=64, **changes):
    za, zb = np.array(normal((2, count, 4), seed_of_data))
    zb[:, :2] = za[:, :2]
    shared = np.tile([True, False], (count, 1))
    settings = {"flow": FLOW, **BRIEF, **changes}
    return iin_jax.fit(za, zb, shared, LAYOUT, **settings)


@pytest.fixture(scope="module")
def compiled():
    """How many programs a first fit compiles."""
    with compilations() as count:
        fitted(0)
    return count[0]


@pytest.mark.thorough
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"start": "published"},
        {"sigma": None},
        {"loss": iin_jax.losses.pair_term},
    ],
    ids=["as it is", "published", "learned", "own loss"],
)
def test_a_second_fit_compiles_nothing(compiled, change):
    change = {"seed_of_data": 0, **change}
    fitted(**change)
    with compilations() as again:
        fitted(**change)
        fitted(**{**change, "seed_of_data": 7})
    assert compiled > 5 and again[0] == 0


@pytest.mark.thorough
def test_other_data_and_seeds_share_the_programs_of_the_first(compiled):
    for change in ({"seed_of_data": 1}, {"seed": 5}):
        with compilations() as again:
            fitted(**{"seed_of_data": 0, **change})
        assert again[0] == 0, change


def test_swaps_of_about_as_many_images_share_programs(interpreter, autoencoder):
    images = pictures(24)
    # a network of its own, so that no other test has compiled its programs
    network = AutoencoderNetwork(autoencoder.module, autoencoder.variables)
    own = interpreter.with_network(network)
    with compilations() as control:
        own.swap(images[:10], images[10:20], ["digit"])
    assert control[0] > 0
    with compilations() as count:
        for number in (11, 12, 16):
            own.swap(images[:number], images[-number:], ["color"])
            own.encode(images[:number])
    assert count[0] == 0


def test_layers_components_are_compiled_once(autoencoder):
    network = AutoencoderNetwork(autoencoder.module, autoencoder.variables)
    labels = {"digit": np.arange(8) % 2}
    pairs, images = pairs_from_labels(labels, 40), pictures(8)
    counts, results = [], []
    for shown in (images, images, images[::-1]):
        with compilations() as count:
            scored = scored_layers(network, shown.__getitem__, 8, pairs, ("digit",))
        counts.append(count[0])
        results.append(scored["latent"].scores["digit"])
    assert counts[0] > 0 and counts[1:] == [0, 0]
    assert results[0] == results[1] != results[2]


def pictures(count):
    return np.tanh(np.asarray(normal((count, 8, 8, 3), 3)))


def one_by_one(function, *arrays, axis=0):
    """Results of single entries, joined: a batch of one is never filled up."""
    parts = [function(*(x[i : i + 1] for x in arrays)) for i in range(len(arrays[0]))]
    return np.concatenate([np.asarray(part) for part in parts], axis=axis)


EDITS = {
    "encode": lambda it, x: it.encode(x),
    "translate": lambda it, x: it.translate(latents(x)),
    "untranslate": lambda it, x: it.untranslate(latents(x)),
    "decode": lambda it, x: it.decode(latents(x)),
    "log_prob": lambda it, x: it.log_prob(latents(x)),
    "swap": lambda it, x: it.swap(x, -x, ["digit"]),
    "interpolate": lambda it, x: it.interpolate(x, -x, ["digit"], steps=3),
}


def latents(images):
    return images.reshape(len(images), -1)[:, :8]


@pytest.mark.parametrize(
    "count", [2, pytest.param(5, marks=pytest.mark.thorough), LARGE]
)
@pytest.mark.parametrize("name", EDITS)
def test_a_filled_up_batch_gives_what_single_images_do(interpreter, name, count):
    images, axis = pictures(count), int(name == "interpolate")
    whole = EDITS[name](interpreter, images)
    assert isinstance(whole, jax.Array)
    some = np.unique(np.r_[0, 1, np.arange(2, count, 37), count - 1])
    single = one_by_one(lambda x: EDITS[name](interpreter, x), images[some], axis=axis)
    assert whole.shape[axis] == count
    chosen = np.take(np.asarray(whole), some, axis)
    np.testing.assert_allclose(chosen, single, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("count", [3, 90])
def test_samples_of_a_filled_up_batch_are_those_of_their_draws(interpreter, count):
    """With four samples of each, 64 images are a batch."""
    images, key = pictures(count), jax.random.key(1)
    whole = interpreter.sample(images, ["color"], key, count=4)
    assert whole.shape == (4, count, 8, 8, 3)
    draws, where = jax.random.normal(key, (4, count, 8)), LATENT_COLOR
    for image in {0, 1, count // 2, count - 1}:
        z_tilde = interpreter.translate(interpreter.encode(images[image : image + 1]))
        edited = np.repeat(np.asarray(z_tilde), 4, axis=0)
        edited[:, where] = draws[:, image, where]
        single = one_by_one(
            lambda x: interpreter.decode(interpreter.untranslate(x)), edited
        )
        np.testing.assert_allclose(whole[:, image], single, atol=2e-5, rtol=1e-4)


LATENT_COLOR = slice(3, 5)  # of the interpreter's layout


@pytest.mark.parametrize(
    "name", [*EDITS, pytest.param("sample", marks=pytest.mark.thorough)]
)
def test_traced_images_give_the_same(interpreter, name):
    """Under jit, where a batch goes through as it is, and through gradients."""
    key = jax.random.key(0)
    edits = {**EDITS, "sample": lambda it, x: it.sample(x, ["color"], key, count=2)}

    def edit(images):
        return edits[name](interpreter, images)

    def size(images):
        return jnp.square(edit(images)).sum()

    images = jnp.asarray(0.9 * pictures(5))
    plain = np.asarray(edit(images))
    np.testing.assert_allclose(jax.jit(edit)(images), plain, atol=2e-5, rtol=1e-4)
    gradient = np.asarray(jax.grad(size)(images), np.float64)
    steepness = np.linalg.norm(gradient)
    step = jnp.asarray(0.01 * gradient / steepness, jnp.float32)
    ends = (edit(images + sign * step) for sign in (1, -1))
    above, below = (np.square(np.asarray(x, np.float64)).sum() for x in ends)
    assert above - below == pytest.approx(0.02 * steepness, rel=0.05)


def test_the_traced_density_is_the_flows(interpreter):
    z = np.asarray(normal((5, 8), 4))
    arrays = interpreter.flow.apply(interpreter.variables, jnp.asarray(z))
    expected = -np.asarray(gaussian_nll(*arrays))
    np.testing.assert_allclose(interpreter.log_prob(z), expected, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(interpreter.log_prob)(z), expected, rtol=1e-5)


@pytest.mark.parametrize("steps", [1, 0, -3])
def test_a_path_has_two_ends(interpreter, images, steps):
    with pytest.raises(ValueError, match=f"steps >= 2; got {steps}"):
        interpreter.interpolate(images, images, ["digit"], steps=steps)


def test_a_path_of_more_points_than_a_batch_has_images(interpreter):
    images = pictures(2)
    path = interpreter.interpolate(images, -images, ["digit"], steps=300)
    assert path.shape == (300, 2, 8, 8, 3)
    ends = interpreter.interpolate(images, -images, ["digit"], steps=2)
    np.testing.assert_allclose(path[jnp.array([0, -1])], ends, atol=2e-5)


def test_no_latents_are_no_latents(interpreter):
    nothing = np.zeros((0, 8), np.float32)
    assert interpreter.translate(nothing).shape == (0, 8)
    assert interpreter.log_prob(nothing).shape == (0,)
    assert interpreter.decode(nothing).shape == (0, 8, 8, 3)
