"""Generators without an encoder, on a decoder that is trained on real digits."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import iin_jax
from iin_jax.networks import from_generator

DIM = 10
LAYOUT = iin_jax.FactorLayout({"ink": 1, "residual": 9})


def decode(params, z):
    """A small decoder of 8 x 8 images."""
    hidden = jnp.tanh(z @ params["w1"] + params["b1"])
    return jnp.tanh(hidden @ params["w2"] + params["b2"]).reshape(-1, 8, 8, 1)


@pytest.fixture(scope="module")
def generator():
    """Trained to make digits of their whitened principal components."""
    images = (load_digits().images / 8.0 - 1.0).astype(np.float32)[..., None]
    z = PCA(DIM, whiten=True, random_state=0).fit_transform(images.reshape(-1, 64))
    z = jnp.asarray(z, jnp.float32)
    rng = np.random.default_rng(0)
    params = {
        "w1": jnp.asarray(rng.standard_normal((DIM, 64)) / DIM**0.5, jnp.float32),
        "b1": jnp.zeros(64),
        "w2": jnp.asarray(rng.standard_normal((64, 64)) / 8, jnp.float32),
        "b2": jnp.zeros(64),
    }
    tx = optax.adam(1e-2)

    def step(_, state):
        params, memory = state
        grads = jax.grad(lambda p: jnp.square(decode(p, z) - images).mean())(params)
        change, memory = tx.update(grads, memory)
        return optax.apply_updates(params, change), memory

    train = jax.jit(lambda state: jax.lax.fori_loop(0, 300, step, state))
    params, _ = train((params, tx.init(params)))
    assert float(jnp.square(decode(params, z) - images).mean()) < 0.1
    return from_generator(decode, DIM, params, image_shape=(8, 8, 1))


@pytest.mark.thorough
def test_latents_of_drawn_images_are_searched_for(generator):
    z, images = generator.draw(300, seed=1)
    assert z.shape == (300, DIM) and images.shape == (300, 8, 8, 1)
    np.testing.assert_allclose(images, generator.decode(z), atol=1e-6)
    found = generator.encode(images)
    assert float(jnp.square(generator.decode(found) - images).mean()) < 1e-3
    assert float(jnp.abs(found - z).mean()) < 0.3
    again = generator.encode(images[:7])  # each on its own
    np.testing.assert_allclose(again, found[:7], atol=1e-3)
    assert np.abs(np.asarray(generator.draw(5, seed=2)[0]) - z[:5]).max() > 0.1


@pytest.mark.thorough
def test_concepts_of_a_labelling_function(generator):
    """Ink above the median as a concept; its swap is judged by the same function."""

    def ink(images):
        return np.asarray(images).mean((1, 2, 3))

    z, images = generator.draw(1000, seed=3)
    middle = np.median(ink(images))
    labels = {"ink": ink(images) > middle}
    flow = iin_jax.InterpretationFlow(DIM, 1, 8, 0)
    options = {"layout": LAYOUT, "flow": flow, "steps": 20, "progress": False}
    it = iin_jax.interpret(generator, images, labels, latents=z, **options)
    _, first = generator.draw(300, seed=4)
    _, second = generator.draw(300, seed=5)
    differ = (ink(first) > middle) != (ink(second) > middle)
    swapped = it.swap(first[differ], second[differ], ["ink"])
    right = (ink(swapped) > middle) == (ink(second[differ]) > middle)
    assert right.mean() > 0.7


def line(width):
    """A sketch: a vertical stroke."""
    sketch = -np.ones((8, 8), np.float32)
    sketch[1:7, 4 - width // 2 : 4 - width // 2 + width] = 1.0
    return sketch


@pytest.mark.thorough
def test_concepts_of_two_sketches(generator):
    """Stylised images have no known latents: E searches for them."""
    images = np.asarray(generator.draw(200, seed=6)[1])
    entries = iin_jax.concepts.sketched(images, line(1), line(3), progress=False)
    it = iin_jax.interpret(
        generator,
        entries.images,
        {"stroke": entries.label},
        agree=(),
        differ=("stroke",),
        identity=entries.identity,
        layout=iin_jax.FactorLayout({"stroke": 2, "residual": 8}),
        flow=iin_jax.InterpretationFlow(DIM, 1, 8, 0),
        steps=20,
        progress=False,
    )
    test = np.asarray(generator.draw(200, seed=7)[1])
    ink = {}
    for sketch in ("a", "b"):
        donors = entries.images[entries.label == sketch]
        ink[sketch] = np.asarray(it.swap(test, donors, ["stroke"])).mean((1, 2, 3))
    assert ink["b"].mean() - ink["a"].mean() > test.mean((1, 2, 3)).std()


def test_bad_generators_are_one_line(generator):
    with pytest.raises(
        ValueError, match=r"for z \(2, 4\) the generator gives \(2, 4\)"
    ):
        from_generator(lambda v, z: z, 4, {}, image_shape=(8, 8, 1))
    with pytest.raises(ValueError, match="dim of at least 1"):
        from_generator(lambda v, z: z, 0, {}, image_shape=(8, 8, 1))
    z, images = generator.draw(20)
    labels = {"ink": np.arange(20) % 2}
    with pytest.raises(ValueError, match=r"latents of 20 images have shape \(20, 10\)"):
        iin_jax.interpret(generator, images, labels, latents=z[:, :4], progress=False)
