"""Missing labels: the pairs drawn are exactly those that their definition lists."""

import itertools

import numpy as np
import pytest
from scipy import stats

from iin_jax.concepts import pair_table, pairs_from_labels

RNG = np.random.default_rng(3)
ENTRIES = 14


def with_gaps(values, share=0.3):
    return np.ma.array(values, mask=RNG.random(len(values)) < share)


LABELS = {
    "digit": with_gaps(RNG.integers(0, 2, ENTRIES)),
    "color": with_gaps(RNG.choice(["red", "green"], ENTRIES)),
    "thick": RNG.integers(0, 2, ENTRIES).astype(bool),
}
THING = np.arange(ENTRIES) % 5


def known(column, *entries):
    return not np.ma.getmaskarray(np.ma.asarray(column))[list(entries)].any()


def surely_equal(column, a, b):
    return known(column, a, b) and column[a] == column[b]


def listed(labels, kind, name, identity=None, free=True):
    """All pairs (a, b) that the rule allows, by its definition."""
    own = labels[name]
    others = [column for other, column in labels.items() if other != name]
    for a, b in itertools.permutations(range(ENTRIES), 2):
        if not known(own, a, b):
            continue
        all_alike = all(surely_equal(column, a, b) for column in others)
        apart = identity is None or identity[a] != identity[b]
        allowed = apart if free else not all_alike
        if kind == "agree" and own[a] == own[b] and allowed:
            yield a, b
        if kind == "differ" and own[a] != own[b]:
            one_thing = identity is not None and identity[a] == identity[b]
            alike = [
                surely_equal(column, a, b)
                or (one_thing and not known(column, a) and not known(column, b))
                for column in others
            ]
            if all(alike) and (identity is None or one_thing):
                yield a, b


@pytest.mark.parametrize("others", ["free", "differ"])
@pytest.mark.parametrize("identity", [None, THING])
@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("kind", ["agree", "differ"])
def test_the_pairs_drawn_are_all_that_are_listed_and_no_others(
    kind, name, identity, others
):
    expected = set(listed(LABELS, kind, name, identity, others == "free"))
    rule = {"agree": [], kind: [name], "others": others}
    if not expected:
        with pytest.raises(ValueError, match="no pair"):
            pair_table(LABELS, **rule, identity=identity, drop_alone=True)
        return
    pairs = pairs_from_labels(LABELS, 4000, **rule, identity=identity, drop_alone=True)
    assert set(zip(pairs.a.tolist(), pairs.b.tolist(), strict=True)) == expected
    halves = sorted({a for a, _ in expected})
    counts = np.bincount(pairs.a, minlength=ENTRIES)[halves]
    assert len(halves) == 1 or stats.chisquare(counts).pvalue > 1e-4
    _, partners = np.unique(pairs.b[pairs.a == halves[0]], return_counts=True)
    assert len(partners) == 1 or stats.chisquare(partners).pvalue > 1e-4


def test_what_is_unknown_is_not_shared():
    pairs = pairs_from_labels(LABELS, 2000, drop_alone=True, others="differ")
    halves = np.stack([pairs.a, pairs.b], axis=1)
    for column, values in enumerate(LABELS.values()):
        expected = [surely_equal(values, *ab) for ab in halves]
        np.testing.assert_array_equal(pairs.shared[:, column], expected)
    assert pairs.shared[np.arange(2000), pairs.concept].all()
    assert not pairs.shared[:, 3].any()


def test_one_thing_shares_its_unknown_labels_too():
    labels = {
        "digit": np.ma.array([0, 0, 1, 1], mask=[True, True, False, False]),
        "color": np.array([0, 1, 0, 1]),
    }
    thing = np.array([0, 0, 1, 1])
    pairs = pairs_from_labels(labels, 50, agree=[], differ=["color"], identity=thing)
    assert set(pairs.a) == {0, 1, 2, 3}
    assert (pairs.shared == [True, False, True]).all()


def test_entries_that_lack_one_label_serve_in_pairs_of_the_other():
    """The usual case: every digit is known, few colours are."""
    color = np.ma.masked_all(40, int)
    color[:8] = np.arange(8) % 4
    labels = {"digit": np.arange(40) % 3, "color": color}
    pairs = pairs_from_labels(labels, 3000)
    of_digit = pairs.concept == 0
    assert set(pairs.a[of_digit]) == set(range(40))
    assert set(pairs.a[~of_digit]) == set(range(8))
    assert 0.45 < of_digit.mean() < 0.55


def test_entries_without_a_partner_can_be_left_out_and_are_counted():
    labels = {"d": np.array([0, 0, 7, 1, 1]), "c": np.array([0, 1, 0, 1, 0])}
    table = pair_table(labels, drop_alone=True)
    np.testing.assert_array_equal(table.alone, [1, 0])
    np.testing.assert_array_equal(table.eligible_count, [4, 5])
    pairs = pairs_from_labels(labels, 500, drop_alone=True)
    assert 2 not in pairs.a[pairs.concept == 0]
    assert 2 in pairs.a[pairs.concept == 1]


def test_labels_without_gaps_are_drawn_as_if_no_mask_was_there():
    labels = {"d": RNG.integers(0, 3, 60), "c": RNG.integers(0, 4, 60)}
    masked = {name: np.ma.array(values) for name, values in labels.items()}
    plain, same = pairs_from_labels(labels, 300), pairs_from_labels(masked, 300)
    np.testing.assert_array_equal(plain.a, same.a)
    np.testing.assert_array_equal(plain.b, same.b)


def test_numbers_that_are_missing_are_in_no_pair():
    """Whole numbers with a gap are floating-point numbers with NaN in data frames."""
    pairs = pairs_from_labels({"d": np.array([0, 0, np.nan, 1, 1, np.nan])}, 200)
    assert set(pairs.a) == set(pairs.b) == {0, 1, 3, 4}


HALF = np.ma.array([0, 0, 1, 1], mask=[False, False, True, True])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: pair_table({"d": np.array([0.0, np.inf, np.nan])}),
            "'d' has infinite labels; NaN stands for missing",
        ),
        (lambda: pair_table({"d": np.ma.masked_all(4, int)}), "all 4 are masked"),
        (lambda: pair_table({"d": [None, np.nan]}), "'d' has no labels: all 2"),
        (
            lambda: pair_table({"d": np.arange(4)}, identity=[0.0, 1.0, np.nan, 2.0]),
            "identity is masked or missing",
        ),
        (
            lambda: pair_table(
                {"d": HALF, "c": HALF}, drop_alone=True, others="differ"
            ),
            "'d' has no pairs: of each of the 2 entries",
        ),
        (
            lambda: pair_table({"d": HALF, "c": HALF}, agree=[], differ=["d"]),
            "'d', value .*0.*entry 0.*drop_alone=True",
        ),
        (
            lambda: pair_table(
                {"d": HALF, "c": np.ma.masked_all(4, int)}, differ=["d"]
            ),
            "'c' has no labels",
        ),
        (
            lambda: pair_table({"d": [0, 0, 1, 1]}, differ=["d"], identity=HALF),
            "identity is masked",
        ),
    ],
)
def test_mistakes_are_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
