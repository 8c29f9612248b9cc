"""Scores and sizes against the authors' stored case, SciPy and known correlations."""

import numpy as np
import pytest
from scipy import stats

from iin_jax import FactorLayout
from iin_jax.concepts import factor_scores, factor_sizes, pairs_from_labels


def correlated_pairs(count=4000, dims=6, seed=0):
    """Concept 0 fixes the first three components, concept 1 the last one."""
    rng = np.random.default_rng(seed)
    concept = rng.integers(0, 2, count)
    a, b = rng.standard_normal((2, count, dims))
    b[concept == 0, :3] = a[concept == 0, :3]
    b[concept == 1, 5] = a[concept == 1, 5]
    return a, b, concept


def test_the_authors_stored_sizes(shared):
    case = np.load(shared / "reference_checkpoints" / "sizes" / "data.npz")
    za, zb = case["example1"][:, :, 0, 0], case["example2"][:, :, 0, 0]
    scores = factor_scores(za, zb, case["factor"], ("first", "second"), "pooled")
    layout = factor_sizes(scores, dim=za.shape[1])
    assert list(layout.sizes) == case["dims"].tolist()


def test_published_classifier_sizes():
    layout = factor_sizes({"digit": 0.702, "color": 0.058}, dim=64)
    assert layout == FactorLayout({"digit": 22, "color": 11, "residual": 31})


def test_pooled_is_its_formula_written_out():
    a, b, concept = correlated_pairs(200)
    scores = factor_scores(a, b, concept, ("x", "y"), "pooled")
    variance = np.concatenate([a, b]).var(0).sum()
    for index, name in enumerate(("x", "y")):
        p, q = a[concept == index], b[concept == index]
        m = (p.mean(0) + q.mean(0)) / 2
        expected = ((p - m) * (q - m)).mean(0).sum() / variance
        assert scores[name] == pytest.approx(expected, rel=1e-9)


def test_correlation_is_the_mean_of_scipys():
    a, b, concept = correlated_pairs(200)
    scores = factor_scores(a, b, concept, ("x", "y"), "correlation")
    for index, name in enumerate(("x", "y")):
        p, q = a[concept == index], b[concept == index]
        expected = [stats.pearsonr(p[:, i], q[:, i]).statistic for i in range(6)]
        assert scores[name] == pytest.approx(np.mean(expected), rel=1e-6)
    assert scores.estimator == "correlation"


@pytest.mark.parametrize("estimator", ["pooled", "correlation"])
def test_known_shares_are_found_with_sound_intervals(estimator):
    scores = factor_scores(*correlated_pairs(), ("x", "y"), estimator)
    for name, truth in {"x": 0.5, "y": 1 / 6}.items():
        low, high = scores.intervals[name]
        assert abs(scores[name] - truth) < 0.02 and high - low < 0.08
        assert low < scores[name] < high
        assert scores.null[name][0] < 0 < scores.null[name][1] < 0.05


@pytest.mark.parametrize("estimator", ["pooled", "correlation"])
def test_constant_components_do_not_look_correlated(estimator):
    a, b, concept = correlated_pairs()
    plain = factor_scores(a, b, concept, ("x", "y"), estimator)
    padding = np.full((len(a), 50), 3.0)
    padded = factor_scores(
        np.hstack([a, padding]), np.hstack([b, padding]), concept, ("x", "y"), estimator
    )
    assert padded["x"] == pytest.approx(plain["x"], abs=1e-6)


def test_sizes_sum_to_the_dimension_and_the_residual_takes_the_rest():
    layout = factor_sizes({"a": 0.2, "b": -3.0, "c": 0.9}, 10)
    weights = np.exp([0.2, -3.0, 0.9, 1.0])
    floored = np.floor(10 * weights / weights.sum())[:3]
    assert layout.sizes[:3] == tuple(floored) and layout.dim == 10


