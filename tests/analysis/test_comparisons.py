"""Intervals of paired differences, and lines that name what T does not do better."""

import numpy as np
import pytest
from scipy import stats

import iin_jax
from iin_jax.analysis import ColorJudge, LinearEdits, evaluate_swaps
from iin_jax.analysis.comparisons import Difference, PairedImages, unbeaten_lines

RNG = np.random.default_rng(0)


def independent(count):
    return PairedImages(np.arange(count), count + np.arange(count))


def test_the_interval_of_a_share_is_about_the_binomial_one():
    values = (RNG.random(2000) < 0.8).astype(float)
    low, high = independent(2000).interval(values)
    width = 2 * 1.96 * np.sqrt(0.8 * 0.2 / 2000)
    assert high - low == pytest.approx(width, rel=0.15)
    assert low < values.mean() < high


@pytest.mark.parametrize(("right", "count"), [(99, 100), (100, 100), (0, 40)])
def test_the_interval_of_a_share_is_wilsons_and_within_bounds(right, count):
    values = (np.arange(count) < right).astype(float)
    low, high = independent(count).share_interval(values)
    expected = stats.binomtest(right, count).proportion_ci(method="wilson")
    np.testing.assert_allclose((low, high), expected, atol=2e-3)
    assert 0 <= low <= right / count <= high + 1e-9 <= 1 + 1e-9


def test_pairs_of_few_images_have_wider_intervals():
    image = RNG.integers(0, 20, (2, 2000))
    values = RNG.standard_normal(20)[image[0]]
    dependent = PairedImages(image[0], 100 + image[1]).interval(values)
    unrelated = independent(2000).interval(values)
    assert dependent[1] - dependent[0] > 3 * (unrelated[1] - unrelated[0])


def test_differences_are_paired_and_positive_if_better():
    paired = independent(500)
    wrong = np.zeros(500)
    right = wrong.copy()
    right[:250] = 1.0
    right[-1] = np.nan  # not judged
    gain = paired.difference(right, wrong, "accuracy")
    assert gain.value == pytest.approx(250 / 499) and gain.count == 499
    assert gain.is_ahead and not gain.is_behind
    as_errors = paired.difference(right, wrong, "mean_abs_error")
    assert as_errors.value == -gain.value and as_errors.is_behind
    assert paired.difference(np.full(500, np.nan), wrong, "accuracy") is None


def test_lines_name_each_concept_that_is_not_ahead():
    ahead, level = Difference(0.1, (0.05, 0.2), 9), Difference(0.01, (-0.02, 0.03), 9)
    behind = Difference(-0.004, (-0.005, -0.003), 9)
    compared = {
        "digit": {
            "linear": {"digit": level, "color": behind},
            "start": {"digit": ahead, "color": level},
        },
        "color": {"linear": {"color": behind, "digit": None}},
    }
    measures = {"digit": "accuracy", "color": "mean_abs_error"}
    first, start, second = unbeaten_lines(compared, measures)
    assert start.startswith("digit: against the linear start T_0 alone T is not ahead")
    assert first.startswith("digit: against the linear edit T is not ahead in digit")
    assert "+1.0 points, 95 % -2.0 to +3.0" in first
    assert "loses in color kept (-0.0040" in first
    assert second.startswith("color: against the linear edit T loses in color transf")
    compared = {"color": {"linear": {"digit": ahead, "color": None}}}
    (unread,) = unbeaten_lines(compared, measures)
    assert unread.startswith("color: no judge reads it from these outputs")


@pytest.mark.thorough
def test_swaps_are_compared_with_the_linear_edit_and_the_start(interpreter, images):
    """The interpreter as its own start is never ahead of itself."""
    a, b = images[:4], images[4:]
    colors = RNG.random((8, 3))
    judges = {"color": ColorJudge()}
    values = {"color": colors[:4]}, {"color": colors[4:]}
    z = np.asarray(interpreter.encode(images))
    linear = LinearEdits.fit(z, {"color": colors})
    options = {"linear": linear, "start": interpreter}
    card = evaluate_swaps(interpreter, a, b, *values, judges, **options).entries()
    same = card["compared"]["color"]["start"]["color"]
    assert same["value"] == pytest.approx(0.0, abs=1e-6) and same["count"] == 4
    assert any("T_0 alone T is not ahead in color" in x for x in card["unbeaten"])
    transferred = card["swap_intervals"]["color"]["transferred"]
    assert transferred[0] <= card["swap"]["color"]["transferred"] <= transferred[1]
    expected = card["linear"]["color"]["transferred"]
    expected -= card["swap"]["color"]["transferred"]
    against = card["compared"]["color"]["linear"]["color"]["value"]
    assert against == pytest.approx(expected, rel=1e-4)
    assert isinstance(interpreter, iin_jax.Interpreter)
