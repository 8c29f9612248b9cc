"""The linear start: units, dead components, odd N, flows behind it, files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import iin_jax
from iin_jax.flows import InterpretationFlow, LinearStart, StartedFlow
from iin_jax.flows.certificate import certify_flow
from iin_jax.flows.linear_start import arrangement, joined_variables, start_product
from tests.conftest import normal, perturbed


def mixed(count=500, dim=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, dim)) @ rng.standard_normal((dim, dim)) + 3.0


def started(flow, constants):
    """T = flow after a start, at the flow's first step."""
    variables = flow.init(jax.random.key(1), jnp.zeros((2, flow.dim)))
    order = arrangement(flow, variables, flow.dim)
    assert order is not None
    return StartedFlow(flow), joined_variables(constants, order, variables)


def test_init_whitens_along_principal_axes_for_odd_n():
    z = mixed().astype(np.float32)
    start = LinearStart(5)
    variables = start.init(jax.random.key(0), z)
    y, log_det = start.apply(variables, z)
    np.testing.assert_allclose(np.cov(np.asarray(y).T, bias=True), np.eye(5), atol=1e-3)
    covariance = np.cov(z.T, bias=True)
    assert float(log_det[0]) == pytest.approx(
        -0.5 * np.linalg.slogdet(covariance)[1], abs=1e-3
    )


def test_ill_conditioned_latents_come_back():
    z = mixed(dim=6)
    z[:, 5] = z[:, 0] + 1e-5 * z[:, 1]  # nearly a copy
    z *= 10.0 ** -np.arange(6)
    z = z.astype(np.float32)
    start = LinearStart(6)
    variables = start.init(jax.random.key(0), z)
    y, _ = start.apply(variables, z)
    back = start.apply(variables, y, method="inverse")
    error = np.abs(np.asarray(back) - z) / z.std(axis=0)
    assert error.max() < 1e-4


@pytest.mark.thorough
def test_a_flow_behind_a_start_begins_as_the_start_alone():
    flow = InterpretationFlow(6, 3, 8, 1, zero_init=True)
    z = mixed(dim=6).astype(np.float32)
    start = LinearStart(6)
    constants = start.init(jax.random.key(0), z)["constants"]
    whole, variables = started(flow, constants)
    expected, log_det = start.apply({"constants": constants}, z)
    y, whole_log_det = whole.apply(variables, z)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    np.testing.assert_allclose(whole_log_det, log_det, atol=1e-5)
    product = start_product(constants, z)
    np.testing.assert_allclose(y, product, atol=1e-3)


def test_a_flow_that_is_more_than_shuffles_has_no_arrangement():
    flow = InterpretationFlow(6, 2, 8, 1)
    variables = perturbed(flow.init(jax.random.key(0), normal((64, 6))))
    assert arrangement(flow, variables, 6) is None


@pytest.mark.thorough
def test_an_interpreter_with_a_start_is_certified_saved_and_taken_apart(tmp_path):
    flow = InterpretationFlow(6, 2, 8, 1, zero_init=True)
    z = mixed(dim=6).astype(np.float32)
    constants = LinearStart(6).init(jax.random.key(0), z)["constants"]
    whole, variables = started(flow, constants)
    variables = perturbed(variables)
    layout = iin_jax.FactorLayout({"a": 2, "residual": 4})
    it = iin_jax.Interpreter(whole, variables, layout)
    it.save(tmp_path)
    loaded = iin_jax.load(tmp_path)
    np.testing.assert_array_equal(loaded.translate(z), it.translate(z))
    alone = loaded.without_flow()
    np.testing.assert_allclose(
        alone.translate(z), start_product(constants, z), atol=1e-3
    )
    assert np.abs(np.asarray(alone.translate(z) - it.translate(z))).max() > 0.1
    alone.save(tmp_path / "alone")
    again = iin_jax.load(tmp_path / "alone")
    np.testing.assert_array_equal(again.translate(z), alone.translate(z))
    with pytest.raises(ValueError, match="no linear start"):
        again.without_flow()
    for each in (it, alone):
        found = certify_flow(each.flow, each.variables, z[:20])
        assert found["round_trip_max_abs"] < 1e-4
        assert found["log_det_max_abs"] < 1e-4


def test_a_start_has_no_place_in_a_published_checkpoint(tmp_path):
    flow = InterpretationFlow(6, 1, 8, 1, zero_init=True)
    z = mixed(dim=6).astype(np.float32)
    constants = LinearStart(6).init(jax.random.key(0), z)["constants"]
    whole, variables = started(flow, constants)
    with pytest.raises(ValueError, match="start='published'") as error:
        iin_jax.convert.save_published_flow(tmp_path / "x.ckpt", whole, variables)
    assert "\n" not in str(error.value)


def test_the_wrong_width_is_named():
    with pytest.raises(ValueError, match="last axis of 4"):
        LinearStart(4).init(jax.random.key(0), normal((8, 3)))
