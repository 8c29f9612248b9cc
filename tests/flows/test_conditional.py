"""A flow under a context: both directions, its closed form, wrong contexts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import Ridge

from iin_jax.flows.conditional import RIDGE, ConditionalFlow, ContextShift
from iin_jax.linen import apply
from tests.conftest import normal, perturbed

FLOW = ConditionalFlow(4, 2, 8, 1)


@pytest.fixture(scope="module")
def known():
    """A perturbed flow, with latents that follow a context in part."""
    context = normal((300, 3), 1)
    z = normal((300, 4)) * 0.5 + context @ normal((3, 4), 2) + 1.0
    variables = perturbed(FLOW.init(jax.random.key(0), z, context))
    return variables, z, context


@pytest.mark.thorough
def test_the_log_determinant_is_that_of_the_jacobian_at_a_context(known):
    variables, z, context = known
    y, log_det = apply(FLOW, variables, z[:3], context[:3])

    def one(x, beside):
        return apply(FLOW, variables, x[None], beside[None])[0][0]

    jacobians = jax.vmap(jax.jacfwd(one))(z[:3], context[:3])
    expected = np.linalg.slogdet(np.asarray(jacobians, np.float64))[1]
    np.testing.assert_allclose(log_det, expected, atol=1e-4)
    back, back_log_det = apply(
        FLOW, variables, y, context[:3], method="inverse_and_log_det"
    )
    np.testing.assert_allclose(back, z[:3], atol=1e-4)
    np.testing.assert_allclose(back_log_det, -log_det, atol=1e-4)
    other = apply(FLOW, variables, z[:3], context[3:6])[0]
    assert np.abs(np.asarray(other - y)).max() > 0.1


@pytest.mark.thorough
def test_the_last_component_of_an_odd_number_is_whitened_and_carried():
    flow, context = ConditionalFlow(5, 1, 8, 1), normal((60, 3), 1)
    z = normal((60, 5), 4) + context @ normal((3, 5), 2)
    fresh = flow.init(jax.random.key(0), z, context)
    start = apply(flow, fresh, z, context)[0]
    y = apply(flow, perturbed(fresh), z, context)[0]
    np.testing.assert_allclose(y[:, -1], start[:, -1], atol=1e-6)
    assert np.abs(np.asarray(y - start)[:, :-1]).max() > 0.1
    back = apply(flow, perturbed(fresh), y, context, method="inverse")
    np.testing.assert_allclose(back, z, atol=1e-4)


def test_it_begins_as_a_gaussian_with_a_linear_mean(known):
    _, z, context = known
    variables = FLOW.init(jax.random.key(0), z, context)
    y, log_det = apply(FLOW, variables, z, context)
    mean_square = np.square(np.asarray(context)).sum(0).mean()
    ridge = Ridge(RIDGE * mean_square, fit_intercept=False)
    centred = np.asarray(z - z.mean(0), np.float64)
    left = np.asarray(z) - ridge.fit(np.asarray(context), centred).predict(context)
    gaussian = stats.multivariate_normal(left.mean(0), np.cov(left.T, ddof=0))
    density = stats.norm.logpdf(np.asarray(y)).sum(1) + np.asarray(log_det)
    np.testing.assert_allclose(density, gaussian.logpdf(left), atol=1e-3)


def test_a_shift_without_context_changes_nothing():
    x = normal((5, 4))
    (y, log_det), _ = ContextShift().init_with_output(jax.random.key(0), x)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(log_det, 0.0)


def test_a_context_of_the_wrong_width_is_one_line(known):
    variables, z, _ = known
    with pytest.raises(ValueError, match=r"3 numbers for each .*\(300, 2\)"):
        apply(FLOW, variables, z, jnp.zeros((300, 2)))
