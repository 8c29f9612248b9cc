"""Flows over maps: determinants, locality, one map for all positions, the start."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from iin_jax.flows import FeatureMapFlow, LinearStart, MapStart, StartedFlow
from iin_jax.flows.certificate import certify_flow
from iin_jax.flows.linear_start import arrangement, joined_variables
from tests.conftest import normal, perturbed


def perturbed_flow(height, width, channels, blocks=2, scale=0.3):
    flow = FeatureMapFlow(height, width, channels, blocks, 8, 1)
    variables = flow.init(jax.random.key(0), normal((20, flow.dim)))
    return flow, perturbed(variables, scale)


def start_constants(positions, channels):
    """Of a start that whitens maps whose mean differs between positions."""
    mean = 3.0 * normal((positions, channels), 1)
    z = normal((200, positions, channels), 2) @ normal((channels, channels), 3)
    z = (z + mean).reshape(200, -1)
    start = MapStart(positions, channels)
    return start, z, start.init(jax.random.key(0), z)["constants"]


@pytest.mark.thorough
def test_the_log_determinant_is_that_of_the_whole_jacobian():
    flow, variables = perturbed_flow(2, 2, 4)
    x = normal((4, 16), 5)
    _, log_det = flow.apply(variables, x)
    jacobian = jax.vmap(jax.jacfwd(lambda v: flow.apply(variables, v)[0]))(x)
    expected = np.linalg.slogdet(np.asarray(jacobian))[1]
    assert np.abs(expected).min() > 0.5
    np.testing.assert_allclose(log_det, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.thorough
def test_a_map_of_8x8x64_is_certified():
    flow, variables = perturbed_flow(8, 8, 64, 1, 0.1)
    result = certify_flow(flow, variables, normal((1, flow.dim), 2))
    assert result["round_trip_max_abs"] <= 1e-5
    assert result["log_det_max_abs"] <= 1e-5
    assert result["compiled_max_abs"] <= 1e-5


def test_all_positions_go_through_the_same_map_of_their_neighbourhood():
    """Inside, a shifted map gives the shifted result: radius 1 for each coupling."""
    flow, variables = perturbed_flow(7, 7, 2, 1)
    x = np.array(normal((7, 7, 2), 4))

    def through(x):
        return np.asarray(flow.apply(variables, x.ravel())[0]).reshape(2, 7, 7)

    y, shifted = through(x), through(np.roll(x, 1, axis=(0, 1)))
    np.testing.assert_allclose(shifted[:, 3:5, 3:5], y[:, 2:4, 2:4], atol=1e-5)
    assert np.abs(shifted[:, 3:5, 3:5] - y[:, 3:5, 3:5]).max() > 0.1
    x[0, 0] += 1.0
    moved = np.abs(through(x) - y).max(axis=0)
    assert moved[3:].max() == 0.0 == moved[:, 3:].max()
    assert moved[0, 1] > 1e-3 and moved[1, 1] > 1e-3


def test_it_puts_out_channel_by_channel():
    flow = FeatureMapFlow(3, 2, 4, 2, 8, 1, zero_init=True)
    x = normal((5, 24))
    variables = flow.init(jax.random.key(0), x)
    y, log_det = flow.apply(variables, x)
    assert (np.asarray(log_det) == 0.0).all()
    channels = np.moveaxis(np.asarray(x).reshape(5, 6, 4), 2, 0)
    groups = np.asarray(y).reshape(5, 4, 6)
    order = [
        [bool((groups[:, j] == channels[i]).all()) for i in range(4)] for j in range(4)
    ]
    assert np.asarray(order).sum() == 4 and np.asarray(order).any(axis=0).all()


def test_a_start_is_a_linear_start_at_every_position():
    start, z, constants = start_constants(6, 3)
    variables = {"constants": constants}
    y, log_det = start.apply(variables, z)
    shared, channels = LinearStart(3), {"constants": constants["shared"]}
    centred = np.asarray(z).reshape(200, 6, 3) - np.asarray(constants["mean"])
    expected, terms = shared.apply(channels, jnp.asarray(centred))
    expected = np.moveaxis(np.asarray(expected), 2, 1).reshape(200, 18)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    np.testing.assert_allclose(log_det, terms.sum(-1), rtol=1e-6)
    back = start.apply(variables, y, method="inverse")
    np.testing.assert_allclose(back, z, atol=1e-4)


@pytest.mark.thorough
def test_a_flow_over_maps_begins_as_its_start_alone():
    flow = FeatureMapFlow(3, 2, 4, 3, 8, 1, zero_init=True)
    start, z, constants = start_constants(6, 4)
    variables = flow.init(jax.random.key(1), jnp.zeros((2, 24)))
    order = arrangement(flow, variables, 24)
    assert order is not None
    whole = joined_variables(constants, order, variables)
    y, log_det = StartedFlow(flow).apply(whole, z)
    expected, expected_log_det = start.apply({"constants": constants}, z)
    np.testing.assert_allclose(y, expected, atol=1e-6)
    np.testing.assert_allclose(log_det, expected_log_det, atol=1e-5)
    arranged = start.apply({"constants": start.arranged(constants, order)}, z)[0]
    np.testing.assert_array_equal(arranged, np.asarray(expected)[:, order])


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        ((2, 2, 3), "an even number of them >= 2; got 3"),
        ((0, 2, 4), "sides of at least 1; got 0 x 2"),
    ],
)
def test_maps_that_no_flow_acts_on_are_one_clear_line(sides, message):
    flow = FeatureMapFlow(*sides)
    with pytest.raises(ValueError, match=message):
        flow.init(jax.random.key(0), jnp.zeros((2, max(1, flow.dim))))


def test_a_map_of_another_size_is_one_clear_line():
    with pytest.raises(ValueError, match=r"maps \(2, 2, 4\).*axis of 16; got \(2, 8\)"):
        FeatureMapFlow(2, 2, 4).init(jax.random.key(0), jnp.zeros((2, 8)))
    with pytest.raises(ValueError, match="last axis of 16"):
        MapStart(4, 4).init(jax.random.key(0), jnp.zeros((2, 8)))
