"""Sizes between a linear rank and twice it, chosen on held-out images.

The rank counts linear directions, which is a lower bound for a concept on a curved set:
ten digits lie on more than nine directions.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from iin_jax.concepts.closed_form import LinearView
from iin_jax.concepts.columns import MISSING
from iin_jax.concepts.pair_forms import ClassPairs, PairForm
from iin_jax.concepts.sizes import fitting
from iin_jax.flows.linear_start import start_product

MULTIPLES = (1.0, 1.5, 2.0)
MOST_CLASSES = 50  # of a concept that a probe reads
PROBED = 2000  # latents on either side of a probe, at most
GAIN = 0.01  # by which a larger size must be better


@dataclasses.dataclass(frozen=True)
class SizeChoice:
    """How a concept got its size.

    Attributes:
      rank: of its directions above chance.
      multiple: 1, 1.5 or 2.
      size: the result.
      separation: multiple -> how much better the concept is read from its own factor
        than from all others, on held-out images.
    """

    rank: int
    multiple: float
    size: int
    separation: dict[float, float]


def choose_sizes(
    view: LinearView,
    ranks: Mapping[str, int],
    z: np.ndarray,
    pairs: Mapping[str, PairForm],
    seed: int = 0,
) -> dict[str, SizeChoice]:
    """Takes each concept's multiple of its rank, one after the other.

    A multiple takes at most half of what the residual has left: a concept that took all
    of it would be swapped perfectly, with everything else.

    Separation: of concepts with up to 50 classes, the accuracy of a kernel probe on the
    concept's own factor of T_0 less that of one on all others; of any other concept,
    the share of its pairs' similarity that its own factor has.

    Args:
      view: training latents.
      ranks: concept -> rank.
      z: (n, N), held-out latents.
      pairs: concept -> its pairs among the held-out latents.
      seed: of the probes' latents.
    """
    dim = z.shape[1]
    first = fitting(np.array(list(ranks.values()), float), dim)
    sizes = dict(zip(ranks, first.tolist(), strict=True))
    result = {}
    for name, rank in ranks.items():
        measured: dict[float, float] = {}
        best, size = 1.0, sizes[name]
        for multiple in MULTIPLES:
            free = dim - sum(sizes.values())
            tried = min(round(multiple * rank), sizes[name] + free // 2)
            if rank == 0 or (multiple > 1.0 and tried <= size):
                continue
            trial = {**sizes, name: tried}
            value = _separation(view, trial, name, z, pairs[name], seed)
            measured[multiple] = value
            if multiple > 1.0 and value > measured[best] + GAIN:
                best, size = multiple, tried
        sizes[name] = size
        result[name] = SizeChoice(rank, best, size, measured)
    return result


def _separation(
    view: LinearView,
    sizes: Mapping[str, int],
    name: str,
    z: np.ndarray,
    pairs: PairForm,
    seed: int,
) -> float:
    start = view.trial(sizes)
    before = 0
    for other, size in sizes.items():
        if other == name:
            break
        before += size
    own = np.zeros(z.shape[1], bool)
    own[before : before + sizes[name]] = True
    test = start_product(start.constants, z)
    mine = view.pairs[name]
    if isinstance(mine, ClassPairs) and isinstance(pairs, ClassPairs):
        classes = np.unique(mine.codes[mine.codes != MISSING])
        if 2 <= len(classes) <= MOST_CLASSES:
            train = start_product(start.constants, view.z)
            rng = np.random.default_rng([seed, 0x512E])
            rows = _known(mine.codes, rng)
            held = _known(pairs.codes, rng)
            reads = [
                _accuracy(
                    train[rows][:, part],
                    mine.codes[rows],
                    test[held][:, part],
                    pairs.codes[held],
                )
                for part in (own, ~own)
            ]
            return reads[0] - reads[1]
    similar = np.maximum(pairs.form().diagonal(test), 0.0)
    return float(similar[own].sum() / max(similar.sum(), 1e-12))


def _known(codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    known = np.flatnonzero(codes != MISSING)
    return rng.permutation(known)[:PROBED]


def _accuracy(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test) -> float:
    if not len(x_test):
        return 0.0
    if not x.shape[1] or len(np.unique(y)) < 2:  # nothing to read from: the commonest
        values, counts = np.unique(y, return_counts=True)
        return float((y_test == values[counts.argmax()]).mean())
    probe = make_pipeline(StandardScaler(), SVC(C=10.0)).fit(x, y)
    return float((probe.predict(x_test) == y_test).mean())
