"""Dequantised images: independent noise in every pixel, within one grey level."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from iin_jax.training.image_draws import Preparation, TrainingImages, draw_images

DRAWS, LEVEL = 4000, 2.0 / 256.0
IMAGE = np.random.default_rng(0).integers(0, 256, (4, 4, 3)).astype(np.uint8)
COLOR = jnp.array([0.25, 0.5, 1.0])


def drawn(image, color=None, background="black"):
    """One image prepared many times, (DRAWS, H, W, C) in [-1, 1]."""
    prepare = Preparation(background=background)
    keys = jax.random.split(jax.random.key(0), DRAWS)
    make = jax.jit(jax.vmap(lambda key: prepare(key, jnp.asarray(image), color)))
    return np.asarray(make(keys), np.float64)


def test_noise_lies_within_one_level_and_its_mean_is_half_a_level():
    noise = (drawn(IMAGE) + 1.0) / LEVEL - IMAGE
    assert noise.min() > -1e-4 and noise.max() < 1.0 + 1e-4
    spread = 1.0 / np.sqrt(12.0)  # standard deviation of a uniform number
    np.testing.assert_allclose(noise.mean(0), 0.5, atol=5 * spread / np.sqrt(DRAWS))
    np.testing.assert_allclose(noise.std(0), spread, rtol=0.1)


def test_every_pixel_and_channel_has_noise_of_its_own():
    """The published code adds one number per image: a correlation of 1 everywhere."""
    noise = (drawn(IMAGE) + 1.0) / LEVEL - IMAGE
    correlation = np.corrcoef(noise.reshape(DRAWS, -1), rowvar=False)
    others = correlation[~np.eye(IMAGE.size, dtype=bool)]
    assert np.abs(others).max() < 6 / np.sqrt(DRAWS)


@pytest.mark.parametrize("background", ["black", "negative"])
def test_painted_images_are_dequantised_before_they_are_painted(background):
    grey = IMAGE[..., :1]
    unit = (grey + 0.5) / 256.0
    color = np.asarray(COLOR)
    black = 2.0 * unit * color - 1.0
    expected = black if background == "black" else (2.0 * unit - 1.0) * color
    images = drawn(grey, COLOR, background)
    np.testing.assert_allclose(images.mean(0), expected, atol=1.5e-4)
    assert np.ptp(images, axis=0).max() < LEVEL
    # all three channels share the noise of one brightness
    np.testing.assert_allclose(
        (images - expected)[..., 0] / COLOR[0], (images - expected)[..., 2], atol=1e-5
    )


def test_two_images_of_a_batch_have_noise_of_their_own():
    data = TrainingImages(jnp.asarray(IMAGE[None]))
    _, images = draw_images(Preparation(), data, jax.random.key(1), jnp.arange(2))
    assert (np.asarray(images[0] != images[1]).mean()) > 0.9
