"""Continuous attributes against NumPy's quantiles, SciPy and simulated normals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from iin_jax.concepts import (
    draw_pairs,
    pair_sigma,
    pair_table,
    pairs_from_labels,
    quantile_classes,
)
from iin_jax.concepts.continuous import normal_scores

RNG = np.random.default_rng(1)
AGE = RNG.gamma(2.0, 10.0, 200)
AGE[::7] = np.nan
GLASSES = RNG.integers(0, 2, 200)


def test_classes_are_quantiles():
    values = RNG.standard_normal(1000)
    classes = quantile_classes(values, bins=8)
    edges = np.quantile(values, np.linspace(0, 1, 9)[1:-1], method="hazen")
    np.testing.assert_array_equal(classes, np.searchsorted(edges, values))
    np.testing.assert_array_equal(np.bincount(classes), np.full(8, 125))
    assert classes.dtype == np.int32 and not np.ma.is_masked(classes)


@pytest.mark.parametrize("bins", [2, 3, 10])
def test_equal_values_are_in_one_class_and_order_is_kept(bins):
    for trial in range(30):
        rng = np.random.default_rng(trial)
        values = np.round(rng.exponential(rng.uniform(0.3, 20), 60))
        if len(np.unique(values)) == 1:
            continue
        classes = quantile_classes(values, bins)
        order = np.argsort(values, kind="stable")
        steps = np.diff(classes[order])
        assert ((steps == 0) | (steps == 1)).all()
        assert (steps[np.diff(values[order]) == 0] == 0).all()
        assert classes.min() == 0 and 1 <= classes.max() < bins


def test_few_values_are_a_class_each():
    values = np.repeat([5.0, 1.0, 9.0], [97, 1, 2])
    np.testing.assert_array_equal(
        quantile_classes(values), np.repeat([1, 0, 2], [97, 1, 2])
    )


def test_missing_values_stay_missing():
    values = np.ma.array([1.0, 2.0, np.nan, 4.0], mask=[False, True, False, False])
    classes = quantile_classes(values, 2)
    np.testing.assert_array_equal(np.ma.getmaskarray(classes), [0, 1, 1, 0])
    assert classes.compressed().tolist() == [0, 1]
    assert len(pairs_from_labels({"age": quantile_classes(AGE)}, 50).a) == 50


def test_normal_scores_are_standard_normal_and_keep_order():
    scores = normal_scores(AGE, "age")
    known = ~np.isnan(AGE)
    assert stats.kstest(scores[known], "norm").pvalue > 0.99
    assert stats.spearmanr(scores[known], AGE[known]).statistic == pytest.approx(1.0)
    assert np.isnan(scores[~known]).all()
    tied = normal_scores(np.repeat([0, 1], [30, 70]), "tied")
    assert (tied.mean(), tied.std()) == pytest.approx((0.0, 1.0))
    assert len(np.unique(tied)) == 2


def test_similarity_is_the_correlation_of_normals_that_differ_as_much():
    """Pairs of a known correlation: the mean of their similarity is that."""
    rho = 0.8
    a = RNG.standard_normal(40_000)
    b = rho * a + np.sqrt(1 - rho**2) * RNG.standard_normal(40_000)
    table = pair_table({}, graded={"age": np.concatenate([a, b])})
    index = np.arange(40_000)
    scores = np.asarray(table.scores)[:, 0]
    assert np.mean(
        1 - 0.5 * (scores[index] - scores[index + 40_000]) ** 2
    ) == pytest.approx(rho, abs=0.01)
    sigma = pair_sigma(table, index, index + 40_000, 0.975)
    difference = np.abs(scores[index] - scores[index + 40_000])
    expected = np.clip(1 - difference**2 / 2, 1e-3, 0.975)
    np.testing.assert_allclose(sigma[:, 0], expected, rtol=1e-5)
    np.testing.assert_array_equal(sigma[:, 1], np.float32(0.975))


def test_any_two_entries_with_a_value_form_a_graded_pair():
    labels, graded = {"glasses": GLASSES}, {"age": AGE}
    pairs = pairs_from_labels(labels, 6000, graded=graded)
    known = ~np.isnan(AGE)
    assert pairs.names == ("glasses", "age")
    of_age = pairs.concept == 1
    assert set(pairs.a[of_age]) == set(np.flatnonzero(known)) == set(pairs.b[of_age])
    assert (pairs.a != pairs.b).all()
    np.testing.assert_array_equal(pairs.shared[:, 1], known[pairs.a] & known[pairs.b])
    same = GLASSES[pairs.a] == GLASSES[pairs.b]
    np.testing.assert_array_equal(pairs.shared[:, 0], same)
    assert same[~of_age].all() and 0.4 < same[of_age].mean() < 0.6
    assert set(pairs.a[~of_age]) == set(range(200))  # age need not be known there


def test_pair_sigma_is_jittable_and_takes_a_bound_per_factor():
    table = pair_table({"glasses": GLASSES}, graded={"age": AGE})
    a, b, _ = draw_pairs(table, jax.random.key(0), 64)
    bounds = jnp.array([[0.9, 0.5, 0.3]])
    sigma = jax.jit(pair_sigma)(table, a, b, bounds)
    np.testing.assert_array_equal(sigma[:, 0], np.float32(0.9))
    np.testing.assert_array_equal(sigma[:, 2], np.float32(0.3))
    assert float(sigma[:, 1].max()) == pytest.approx(0.5)
    assert float(sigma[:, 1].min()) == pytest.approx(1e-3)
    plain = pair_table({"glasses": GLASSES})
    np.testing.assert_allclose(pair_sigma(plain, a, b, 0.9), np.full((64, 2), 0.9))


def test_pairs_that_differ_in_a_label_alone_have_graded_values_in_common():
    age = np.array([20.0, 20.0, 30.0, 30.0, np.nan, np.nan])
    labels = {"glasses": np.array([0, 1, 0, 1, 0, 1])}
    pairs = pairs_from_labels(
        labels, 200, agree=[], differ=["glasses"], graded={"age": age}
    )
    together = set(zip(pairs.a.tolist(), pairs.b.tolist(), strict=True))
    assert together == {(0, 1), (1, 0), (2, 3), (3, 2)}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: quantile_classes(np.full(5, 2.0)), "only the value 2.*leave it out"),
        (lambda: quantile_classes(np.full(5, np.nan)), "has no value"),
        (
            lambda: quantile_classes(np.full(5, 3.0), 10, "attribute 'size'"),
            "attribute 'size' has only the value 3",
        ),
        (lambda: quantile_classes(AGE, bins=1), "bins >= 2; got 1"),
        (lambda: quantile_classes(np.array([1.0, np.inf])), "infinite values"),
        (lambda: quantile_classes(np.array(["a", "b"])), "must be numbers"),
        (lambda: quantile_classes(np.zeros((2, 2))), "must be numbers"),
        (
            lambda: pair_table({}, graded={"age": np.full(4, 3.0)}),
            "'age' has only the value 3",
        ),
        (
            lambda: pair_table({"age": AGE}, graded={"age": AGE}),
            r"\['age'\] are both",
        ),
        (lambda: pair_table({"a": GLASSES[:5]}, graded={"age": AGE}), "of one length"),
    ],
)
def test_mistakes_are_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
