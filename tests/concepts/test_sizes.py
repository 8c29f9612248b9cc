"""Sizes from eigenvalues: known problems, empty concepts, and never zero in silence."""

import warnings

import numpy as np
import pytest

from iin_jax import FactorLayout
from iin_jax.concepts import factor_scores, factor_sizes
from iin_jax.concepts.closed_form import LinearView
from iin_jax.concepts.pair_forms import ClassPairs
from iin_jax.concepts.scores import FactorScores
from iin_jax.concepts.size_choice import choose_sizes
from iin_jax.concepts.sizes import fitting

DIM = 32


def problem(seed):
    """Pairs whose concepts have known numbers of dimensions, one of them none."""
    rng = np.random.default_rng(seed)
    dim, count = DIM, 1200
    sizes = rng.permutation([0, int(rng.integers(1, 5)), int(rng.integers(3, 11))])
    concept = rng.integers(0, 3, count)
    a, b = rng.standard_normal((2, count, dim))
    start = 0
    for index, size in enumerate(sizes):
        rows = concept == index
        part = slice(start, start + size)
        b[rows, part] = 0.9 * a[rows, part] + 0.44 * b[rows, part]
        start += size
    mixing = rng.standard_normal((dim, dim))
    return a @ mixing, b @ mixing, concept, sizes


def errors(seed, names=("x", "y", "z")):
    """estimator -> summed absolute error, and what the empty concept got by ours."""
    za, zb, concept, sizes = problem(seed)
    found, empty = {}, 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("pooled", "correlation", "shared_rank", "calibrated"):
            scores = factor_scores(za, zb, concept, names, name, seed=seed)
            layout = factor_sizes(scores, DIM)
            got = np.array([layout[each] for each in names])
            found[name] = int(np.abs(got - sizes).sum())
            if name == "shared_rank":
                empty = int(got[sizes == 0][0])
    return found, empty


@pytest.mark.thorough
def test_sizes_of_known_problems_are_nearer_than_the_published_ones():
    found, _ = errors(0)
    for ours in ("shared_rank", "calibrated"):
        assert found[ours] < min(found["pooled"], found["correlation"])


@pytest.mark.slow
def test_two_hundred_known_problems():
    results = [errors(seed) for seed in range(200)]
    for ours in ("shared_rank", "calibrated"):
        nearer = [f[ours] < min(f["pooled"], f["correlation"]) for f, _ in results]
        assert np.mean(nearer) >= 0.95, (ours, np.mean(nearer))
    assert np.mean([empty == 0 for _, empty in results]) >= 0.95


def test_a_concept_without_a_dimension_is_named():
    with pytest.warns(UserWarning, match=r"no dimension of 4 for 'b' \(score 0\)"):
        ranks = FactorScores({"a": 2.0, "b": 0.0}, "shared_rank", {}, {})
        layout = factor_sizes(ranks, 4)
    assert layout == FactorLayout({"a": 2, "b": 0, "residual": 2})
    with pytest.warns(UserWarning, match="and 12 more"):
        factor_sizes({f"c{i}": 0.0 for i in range(20)}, 16)


@pytest.mark.parametrize(
    ("wanted", "dim", "expected"),
    [
        ([3, 2], 10, [3, 2]),
        ([0.6, 1.4], 10, [1, 1]),
        ([6, 6], 8, [4, 4]),
        ([30, 1, 1], 8, [6, 1, 1]),
        ([1] * 5, 3, [1, 1, 1, 0, 0]),
        ([0, 0], 4, [0, 0]),
    ],
)
def test_whole_numbers_fit(wanted, dim, expected):
    sizes = fitting(np.array(wanted, float), dim)
    assert sizes.sum() <= dim
    np.testing.assert_array_equal(np.sort(sizes)[::-1], np.sort(expected)[::-1])


def test_a_concept_on_a_circle_of_blobs_takes_more_than_its_rank():
    """Classes that differ in spread, not in mean, along further directions."""
    rng = np.random.default_rng(0)

    def draw(count):
        codes = rng.integers(0, 2, count)
        z = rng.standard_normal((count, 6))
        z[:, 0] += 1.5 * codes
        z[:, 1] *= np.where(codes == 1, 3.0, 0.3)
        return z, ClassPairs(codes, np.arange(count))

    (z, pairs), (held, held_pairs) = draw(1500), draw(800)
    view = LinearView.of(z, {"x": pairs}, np.arange(1500))
    assert view.counted(0)["x"].rank == 1
    choice = choose_sizes(view, {"x": 1}, held, {"x": held_pairs})["x"]
    assert choice.rank == 1 and 1 <= choice.size <= 2
    assert choice.separation[1.0] <= max(choice.separation.values())


def test_half_of_what_is_free_stays_with_the_residual():
    """Classes whose other directions say of them all that there is to say."""
    rng = np.random.default_rng(0)

    def draw(count):
        codes = rng.integers(0, 4, count)
        z = rng.standard_normal((count, 6))
        z[:, 0] += 1.5 * (codes == 1)
        z[:, 1:] *= (1.0 + codes)[:, None]
        return z, ClassPairs(codes, np.arange(count))

    (z, pairs), (held, held_pairs) = draw(1500), draw(800)
    view = LinearView.of(z, {"x": pairs}, np.arange(1500))
    choice = choose_sizes(view, {"x": 4}, held, {"x": held_pairs})["x"]
    assert set(choice.separation) == {1.0, 1.5} and choice.size <= 5
