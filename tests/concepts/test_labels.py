"""Pairs: what they share, what they never do, and every mistake in labels."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from iin_jax.concepts import LabelPairs, draw_pairs, pair_table, pairs_from_labels

RNG = np.random.default_rng(0)
DIGIT, COLOR = RNG.integers(0, 10, 600), RNG.integers(0, 40, 600)
LABELS = {"digit": DIGIT, "color": COLOR}


def test_pairs_agree_in_one_concept_and_differ_in_the_other():
    pairs = pairs_from_labels(LABELS, 4000, seed=1, others="differ")
    same_digit = DIGIT[pairs.a] == DIGIT[pairs.b]
    same_color = COLOR[pairs.a] == COLOR[pairs.b]
    np.testing.assert_array_equal(same_digit, pairs.concept == 0)
    np.testing.assert_array_equal(same_color, pairs.concept == 1)
    np.testing.assert_array_equal(pairs.shared[:, 0], same_digit)
    np.testing.assert_array_equal(pairs.shared[:, 1], same_color)
    assert not pairs.shared[:, 2].any()
    assert (pairs.a != pairs.b).all()
    assert 0.45 < (pairs.concept == 0).mean() < 0.55


def test_free_pairs_are_random_in_the_other_concept():
    pairs = pairs_from_labels(LABELS, 20_000, others="free")
    same_digit = DIGIT[pairs.a] == DIGIT[pairs.b]
    assert same_digit[pairs.concept == 0].all()
    np.testing.assert_array_equal(pairs.shared[:, 0], same_digit)
    assert (pairs.a != pairs.b).all()
    expected = [
        (DIGIT[np.flatnonzero(COLOR[entry] == COLOR)] == DIGIT[entry]).sum() - 1
        for entry in range(600)
    ]
    partners = np.bincount(COLOR)[COLOR] - 1
    chance = np.mean(np.array(expected) / partners)
    by_chance = same_digit[pairs.concept == 1].mean()
    assert abs(by_chance - chance) < 4 * np.sqrt(chance * (1 - chance) / 10_000)


def test_pairs_that_differ_in_one_concept_share_all_else():
    item = RNG.integers(0, 60, 600)
    labels = {"digit": item % 10, "color": COLOR}
    pairs = pairs_from_labels(labels, 2000, differ=["color"], agree=[], identity=item)
    assert (item[pairs.a] == item[pairs.b]).all()
    assert (COLOR[pairs.a] != COLOR[pairs.b]).all()
    assert (pairs.shared == [True, False, True]).all()
    assert (pairs.concept == -1).all()


def test_without_identity_the_residual_is_never_shared():
    pairs = pairs_from_labels(LABELS, 500, differ=["color"])
    assert not pairs.shared[:, 2].any()


@pytest.mark.parametrize("others", ["free", "differ"])
def test_copies_of_one_image_are_no_pair_of_images(others):
    item = np.repeat(np.arange(60), 6)
    labels = {"digit": (item % 4), "color": RNG.integers(0, 12, 360)}
    pairs = pairs_from_labels(labels, 5000, identity=item, others=others)
    twice = item[pairs.a] == item[pairs.b]
    np.testing.assert_array_equal(pairs.shared[:, -1], twice)
    assert twice.any() == (others == "differ")


def test_free_pairs_keep_a_rare_value_rare():
    rng = np.random.default_rng(0)
    common, rare = rng.integers(0, 2, 4000), (rng.random(4000) < 0.05).astype(int)
    pairs = pairs_from_labels({"common": common, "rare": rare}, 40_000)
    drawn = pairs.concept == 0
    assert rare[pairs.b[drawn]].mean() == pytest.approx(rare.mean(), abs=0.01)


def test_partners_are_uniform_among_all_that_qualify():
    digit = np.array([0, 0, 0, 0, 0, 1, 1])
    color = np.array([0, 1, 2, 3, 0, 0, 1])
    labels = {"digit": digit, "color": color}
    rule = {"agree": ["digit"], "others": "differ"}
    pairs = pairs_from_labels(labels, 20_000, **rule)
    of_first = pairs.b[pairs.a == 0]
    values, counts = np.unique(of_first, return_counts=True)
    np.testing.assert_array_equal(values, [1, 2, 3])  # not itself, not entry 4
    assert stats.chisquare(counts).pvalue > 1e-3
    assert stats.chisquare(np.bincount(pairs.a, minlength=7)).pvalue > 1e-3


def test_chance_agreement_in_a_third_concept_is_shared_too():
    labels = {name: RNG.integers(0, 2, 300) for name in ("a", "b", "c")}
    pairs = pairs_from_labels(labels, 3000, others="differ")
    for column, (name, values) in enumerate(labels.items()):
        equal = values[pairs.a] == values[pairs.b]
        np.testing.assert_array_equal(pairs.shared[:, column], equal, err_msg=name)
    assert (pairs.shared[np.arange(3000), pairs.concept]).all()
    assert not pairs.shared[:, :3].all(axis=1).any()


def test_one_concept_alone_pairs_different_entries():
    pairs = pairs_from_labels({"shape": np.array(["x", "y"] * 5)}, 500)
    assert (pairs.a != pairs.b).all() and (pairs.a % 2 == pairs.b % 2).all()


def test_labels_of_data_frames_draw_the_pairs_of_arrays():
    words = np.array(["red", "green", "blue"])[COLOR % 3]
    frame = pd.DataFrame({"digit": DIGIT, "color": pd.Categorical(words)})
    frame.index = RNG.permutation(600)  # rows are entries, whatever they are called
    item = pd.Series(DIGIT * 40 + COLOR, frame.index).astype(str)
    rule = {"seed": 1, "drop_alone": True}
    columns = {"digit": DIGIT.tolist(), "color": words}
    expected = pairs_from_labels(columns, 400, identity=item.tolist(), **rule)
    pairs = pairs_from_labels(frame, 400, identity=item, **rule)
    source = LabelPairs(frame, {}, np.arange(600), item).among(np.arange(10, 60))
    assert pairs.names == source.names == ("digit", "color")
    for half in ("a", "b", "shared"):
        np.testing.assert_array_equal(getattr(pairs, half), getattr(expected, half))
    np.testing.assert_array_equal(source.labels["color"], words[10:60])


def test_warnings_name_the_concept_that_is_odd():
    labels = {
        "site": np.zeros(600, int),
        "age": np.repeat(RNG.random(200), 3),
        "smiles": np.array(["yes", "Yes", "no"])[COLOR % 3],
        "digit": DIGIT,
    }
    with pytest.warns(UserWarning) as caught:
        pair_table(labels)
    site, age, smiles = (str(warning.message) for warning in caught)
    assert site.startswith("concept 'site' has one value in all 600 entries")
    assert age.startswith("concept 'age' has real numbers") and "graded={'age'" in age
    assert smiles.endswith("upper and lower case alone: ['Yes', 'yes']")


def test_draws_are_pure_jittable_and_independent_of_the_split():
    table = pair_table(LABELS)
    key = jax.random.key(3)
    whole = draw_pairs(table, key, 16)
    jitted = jax.jit(draw_pairs, static_argnums=2)(table, key, 16)
    second_half = draw_pairs(table, key, 8, examples=jnp.arange(8, 16))
    for one, other, half in zip(whole, jitted, second_half, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one[8:], half)
    other_key = draw_pairs(table, jax.random.key(4), 16)
    assert (other_key[0] != whole[0]).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pairs_from_labels({}, 5), "need labels"),
        (lambda: pairs_from_labels(LABELS, 0), "pairs >= 1; got 0"),
        (lambda: pair_table({"d": DIGIT, "c": COLOR[:-1]}), "all of one length"),
        (lambda: pair_table({"d": np.array([])}), "array is empty"),
        (lambda: pair_table({"d": [0.0, np.inf]}), "infinite"),
        (
            lambda: pair_table({"age": RNG.random(9)}),
            r"give .* graded=\{'age': \.\.\.\}",
        ),
        (lambda: pair_table(DIGIT), "labels are a dictionary or data frame.*ndarray"),
        (
            lambda: pair_table({"d": "red"}),
            "'d' needs a value per entry; got str 'red'",
        ),
        (
            lambda: pair_table({"d": DIGIT, "site": 0 * DIGIT}, others="differ"),
            r"in 'd' have to differ in one of \['site'\], .* one value everywhere",
        ),
        (lambda: pair_table(LABELS, agree=["shape"]), r"concepts \['digit', 'color'\]"),
        (lambda: pair_table(LABELS, agree=[]), "agree or differ"),
        (lambda: pair_table(LABELS, identity=np.arange(3)), "identity has shape"),
        (
            lambda: pair_table({"d": np.array([0, 0, 7, 1, 1]), "c": np.arange(5) % 2}),
            "concept 'd', value .*7.*entry 2.*no pair",
        ),
        (
            lambda: pair_table(
                {"d": np.array([0, 0, 1, 1]), "c": np.array([0, 0, 1, 2])},
                others="differ",
            ),
            "another value of the other concepts",
        ),
    ],
)
def test_mistakes_are_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
