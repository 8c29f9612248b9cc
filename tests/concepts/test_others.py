"""The other concepts of a pair that agrees in one: free, or at least one unlike."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import iin_jax
from iin_jax.concepts import LabelPairs, pair_table, pairs_from_labels

FIT = importlib.import_module("iin_jax.fit")  # a function of the package has its name
COUNT = 60
RNG = np.random.default_rng(0)
LABELS = {"digit": RNG.integers(0, 3, COUNT), "color": RNG.integers(0, 4, COUNT)}
IMAGES = np.tanh(RNG.standard_normal((COUNT, 8, 8, 3))).astype(np.float32)
LAYOUT = iin_jax.FactorLayout({"digit": 2, "color": 2, "residual": 4})


def source_of(monkeypatch, network, **options):
    """The pairs that ``interpret`` trains on; nothing is trained."""
    trained = []

    def fit_prepared(train, *arguments, **more):
        trained.append(train)
        return None, {}

    monkeypatch.setattr(FIT, "fit_prepared", fit_prepared)
    settings = {"layout": LAYOUT, "held_out": 0.0, "progress": False, **options}
    iin_jax.interpret(network, IMAGES, LABELS, **settings)
    return trained[0].source


def drawn(source):
    """For 4,000 pairs: in which concepts they agree, (n, K)."""
    pairs = source.draws().draw(jax.random.key(0), jnp.arange(4000))
    a, b = np.asarray(pairs.index_a), np.asarray(pairs.index_b)
    alike = np.stack([x[a] == x[b] for x in source.labels.values()], axis=1)
    np.testing.assert_array_equal(alike, np.asarray(pairs.shared)[:, :2])
    assert (a != b).all()
    return alike


def test_interpret_forms_pairs_that_differ_in_another_label(monkeypatch, autoencoder):
    source = source_of(monkeypatch, autoencoder, others="differ")
    assert source.others == "differ"
    assert (drawn(source).sum(axis=1) == 1).all()  # of two concepts exactly one


def test_left_free_some_pairs_agree_in_both(monkeypatch, autoencoder):
    for options in ({}, {"others": "free"}):
        source = source_of(monkeypatch, autoencoder, **options)
        assert source.others == "free"
        alike = drawn(source)
        assert alike.any(axis=1).all() and 0.1 < alike.all(axis=1).mean() < 0.6


def test_the_rule_stays_among_some_of_the_entries():
    image = np.arange(COUNT)
    source = LabelPairs(LABELS, {}, image, others="differ").among(np.arange(40))
    assert source.others == "differ"
    assert (drawn(source).sum(axis=1) == 1).all()


UNKNOWN = {
    "pair_table": lambda others: pair_table(LABELS, others=others),
    "pairs_from_labels": lambda others: pairs_from_labels(LABELS, 5, others=others),
    "LabelPairs": lambda others: LabelPairs(LABELS, {}, np.arange(60), others=others),
}


@pytest.mark.parametrize("name", UNKNOWN)
@pytest.mark.parametrize("others", ["diffr", "Free", "", None, 1, ["free"]])
def test_an_unknown_value_is_one_clear_line(name, others):
    with pytest.raises(ValueError, match="others is one of") as error:
        UNKNOWN[name](others)
    assert repr(others) in str(error.value) and "\n" not in str(error.value)


def test_a_misspelt_value_offers_the_nearest():
    with pytest.raises(ValueError, match=r"\['differ', 'free'\]; got 'diffr'; did you"):
        pair_table(LABELS, others="diffr")


def test_interpret_refuses_it_before_anything_is_encoded(monkeypatch, autoencoder):
    monkeypatch.setattr(FIT, "_prepared", lambda *arguments: pytest.fail("encoded"))
    for labels in (LABELS, {}):
        with pytest.raises(ValueError, match="got 'other'"):
            iin_jax.interpret(autoencoder, IMAGES, labels, others="other")


def test_a_rule_beside_given_pairs_is_refused(autoencoder):
    pairs = LabelPairs(LABELS, {}, np.arange(COUNT))
    for options in ({"others": "differ"}, {"agree": ()}):
        with pytest.raises(ValueError, match="labels or from pairs"):
            iin_jax.interpret(autoencoder, IMAGES, pairs=pairs, **options)
