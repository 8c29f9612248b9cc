"""What held-out pairs say of their own factors, where it is known."""

import jax.numpy as jnp
import numpy as np

from iin_jax.concepts.separation import separation
from iin_jax.factors import FactorLayout


def pairs(count=4000):
    """Half of them share x, of correlation 0.8, half y, of 0.6; (count, 2) each."""
    rng = np.random.default_rng(0)
    a, noise = rng.standard_normal((2, count, 2))
    shared = np.zeros((count, 2), bool)
    shared[: count // 2, 0] = shared[count // 2 :, 1] = True
    rho = np.where(shared, (0.8, 0.6), 0.0)
    b = rho * a + np.sqrt(1 - rho**2) * noise
    a, b = np.float32(a), np.float32(b)
    return a, b, jnp.asarray(np.c_[shared, np.zeros(count, bool)])


LAYOUT = FactorLayout({"x": 1, "y": 1, "residual": 0})


def test_it_is_the_information_of_the_correlations():
    expected = -0.5 * np.log((1 - 0.8**2) * (1 - 0.6**2))
    np.testing.assert_allclose(separation(*pairs(), LAYOUT), expected, atol=0.05)


def test_what_all_positions_of_a_map_say_counts_once():
    a, b, shared = pairs()
    maps = (np.repeat(x, 4, axis=1) for x in (a, b))  # channel by channel
    actual = separation(*maps, shared, LAYOUT.times(4), 4)
    np.testing.assert_allclose(actual, separation(a, b, shared, LAYOUT), rtol=1e-5)
