"""What follows from the number of images and of dimensions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from iin_jax import FactorLayout
from iin_jax.concepts.closed_form import Start
from iin_jax.training.defaults import (
    Training,
    flow_defaults,
    held_sigma,
    planned,
)

LAYOUT = FactorLayout({"a": 1, "b": 2, "residual": 5})
START = Start({}, {"a": 0.2, "b": 0.995})


@pytest.mark.parametrize(
    ("images", "dim"),
    [
        (100, 8),
        pytest.param(5000, 64, marks=pytest.mark.thorough),
        pytest.param(54_000, 512, marks=pytest.mark.thorough),
    ],
)
def test_a_default_flow_begins_as_its_shuffles_and_is_small(images, dim):
    flow = flow_defaults(images, dim).flow(dim)
    z = jnp.asarray(np.random.default_rng(0).standard_normal((3, dim)), jnp.float32)
    variables = flow.init(jax.random.key(0), z)
    found, log_det = flow.apply(variables, z)
    np.testing.assert_allclose(np.sort(found), np.sort(z), atol=1e-6)
    np.testing.assert_allclose(log_det, 0.0, atol=1e-6)
    assert sum(x.size for x in jax.tree.leaves(variables["params"])) < 7e6


def test_fewer_images_have_more_noise_and_fewer_steps():
    few, many = flow_defaults(1000, 64), flow_defaults(20_000, 64)
    assert few.noise > many.noise and few.steps <= many.steps


def test_a_similarity_is_sharper_than_the_start_but_bounded():
    defaults = flow_defaults(1000, 8)
    a, b, residual = held_sigma(START, LAYOUT, "auto", defaults)
    assert a == pytest.approx(1 - 0.8 / defaults.sharpness)
    assert b == 0.995 and residual == 0.9  # never below the start's own
    assert held_sigma(START, LAYOUT, np.array(0.7), defaults) == 0.7
    assert held_sigma(None, LAYOUT, "auto", defaults) == 0.975
    with pytest.raises(ValueError, match="sigma is 'auto', numbers"):
        held_sigma(START, LAYOUT, "learned", defaults)


def test_what_is_wanted_goes_before_what_suits():
    defaults = flow_defaults(1000, 8)
    suited = planned(defaults, START, LAYOUT, Training(sigma=0.9))
    assert suited.schedule.steps == defaults.steps and suited.noise == defaults.noise
    wanted = Training(
        sigma=0.9,
        steps=40,
        batch_size=16,
        seed=3,
        rate_per_example=1e-4,
        noise=0.0,
        decay=0.0,
    )
    given = planned(defaults, START, LAYOUT, wanted)
    assert (given.schedule.steps, given.batch_size, given.seed) == (40, 16, 3)
    assert given.schedule.rate_per_example == 1e-4
    assert given.noise == given.decay == 0.0
    assert given.checkpoint_every == 2
    with pytest.raises(ValueError, match="noise is in units"):
        planned(defaults, None, LAYOUT, Training(noise=0.1))
