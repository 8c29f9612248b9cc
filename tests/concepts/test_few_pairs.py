"""Directions from few pairs, on problems whose directions are known."""

import dataclasses

import numpy as np
import pytest

from iin_jax.concepts.closed_form import LinearView
from iin_jax.concepts.few_pairs import are_few, few_pairs
from iin_jax.concepts.pair_forms import ClassPairs, GivenPairs
from iin_jax.concepts.whitening import fit_whitening

DIM, SHARED, ALL = 32, 3, 2000


def problem(pairs, seed=0, place=0, correlation=0.97):
    """Latents whose shared directions are ``place`` places from the widest ones."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((DIM, DIM)))[0]
    width = np.linspace(3.0, 0.5, DIM)
    factors = rng.standard_normal((ALL, DIM))
    a, b = 2 * np.arange(pairs), 2 * np.arange(pairs) + 1
    columns = slice(place, place + SHARED)
    fresh = rng.standard_normal((pairs, SHARED))
    factors[b, columns] = (
        correlation * factors[a, columns] + np.sqrt(1 - correlation**2) * fresh
    )
    z = (factors * width) @ turn
    form = GivenPairs(a, b, np.full(pairs, 1 / pairs), np.arange(ALL))
    return z, form, turn[columns].T


def found(z, form, truth):
    """Mean squared cosine between found and true directions, and the result."""
    whitening = fit_whitening(z)
    result = few_pairs(whitening, z, whitening(z), form, SHARED)
    w_of_truth = np.linalg.qr(whitening(z).T @ (z @ truth))[0]
    cosines = w_of_truth.T @ result.vectors[:, :SHARED]
    return float(np.square(cosines).sum() / SHARED), result


@pytest.mark.parametrize(("pairs", "least"), [(12, 0.8), (32, 0.9), (200, 0.97)])
def test_few_pairs_find_wide_directions(pairs, least):
    quality = [found(*problem(pairs, seed))[0] for seed in range(5)]
    assert np.median(quality) > least


def test_narrow_directions_are_found_from_more_pairs():
    quality, result = found(*problem(400, place=20))
    assert quality > 0.95
    assert result.basis.shape[1] >= 23


def test_they_go_further_than_products_alone():
    z, form, truth = problem(24)
    view = LinearView.of(z, {"c": form}, np.arange(ALL))
    start = view.start({"c": SHARED})
    ours = found(z, form, truth)[0]
    w = view.w
    _, vectors = np.linalg.eigh(form.form().matrix(w))
    w_of_truth = np.linalg.qr(w.T @ (z @ truth))[0]
    products = np.square(w_of_truth.T @ vectors[:, -SHARED:]).sum() / SHARED
    assert ours > products + 0.3
    assert start.sigma["c"] > 0.7


def test_pairs_that_share_nothing_are_held_to_be_unlike():
    z, form, _ = problem(40, correlation=0.0)
    _, result = found(z, form, np.eye(DIM)[:, :SHARED])
    assert abs(result.held_out[:SHARED].mean()) < 0.4
    view = LinearView.of(z, {"c": form}, np.arange(ALL))
    assert view.counted(0)["c"].rank <= 1


def test_the_control_variate_leaves_differences():
    z, form, _ = problem(50)
    w = fit_whitening(z)(z)
    corrected = dataclasses.replace(form, control=1.0).form().matrix(w)
    a, b = w[form.first], w[form.second]
    centred = (a - a.mean(0)).T @ (b - b.mean(0)) / 50
    squares = (a.T @ a + b.T @ b) / 100
    expected = 0.5 * (centred + centred.T) + w.T @ w / ALL - squares
    np.testing.assert_allclose(corrected, expected, atol=1e-9)


def test_which_pairs_are_few():
    image = np.arange(ALL)
    form = problem(50)[1]
    assert are_few(form, DIM)
    assert not are_few(form, 1)
    assert not are_few(form, 4096)
    assert not are_few(dataclasses.replace(form, differs=True), DIM)
    assert not are_few(ClassPairs(image % 2, image), DIM)
