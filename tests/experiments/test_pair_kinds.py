"""Pairs of every kind: the problems are what they say, and T finds their factors."""

import json

import numpy as np
import pytest

import iin_jax
from experiments import pair_kinds
from experiments.pair_kinds import KINDS, LAYOUT, PERSONS

TINY = iin_jax.InterpretationFlow(LAYOUT.dim, 1, 8, 0)
GIVEN = {name: kind for name, kind in KINDS.items() if kind.masks is not None}


def test_the_mixing_keeps_volume_and_is_not_linear():
    """Waves added to half of the components, and a turn: determinants of 1."""
    points = np.random.default_rng(0).standard_normal((5, LAYOUT.dim))
    step = 1e-2
    for point in points:
        around = point + step * np.concatenate([np.eye(6), -np.eye(6)])
        z = pair_kinds.mixed(around, 3).astype(np.float64)
        jacobian = (z[:6] - z[6:]) / (2 * step)
        assert abs(np.linalg.det(jacobian)) == pytest.approx(1.0, abs=0.02)
    bound = pair_kinds.linear_bound(LAYOUT, 3)
    assert all(0.6 < value < 0.9 for value in bound.values())


@pytest.mark.parametrize("name", GIVEN)
def test_pairs_have_the_stated_similarities(name):
    kind = GIVEN[name]
    a, b, shared = pair_kinds.pairs(kind, 40_000, 0)
    np.testing.assert_allclose([a.std(0), b.std(0)], 1.0, atol=0.02)
    for index, factor in enumerate(LAYOUT.names):
        columns, rows = LAYOUT.slice(factor), shared[:, index]
        for part, similar in (
            (rows, (1 - kind.wrong) * kind.similar[index]),
            (~rows, 0.0),
        ):
            if part.any():
                mean = (a[part, columns] * b[part, columns]).mean()
                assert mean == pytest.approx(similar, abs=0.02)


def test_masks_say_one_several_or_all_but_one():
    rng = np.random.default_rng(0)
    one = pair_kinds.agree_in_one(rng, 1000)
    several = pair_kinds.agree_in_several(rng, 1000)
    differing = pair_kinds.differ_in_one(rng, 1000)
    assert (one.sum(1) == 1).all() and not one[:, 2].any()
    assert set(several.sum(1)) == {1, 2} and not several[:, 2].any()
    assert (differing.sum(1) == 2).all() and differing[:, 2].all()
    assert len(np.unique(one, axis=0)) == 2
    assert len(np.unique(several, axis=0)) == 3


def test_images_of_a_person_are_alike_in_one_factor():
    factors, person = pair_kinds.persons(20_000, 0)
    assert (np.bincount(person) == pair_kinds.PER_PERSON).all()
    first, second = factors[::4], factors[1::4]
    mean = (first * second).mean(0)
    columns = PERSONS.slice("person")
    np.testing.assert_allclose(mean[columns], 0.95, atol=0.04)
    np.testing.assert_allclose(mean[PERSONS.slice("residual")], 0.0, atol=0.06)
    np.testing.assert_allclose(factors.std(0), 1.0, atol=0.03)


def test_labels_form_no_pairs_by_masks():
    with pytest.raises(ValueError, match="pairs of this kind come from labels"):
        pair_kinds.pairs(KINDS["all images of a person"], 10, 0)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["a fifth wrong, mixture", "all images of a person"])
def test_a_line_says_what_t_and_its_start_find(monkeypatch, name):
    monkeypatch.setattr(pair_kinds, "FITTED", 800)
    monkeypatch.setattr(pair_kinds, "JUDGED", 800)
    settings = {"flow": TINY, "steps": 1, "batch_size": 8}
    line = pair_kinds.row(name, 400, 0, **settings)
    layout = KINDS[name].layout
    assert (line["pairs"], line["seed"]) == (name, 0)
    assert line["sigma"] == [KINDS[name].sigma]
    assert set(line["T"]) == set(line["T_0"]) == set(layout.names)
    for concept in layout.concepts:  # T_0 finds most of it, and no linear map the rest
        assert 0.6 < line["T_0"][concept] < 0.92
        assert 0.6 < line["linear"][concept] < 0.92


def test_the_command_prints_a_line_per_kind_and_seed(capsys, monkeypatch):
    asked = []

    def row(name, count, seed, **training):
        asked.append((name, count, seed, training))
        return {"pairs": name, "seed": seed}

    monkeypatch.setattr(pair_kinds, "row", row)
    flags = ["--kinds", "agree in one", "--pairs", "30", "--seeds", "4", "5"]
    assert pair_kinds.main([*flags, "--steps", "7", "--batch", "16"]) == 0
    training = {"steps": 7, "batch_size": 16}
    assert asked == [("agree in one", 30, seed, training) for seed in (4, 5)]
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["seed"] for line in lines] == [4, 5]
    with pytest.raises(SystemExit):
        pair_kinds.main(["--kinds", "agree in none"])


@pytest.fixture(scope="module")
def rows():
    """The kind's table at three seeds, each trained once."""
    table = {}

    def of(name, pairs=4000):
        if name not in table:
            table[name] = [
                pair_kinds.row(name, pairs, seed, batch_size=128) for seed in range(3)
            ]
        return table[name]

    return of


def concepts_of(line, kind):
    """R^2 of all concepts."""
    return [line[kind][name] for name in line[kind] if name != "residual"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "agree in one",
        "agree in several",
        "differ in one",
        "all images of a person",
        "a fifth wrong, mixture",
    ],
)
def test_t_finds_the_factors_where_no_linear_map_does(rows, name):
    for line in rows(name):
        assert min(concepts_of(line, "T")) >= 0.95
        assert max(concepts_of(line, "T_0")) < 0.9
        assert max(concepts_of(line, "linear")) < 0.9


@pytest.mark.slow
def test_the_mixture_keeps_what_a_choice_by_the_likelihood_loses(rows):
    """By the plain likelihood of held-out pairs, a fifth wrong, T_0 is kept."""
    mixture, plain = (rows(f"a fifth wrong, {x}") for x in ("mixture", "likelihood"))
    for kept, lost in zip(mixture, plain, strict=True):
        assert max(concepts_of(lost, "T")) < min(concepts_of(kept, "T")) - 0.03


@pytest.mark.slow
def test_similarities_are_learned_per_factor(rows):
    true = KINDS["similarity learned"].similar
    for line in rows("similarity learned"):
        np.testing.assert_allclose(line["sigma"][:2], true[:2], atol=0.02)
