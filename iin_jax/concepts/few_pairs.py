"""Directions of a concept from few pairs, with the help of all latents.

Two things make few pairs go far. The halves of a pair that shares a concept differ
little along its directions, and a small difference is known far better than a large
product is: where all latents say that a component has variance 1, a pair's product
``a b`` and its squares ``(a^2 + b^2) / 2`` err together, so the squares correct it (a
control variate; wholly, it leaves ``1 - (a - b)^2 / 2``). And concepts of a trained
network lie where its latents vary most, so directions are sought among leading
principal components. Cross-validation over pairs says how many, and whether to correct.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from iin_jax.concepts.pair_forms import GivenPairs, PairForm
from iin_jax.concepts.shared_directions import DENSE_DIM, signed
from iin_jax.concepts.whitening import Whitening

FEW = 32  # pairs per dimension of z below which pairs are few
LEAST = 2  # fewest pairs that can be left out in turn
FOLDS = 8  # parts that cross-validation leaves out in turn
SHARES = (
    1 / 64,
    1 / 32,
    3 / 64,
    1 / 16,
    1 / 8,
    3 / 16,
    1 / 4,
    3 / 8,
    1 / 2,
    3 / 4,
    1.0,
)
CONTROLS = (0.0, 1.0)  # weights of the control variate
SEED = 0xFE3


class FewPairs(NamedTuple):
    """What few pairs of a concept share.

    Attributes:
      basis: (N, m), orthonormal, the components in which directions were sought.
      control: weight of the control variate.
      values: (m,), correlations of pairs in the directions, descending.
      vectors: (N, m), the directions, unit vectors in whitened latents.
      held_out: (m,), correlations of held-out pairs in directions of the others.
    """

    basis: np.ndarray
    control: float
    values: np.ndarray
    vectors: np.ndarray
    held_out: np.ndarray


def are_few(pairs: PairForm, dim: int) -> bool:
    """Whether pairs of a concept are given, and few for N = ``dim``."""
    if not isinstance(pairs, GivenPairs) or pairs.differs or dim > DENSE_DIM:
        return False
    return bool(LEAST <= np.count_nonzero(pairs.coefficient) < FEW * dim)


def few_pairs(
    whitening: Whitening,
    z: np.ndarray,
    w: np.ndarray,
    pairs: GivenPairs,
    count: int | None = None,
) -> FewPairs:
    """The directions that pairs of a concept share, chosen by cross-validation.

    Args:
      whitening: of all latents.
      z, w: (n, N), all latents and whitened ones, of pairs or not.
      pairs: of the concept, among these latents.
      count: number of directions that will be used; None: as many as held-out pairs
        share.
    """
    used = pairs.coefficient != 0
    first, second = pairs.first[used], pairs.second[used]
    coefficient = pairs.coefficient[used]
    fold = np.random.default_rng(SEED).permutation(len(first)) % min(FOLDS, len(first))
    trials: list[_Trial] = []
    for basis in _bases(whitening, z):
        x = w @ basis
        moments = _Moments(x.T @ x / len(x), x[first], x[second], coefficient)
        for m in _numbers(basis.shape[1], count):
            for control in CONTROLS:
                held_out = moments.held_out(fold, m, control)
                trials.append(_Trial(basis[:, :m], moments, control, held_out))
    chosen = _chosen(trials, count)
    m = chosen.basis.shape[1]
    form = chosen.moments.form(np.ones(len(first), bool), m, chosen.control)
    values, vectors = _leading(form)
    vectors = signed(chosen.basis @ vectors)
    held_out = chosen.held_out.mean(axis=0)
    return FewPairs(chosen.basis, chosen.control, values, vectors, held_out)


class _Moments(NamedTuple):
    """Second moments of latents in a basis, for any choice of pairs.

    Attributes:
      of_all: (N, N), of all latents.
      a, b: (p, N), both halves of the pairs.
      coefficient: (p,), of each pair.
    """

    of_all: np.ndarray
    a: np.ndarray
    b: np.ndarray
    coefficient: np.ndarray

    def form(self, pairs: np.ndarray, m: int, control: float) -> np.ndarray:
        """What chosen pairs, bool (p,), share in the first m components, (m, m)."""
        a, b = self.a[pairs, :m], self.b[pairs, :m]
        weight = self.coefficient[pairs]
        weight = weight * np.abs(self.coefficient).sum() / np.abs(weight).sum()
        product = a.T @ (weight[:, None] * b)
        product = 0.5 * (product + product.T)
        if not control:
            return product
        squares = a.T @ (weight[:, None] * a) + b.T @ (weight[:, None] * b)
        return product + control * (weight.sum() * self.of_all[:m, :m] - 0.5 * squares)

    def held_out(self, fold: np.ndarray, m: int, control: float) -> np.ndarray:
        """Correlations of left-out pairs in the others' directions, (folds, m)."""
        result = []
        for index in range(fold.max() + 1):
            left_out = fold == index
            _, vectors = _leading(self.form(~left_out, m, control))
            judged = self.form(left_out, m, 1.0)
            result.append(np.einsum("md,mn,nd->d", vectors, judged, vectors))
        return np.stack(result)


class _Trial(NamedTuple):
    """Leading components and a control on trial; ``held_out`` is (folds, m)."""

    basis: np.ndarray
    moments: _Moments
    control: float
    held_out: np.ndarray


def _chosen(trials: list[_Trial], count: int | None) -> _Trial:
    """The trial with fewest components within a standard error of the best one.

    Wide components are the likely ones, so more of them have to earn it.
    """
    means, errors = np.array([_gain(trial.held_out, count) for trial in trials]).T
    least = means.max() - errors[means.argmax()]
    good = np.flatnonzero(means >= least)
    return trials[min(good, key=lambda i: (trials[i].basis.shape[1], -means[i]))]


def _leading(form: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, descending, and eigenvectors in columns."""
    values, vectors = np.linalg.eigh(form)
    return values[::-1], vectors[:, ::-1]


def _gain(held_out: np.ndarray, count: int | None) -> tuple[float, float]:
    """Sum of held-out correlations over the directions used, and its standard error."""
    used = count
    if used is None:
        sums = np.cumsum(held_out.mean(axis=0))
        used = int(sums.argmax()) + 1 if sums.max() > 0 else 0
    each = held_out[:, :used].sum(axis=1)
    return float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each)))


def _numbers(dim: int, count: int | None) -> list[int]:
    """Numbers of leading components on trial; enough for the directions."""
    numbers = {max(1, round(share * dim), count or 1) for share in SHARES}
    return sorted(m for m in numbers if m <= dim)


def _bases(whitening: Whitening, z: np.ndarray) -> Iterator[np.ndarray]:
    """Principal components of z, in its units and in common ones, widest first.

    As orthonormal columns (N, N) in whitened latents; the first m of them span what
    the first m components of z say.
    """
    axes, root = whitening.axes, np.sqrt(whitening.variances)
    _, principal = _leading(np.cov(np.asarray(z, np.float64).T))
    dual = axes @ (root[:, None] * (axes.T @ (whitening.scale[:, None] * principal)))
    yield np.linalg.qr(dual)[0]
    yield axes[:, np.argsort(-whitening.variances)]