@pytest.mark.parametrize("estimator", ["shared_rank", "calibrated"])
def test_our_estimators_count_directions_in_any_units(estimator):
    a, b, concept = correlated_pairs()
    mixing = np.random.default_rng(0).standard_normal((6, 6))
    scale = 10.0 ** -np.arange(6)
    scores = factor_scores(
        a @ mixing * scale, b @ mixing * scale, concept, ("x", "y"), estimator
    )
    layout = factor_sizes(scores, 6)
    assert layout == FactorLayout({"x": 3, "y": 1, "residual": 2})
    for name, truth in {"x": 3, "y": 1}.items():
        low, high = scores.intervals[name]
        unit = 1 if estimator == "shared_rank" else 6
        assert low * unit - 0.2 <= truth <= high * unit + 0.2
        assert len(scores.eigenvalues[name]) == 6
        assert scores.eigenvalues[name][truth - 1] > scores.thresholds[name]


@pytest.mark.thorough
def test_pairs_of_few_images_are_not_independent():
    """Unrelated labels of 60 images: 5,000 pairs say no more than 60 images do."""
    outside, missed = 0, 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        z = rng.standard_normal((60, 8))
        labels = {"y": rng.integers(0, 5, 60), "other": rng.integers(0, 5, 60)}
        pairs = pairs_from_labels(labels, 5000, seed)
        halves = z[pairs.a], z[pairs.b]
        scores = factor_scores(*halves, pairs.concept, pairs.names)
        given = factor_scores(
            *halves, pairs.concept, pairs.names, index_a=pairs.a, index_b=pairs.b
        )
        for one, other in zip(  # equal rows are one image
            scores.intervals["y"], given.intervals["y"], strict=True
        ):
            assert one == pytest.approx(other, abs=0.04)
        (low, high), (lower, upper) = scores.null["y"], scores.intervals["y"]
        outside += not low <= scores["y"] <= high
        missed += not lower <= 0 <= upper
    assert outside <= 1 and missed <= 1


A, B, CONCEPT = correlated_pairs(40)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: factor_scores(A, B[:-1], CONCEPT, ("x", "y")), "shape"),
        (lambda: factor_scores(A, B, CONCEPT[:-1], ("x", "y")), "shape"),
        (lambda: factor_scores(A * np.nan, B, CONCEPT, ("x", "y")), "NaN"),
        (lambda: factor_scores(A * 0, B * 0, CONCEPT, ("x", "y")), "varies"),
        (
            lambda: factor_scores(A, B, CONCEPT, ("x", "y", "z")),
            "'z' has fewer than two",
        ),
        (lambda: factor_scores(A, B, CONCEPT, ("x",)), "indices into names"),
        (
            lambda: factor_scores(A, B, CONCEPT, ("x", "y"), "cosine"),
            "estimator is one of",
        ),
        (
            lambda: factor_scores(A[:0], B[:0], CONCEPT[:0], ("x", "y")),
            "fewer than two",
        ),
        (
            lambda: factor_scores(A, B, CONCEPT, ("x", "y"), index_a=np.arange(40)),
            "given together",
        ),
        (
            lambda: factor_scores(
                A, B, CONCEPT, ("x", "y"), index_a=np.arange(3), index_b=np.arange(3)
            ),
            "which image each of 40 rows",
        ),
        (lambda: factor_sizes({}, 10), "need scores"),
        (lambda: factor_sizes({"a": float("inf")}, 10), "finite"),
        (lambda: factor_sizes({"residual": 0.5}, 10), "no concept"),
    ],
)
def test_mistakes_are_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


@pytest.mark.thorough
def test_a_concept_that_latents_ignore_scores_zero_on_free_pairs():
    rng = np.random.default_rng(1)
    labels = {"digit": rng.integers(0, 10, 3000), "color": rng.integers(0, 40, 3000)}
    z = np.eye(10)[labels["digit"]]  # z is the digit and nothing else
    free = pairs_from_labels(labels, 20_000, others="free")
    apart = pairs_from_labels(labels, 20_000, others="differ")
    names = tuple(labels)
    unbiased = factor_scores(z[free.a], z[free.b], free.concept, names)
    biased = factor_scores(z[apart.a], z[apart.b], apart.concept, names)
    assert unbiased["color"] == pytest.approx(0.0, abs=0.015)
    assert biased["color"] == pytest.approx(-1 / 9, abs=0.015)
    assert unbiased["digit"] == pytest.approx(1.0, abs=0.01)
