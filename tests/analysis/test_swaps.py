"""Swaps and linear edits, with judges whose figures are known exactly."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import iin_jax
from iin_jax.analysis import ColorJudge, Judge, LinearEdits, evaluate_swaps
from iin_jax.analysis.swaps import SwapRecord


@dataclasses.dataclass(frozen=True)
class Difference(Judge):
    """A judge that measures the mean absolute difference from the targets."""

    looks_at: str = "output"
    measure = "mean_abs_error"

    def score(self, outputs, expected):
        return float(np.abs(np.asarray(outputs) - expected).mean())


@dataclasses.dataclass(frozen=True)
class Counting(Judge):
    """A judge whose score is the number of outputs that it is given."""

    measure = "accuracy"

    def score(self, outputs, expected):
        assert len(outputs) == len(expected)
        return float(len(outputs))


def judged(*arguments, **options):
    """Entries of the scorecard, from which the record is read back unchanged."""
    record = evaluate_swaps(*arguments, **options)
    card = json.loads(json.dumps(record.entries()))
    assert SwapRecord.of(card) == record
    return card


@pytest.fixture(scope="module")
def sides(images):
    return images[:4], images[4:]


def reconstructed(interpreter, images):
    return np.asarray(interpreter.decode(interpreter.encode(images)))


def test_swaps_are_judged_against_both_sides(interpreter, sides):
    """A judge that compares images sees that the swapped factor moved, and no other."""
    a, b = sides
    true_a, true_b = (reconstructed(interpreter, x) for x in sides)
    judges = {"digit": Difference(), "color": Difference()}
    values_a = {"digit": true_a, "color": true_a}
    values_b = {"digit": true_b, "color": true_b}
    result = judged(interpreter, a, b, values_a, values_b, judges)
    edited = np.asarray(interpreter.swap(a, b, ["digit"]))
    swap = result["swap"]["digit"]
    assert swap["transferred"] == pytest.approx(
        np.abs(edited - true_b).mean(), rel=1e-4
    )
    kept = swap["others_kept"]["color"]
    assert kept == pytest.approx(np.abs(edited - true_a).mean(), rel=1e-4)
    assert result["floor"]["digit"] < 1e-5 and result["swap_pairs"] == 4
    assert result["floor_inputs"]["digit"] > 0.01
    assert "linear" not in result and "truth_l1" not in result


def test_a_judge_says_what_is_expected(interpreter, sides):
    """Target colours are those that the judge measures on the real images."""
    a, b = sides
    judge = ColorJudge()
    nonsense = {"color": np.full((4, 3), 9.0)}
    result = judged(interpreter, a, b, nonsense, nonsense, {"color": judge})
    edited = {
        name: judge.read(interpreter.swap(a, b, [name])) for name in ("digit", "color")
    }
    expected = np.abs(edited["color"] - judge.read(b)).mean()
    assert result["swap"]["color"]["transferred"] == pytest.approx(expected, rel=1e-3)
    expected = np.abs(edited["digit"] - judge.read(a)).mean()
    kept = result["swap"]["digit"]["others_kept"]["color"]
    assert kept == pytest.approx(expected, rel=1e-3)
    assert result["floor_inputs"]["color"] == 0.0


def test_a_concept_without_a_judge_is_not_invented(interpreter, sides):
    values = {"digit": np.zeros(4)}
    result = judged(interpreter, *sides, values, values, {"digit": Counting()})
    assert result["swap"]["color"] == {
        "transferred": None,
        "others_kept": {"digit": 4.0},
    }
    assert result["swap_counts"]["color"] == {
        "transferred": 0,
        "others_kept": {"digit": 4},
    }


def test_pairs_without_a_value_are_left_out_and_counted(interpreter, sides):
    digits_a = np.ma.array(np.arange(4), mask=[True, False, False, False])
    colors_b = np.array([3.0, np.nan, np.nan, np.nan])
    values_a = {"digit": digits_a, "color": np.array([1.0, 2.0, np.nan, 4.0])}
    values_b = {"digit": np.arange(4) + 1, "color": colors_b}
    judges = {"digit": Counting(), "color": Counting()}
    result = judged(interpreter, *sides, values_a, values_b, judges)
    expected = {  # rows 1 2 3 know both digits, row 0 both colours
        "digit": {"transferred": 3, "others_kept": {"color": 2}},
        "color": {"transferred": 1, "others_kept": {"digit": 0}},
    }
    assert result["swap_counts"] == expected
    assert result["swap"]["digit"] == expected["digit"]
    assert result["swap"]["color"] == {
        "transferred": 1,
        "others_kept": {"digit": None},
    }
    assert result["floor_counts"] == result["floor"] == {"digit": 3, "color": 3}


def test_swaps_can_be_judged_in_z(interpreter, sides):
    a, b = sides
    parts_a, parts_b = (interpreter.to_factors(interpreter.encode(x)) for x in sides)
    edited = interpreter.from_factors({**parts_a, "digit": parts_b["digit"]})
    z_a = np.asarray(interpreter.encode(a))
    result = judged(
        interpreter,
        a,
        b,
        {"digit": z_a},
        {"digit": np.asarray(edited)},
        {"digit": Difference("z")},
    )
    assert result["swap"]["digit"]["transferred"] < 1e-5
    assert result["floor"] == {"digit": 0.0}
    assert result["floor_inputs"] == {}


def test_linear_edits_are_judged_like_swaps(interpreter, sides):
    """The edited z is known in closed form, and so are the figures of judges of z."""
    rng = np.random.default_rng(0)
    classes = np.arange(60) % 3
    z_train = rng.standard_normal((60, 8))
    linear = LinearEdits.fit(z_train, {"digit": classes})
    digits_a = np.ma.array([0, 1, 2, 0], mask=[False, False, False, True])
    digits_b = np.array([1, 2, 0, 1])
    means = np.stack([z_train[classes == value].mean(axis=0) for value in range(3)])
    z_a = np.asarray(interpreter.encode(sides[0]))
    move = means[digits_b[:3]] - means[digits_a[:3]]
    values_a = {"digit": digits_a, "z": z_a}
    values_b = {"digit": digits_b, "z": z_a}
    judges = {"digit": Counting(), "z": Difference("z")}
    result = judged(interpreter, *sides, values_a, values_b, judges, linear=linear)
    assert list(result["linear"]) == ["digit"]  # nothing was fitted to the colour
    edited = result["linear"]["digit"]
    assert edited["transferred"] == 3.0
    assert edited["others_kept"]["z"] == pytest.approx(np.abs(move).mean(), rel=1e-4)
    assert result["swap_counts"]["digit"]["others_kept"] == {"z": 3}


def test_a_class_that_both_have_proves_no_transfer(interpreter, sides):
    values_a, values_b = ({"digit": np.array(x)} for x in ([0, 1, 2, 3], [0, 1, 3, 2]))
    judges = {"digit": Counting(), "other": Counting()}
    others = {"other": np.arange(4)}
    result = judged(
        interpreter, *sides, {**values_a, **others}, {**values_b, **others}, judges
    )
    counts = result["swap_counts"]["digit"]
    assert counts == {"transferred": 2, "others_kept": {"other": 4}}
    alike = judged(interpreter, *sides, values_a, values_a, {"digit": Counting()})
    assert alike["swap"]["digit"]["transferred"] is None


def test_a_class_unseen_in_training_is_not_moved_linearly(interpreter, sides):
    classes, z_train = np.arange(20) % 2, np.random.default_rng(0).normal(size=(20, 8))
    linear = LinearEdits.fit(z_train, {"digit": classes})
    z_a = np.asarray(interpreter.encode(sides[0]))
    values_a = {"digit": np.array([0, 0, 7, 1]), "z": z_a}
    values_b = {"digit": np.array([1, 7, 0, 1]), "z": z_a}
    result = judged(
        interpreter,
        *sides,
        values_a,
        values_b,
        {"digit": Counting(), "z": Difference("z")},
        linear=linear,
    )
    means = [z_train[classes == value].mean(axis=0) for value in (0, 1)]
    moved = np.abs(means[1] - means[0]).mean() / 4  # one of four pairs
    kept = result["linear"]["digit"]["others_kept"]["z"]
    assert kept == pytest.approx(moved, rel=1e-4)


def test_edits_are_compared_with_the_true_result(interpreter, sides):
    a, b = sides
    linear = LinearEdits.fit(np.eye(8), {"color": np.arange(8.0)})
    values = {"color": np.arange(4.0)}
    truths = {"color": b}
    result = judged(interpreter, a, b, values, values, {}, linear=linear, truths=truths)
    shown = {
        "edited": interpreter.swap(a, b, ["color"]),
        "linear": reconstructed(interpreter, a),  # from a value to itself: no move
        "unedited": reconstructed(interpreter, a),
        "reconstructed": reconstructed(interpreter, b),
    }
    assert list(result["truth_l1"]) == ["color"]
    errors = result["truth_l1"]["color"]
    assert set(errors) == set(shown)
    for name, images in shown.items():
        expected = np.abs((np.asarray(images) + 1) / 2 - (np.asarray(b) + 1) / 2).mean()
        assert errors[name] == pytest.approx(expected, rel=1e-4)


def test_bad_truths_are_one_line(interpreter, sides):
    a, b = sides
    for truths, message in (
        ({"colour": b}, "truths are given for 'colour', but the concepts are"),
        ({"color": b[:2]}, r"shape \(2, 8, 8, 3\); expected \(4, 8, 8, 3\)"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate_swaps(interpreter, a, b, {}, {}, {}, truths=truths)


def test_without_concepts_there_is_nothing_to_swap(autoencoder, sides):
    flow = iin_jax.InterpretationFlow(8, 1, 8, 0)
    variables = flow.init(
        jax.random.key(0), jnp.ones((4, 8)) * jnp.arange(4.0)[:, None]
    )
    layout = iin_jax.FactorLayout({"residual": 8})
    interpreter = iin_jax.Interpreter(flow, variables, layout, autoencoder)
    values = {"digit": np.zeros(4)}
    result = judged(interpreter, *sides, values, values, {"digit": Counting()})
    assert result["swap"] == {} and result["floor"] == {"digit": 4.0}
