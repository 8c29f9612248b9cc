"""Likelihoods against SciPy's densities and against finite differences."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from iin_jax import FactorLayout, losses
from tests.conftest import float64, normal

LAYOUT = FactorLayout({"digit": 2, "color": 1, "residual": 2})
SHARED = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 1], [0, 0, 0]], bool)
SIGMAS = {
    "scalar": 0.9,
    "per pair": np.array([0.5, 0.9, 0.975, 0.3]),
    "per factor": np.array([[0.5, 0.9, 0.2]]),
    "per pair and factor": np.random.default_rng(0).uniform(0.1, 0.99, (4, 3)),
}


def pair():
    return normal((4, 5)), normal((4, 5), 1), normal((4,), 2), normal((4,), 3)


def joint_nll(a, b, shared, sigma):
    """-log of the joint Gaussian of (a, b): unit variances, covariance sigma."""
    rho = np.where(shared, sigma, 0.0)[LAYOUT.factor_of_dim]
    dim = len(rho)
    covariance = np.eye(2 * dim)
    covariance[:dim, dim:] = covariance[dim:, :dim] = np.diag(rho)
    density = stats.multivariate_normal(np.zeros(2 * dim), covariance)
    return -density.logpdf(np.concatenate([a, b]))


@pytest.mark.parametrize("name", SIGMAS)
def test_pair_nll_is_the_joint_density(name):
    a, b, log_det_a, log_det_b = pair()
    sigma = SIGMAS[name]
    nll = losses.pair_nll(a, b, log_det_a, log_det_b, SHARED, LAYOUT, sigma)
    column = sigma[:, None] if np.shape(sigma) == (4,) else sigma
    table = np.broadcast_to(column, (4, 3))
    expected = np.array([joint_nll(a[i], b[i], SHARED[i], table[i]) for i in range(4)])
    np.testing.assert_allclose(nll, expected - log_det_a - log_det_b, rtol=1e-5)


def test_gaussian_nll_is_the_standard_normal():
    z, log_det = normal((4, 5)), normal((4,), 2)
    expected = -stats.norm.logpdf(np.asarray(z)).sum(1) - np.asarray(log_det)
    np.testing.assert_allclose(losses.gaussian_nll(z, log_det), expected, rtol=1e-5)


def test_log_dets_of_another_shape_do_not_broadcast():
    a, b, log_det_a, log_det_b = pair()
    with pytest.raises(ValueError, match="one value per latent"):
        losses.gaussian_nll(a, log_det_a[:, None])
    with pytest.raises(ValueError, match="log_det_b must have shape"):
        losses.pair_nll(a, b, log_det_a, log_det_b[:, None], SHARED, LAYOUT)


def test_a_pair_that_shares_nothing_is_two_single_images():
    a, b, log_det_a, log_det_b = pair()
    nothing = np.zeros((4, 3), bool)
    nll = losses.pair_nll(a, b, log_det_a, log_det_b, nothing, LAYOUT, 0.975)
    singles = losses.gaussian_nll(a, log_det_a) + losses.gaussian_nll(b, log_det_b)
    np.testing.assert_allclose(nll, singles, rtol=1e-6)


def test_gradients_are_finite_differences():
    with float64():
        a, b, log_det_a, log_det_b = (jnp.asarray(x, jnp.float64) for x in pair())
        sigma = jnp.asarray(SIGMAS["per factor"], jnp.float64)

        def total(a, b, sigma):
            return losses.pair_nll(
                a, b, log_det_a, log_det_b, SHARED, LAYOUT, sigma
            ).sum()

        arguments = [a, b, sigma]
        gradients = jax.jit(jax.grad(total, argnums=(0, 1, 2)))(*arguments)
        for position, gradient in enumerate(gradients):
            for index in np.ndindex(gradient.shape):
                step = 1e-6
                moved = [
                    total(
                        *arguments[:position],
                        arguments[position].at[index].add(sign * step),
                        *arguments[position + 1 :],
                    )
                    for sign in (1, -1)
                ]
                slope = (moved[0] - moved[1]) / (2 * step)
                np.testing.assert_allclose(gradient[index], slope, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_sigma_outside_its_range_is_refused(sigma):
    with pytest.raises(ValueError, match=r"similarity in \(0, 1\)"):
        losses.pair_nll(*pair(), SHARED, LAYOUT, sigma)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sigma": np.full((3,), 0.5)}, "sigma must be a scalar"),
        ({"shared": SHARED[:, :2]}, "shared must be bool"),
        ({"shared": SHARED.astype(int)}, "shared must be bool"),
        ({"layout": FactorLayout({"a": 4})}, "latents must both have shape"),
        ({"zb_tilde": normal((3, 5))}, "latents must both have shape"),
    ],
)
def test_unlike_shapes_are_refused(change, message):
    a, b, log_det_a, log_det_b = pair()
    arguments = {
        "za_tilde": a,
        "zb_tilde": b,
        "log_det_a": log_det_a,
        "log_det_b": log_det_b,
        "shared": SHARED,
        "layout": LAYOUT,
    }
    with pytest.raises(ValueError, match=message):
        losses.pair_nll(**(arguments | change))


def test_weighted_sums_nest_and_report_their_parts():
    @dataclasses.dataclass(frozen=True)
    class Outputs:
        x: jax.Array

    inner = losses.weighted_sum(
        {"x": (2.0, lambda o: o.x), "one": (1.0, lambda o: o.x**0)}
    )
    outer = losses.weighted_sum({"inner": (10.0, inner), "x": (0.1, lambda o: o.x)})
    outputs = Outputs(jnp.array([1.0, 2.0]))
    np.testing.assert_allclose(outer(outputs), [30.1, 50.2], rtol=1e-6)
    terms = outer.terms(outputs)
    assert list(terms) == ["inner", "x"]
    np.testing.assert_allclose(terms["inner"], [3.0, 5.0])
    with pytest.raises(ValueError, match="at least one term"):
        losses.weighted_sum({})
    with pytest.raises(ValueError, match="must be finite"):
        losses.weighted_sum({"x": (float("nan"), inner)})


def test_gaussian_reference_is_scipys_density():
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((3, 3))
    train, test = rng.standard_normal((500, 3)) @ mixing, rng.standard_normal((90, 3))
    density = stats.multivariate_normal(train.mean(0), np.cov(train.T, bias=True))
    expected = -density.logpdf(test).mean() / (3 * np.log(2.0))
    assert losses.gaussian_reference(train, test) == pytest.approx(expected, rel=1e-4)


def autoencoder_outputs(perceptual):
    rng = np.random.default_rng(0)
    x, y = np.tanh(rng.standard_normal((2, 3, 4, 4, 3)))
    mean, log_var = rng.standard_normal((2, 3, 5))
    return losses.AutoencoderOutputs(x, y, mean, log_var, jnp.asarray(0.7), perceptual)


def test_autoencoder_terms_are_their_formulas():
    outputs = autoencoder_outputs(np.zeros(3))
    x, y, numbers = outputs.images, outputs.reconstructions, outputs.images[0].size
    laplace = -stats.laplace(y, np.exp(0.7)).logpdf(x).sum((1, 2, 3))
    found = losses.reconstruction_nll(outputs)
    np.testing.assert_allclose(found, laplace - np.log(2.0) * numbers, rtol=1e-5)
    gaussian = -stats.norm(y, np.exp(0.7)).logpdf(x).sum((1, 2, 3))
    found = losses.squared_reconstruction(outputs)
    constant = 0.5 * np.log(2.0 * np.pi) * numbers
    np.testing.assert_allclose(found, gaussian - constant, rtol=1e-5)
    mean, log_var = outputs.mean, outputs.log_var
    std = np.exp(0.5 * log_var)
    draws = mean + std * np.random.default_rng(1).standard_normal((200_000, 3, 5))
    ratio = stats.norm.logpdf(draws, mean, std) - stats.norm.logpdf(draws)
    estimate = ratio.sum(-1).mean(0)
    kl = losses.kl_to_standard_normal(outputs)
    np.testing.assert_allclose(kl, estimate, rtol=0.02)


@pytest.mark.parametrize(
    "term", [losses.reconstruction_nll, losses.squared_reconstruction]
)
def test_a_perceptual_distance_counts_at_every_number_of_an_image(term):
    distance = np.array([0.0, 0.5, 2.0])
    more = term(autoencoder_outputs(distance)) - term(autoencoder_outputs(np.zeros(3)))
    np.testing.assert_allclose(more, 48 * distance / np.exp(0.7), rtol=1e-4, atol=1e-4)


def test_a_perceptual_distance_is_a_term_like_any_other():
    outputs = autoencoder_outputs(np.array([0.0, 0.5, 2.0]))
    parts = {
        "kl": (1.0, losses.kl_to_standard_normal),
        "perceptual": (3.0, losses.perceptual_term),
    }
    found = losses.weighted_sum(parts)(outputs) - losses.kl_to_standard_normal(outputs)
    np.testing.assert_allclose(found, [0.0, 1.5, 6.0], atol=1e-5)


def mixture_outputs(count=6, seed=0):
    rng = np.random.default_rng(seed)
    z_a, z_b = (jnp.asarray(rng.standard_normal((count, 6)), jnp.float32) for _ in "ab")
    log_det_a, log_det_b = (jnp.asarray(rng.standard_normal(count)) for _ in "ab")
    shared = jnp.asarray(rng.random((count, 3)) < 0.6)
    return losses.PairOutputs(z_a, z_b, log_det_a, log_det_b, shared, jnp.asarray(0.9))


@pytest.mark.parametrize("wrong", [0.0, 0.2, 0.7])
def test_wrong_pairs_are_a_mixture(wrong):
    layout = FactorLayout({"a": 2, "b": 1, "residual": 3})
    outputs = mixture_outputs()
    found = losses.mixture_loss(wrong)(layout)(outputs)
    right = np.asarray(losses.pair_term(layout)(outputs), np.float64)
    halves = (
        stats.norm.logpdf(np.asarray(z, np.float64)).sum(-1) + np.asarray(log_det)
        for z, log_det in (
            (outputs.z_tilde_a, outputs.log_det_a),
            (outputs.z_tilde_b, outputs.log_det_b),
        )
    )
    apart = sum(halves)
    expected = -np.log((1 - wrong) * np.exp(-right) + wrong * np.exp(apart))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_wrong_pair_pulls_less_than_a_right_one():
    layout = FactorLayout({"a": 2, "b": 1, "residual": 3})
    outputs = dataclasses.replace(
        mixture_outputs(1), shared=jnp.ones((1, 3), bool), sigma=jnp.asarray(0.99)
    )

    def pull(loss):
        def of(z_b):
            return loss(layout)(dataclasses.replace(outputs, z_tilde_b=z_b)).sum()

        return np.abs(jax.grad(of)(outputs.z_tilde_b)).max()

    assert pull(losses.mixture_loss(0.2)) < 0.1 * pull(losses.pair_loss)


@pytest.mark.parametrize("wrong", [-0.1, 1.0, np.nan])
def test_a_share_of_wrong_pairs_is_one(wrong):
    with pytest.raises(ValueError, match=r"share of the pairs in \[0, 1\)"):
        losses.mixture_loss(wrong)


def test_a_loss_says_what_share_it_allows_for():
    layout = FactorLayout({"a": 2, "b": 1, "residual": 3})
    mixture = losses.mixture_loss(0.2)
    assert losses.wrong_share(mixture(layout)) == 0.2
    more = losses.with_terms(mixture, {"independence": 0.1})
    assert losses.wrong_share(more(layout)) == 0.2
    assert losses.wrong_share(losses.pair_loss(layout)) == 0.0
    assert mixture(layout) == losses.mixture_loss(0.2)(layout)
