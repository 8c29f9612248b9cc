"""Schedules by value, and the separate rate of single numbers."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from iin_jax.training.optim import Schedule, adam


def test_published_schedule():
    rate = Schedule(steps=120_000, decay_start=100_001 / 120_000).rate(25)
    assert rate(0) == pytest.approx(1.125e-4)
    assert rate(100_000) == pytest.approx(1.125e-4)
    assert rate(110_000) == pytest.approx(1.125e-4 / 2, rel=1e-3)
    assert rate(120_000) == 0.0


def test_the_rate_scales_with_the_batch_and_warms_up():
    rate = Schedule(100, rate_per_example=1e-3, warmup=0.1, decay_start=0.5).rate(10)
    assert rate(0) == pytest.approx(1e-3)
    assert rate(10) == pytest.approx(1e-2)
    assert rate(49) == pytest.approx(1e-2)
    assert rate(75) == pytest.approx(0.5e-2)
    assert rate(100) == 0.0


def test_adam_has_the_published_betas_and_fast_parameters():
    params = {"flow": jnp.zeros(2), "sigma": jnp.zeros(1)}
    gradients = {"flow": jnp.array([1.0, -2.0]), "sigma": jnp.array([0.5])}
    schedule = Schedule(100, 1e-3, decay_start=1.0)
    tx = adam(schedule, 1, fast=(("sigma", 10.0),))
    updates, _ = tx.update(gradients, tx.init(params), params)
    plain = optax.adam(1e-3, b1=0.5, b2=0.9)
    expected, _ = plain.update(gradients, plain.init(params), params)
    np.testing.assert_allclose(updates["flow"], expected["flow"], rtol=1e-6)
    np.testing.assert_allclose(updates["sigma"], 10 * expected["sigma"], rtol=1e-6)
