"""Sizes between a linear rank and twice it, chosen on held-out images.

The rank counts linear directions, which is a lower bound for a concept on a curved set:
ten digits lie on more than nine directions.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from iin_jax.concepts.closed_form import LinearView
from iin_jax.concepts.pair_forms import PairForm
from iin_jax.concepts.position_pairs import whole
from iin_jax.concepts.probes import common_classes, fitted_probe, known_rows
from iin_jax.concepts.sizes import fitting
from iin_jax.flows.linear_start import start_product

MULTIPLES = (1.0, 1.5, 2.0)
GAIN = 0.01  # least gain in separation of a larger size
ERRORS = 2.0  # least gain in standard errors, where no probe reads the concept


@dataclasses.dataclass(frozen=True)
class SizeChoice:
    """How a concept got its size.

    Attributes:
      rank: number of its directions above chance.
      multiple: 1, 1.5 or 2.
      size: the result.
      separation: multiple -> how much better the concept is read from its own factor
        than from all others, on held-out images; a mean over latents.
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

    Separation is, for concepts with up to 50 classes that training and held-out images
    have in common, the accuracy of a kernel probe on the concept's own factor of T_0
    less that of one on all others; for any other, the share of its pairs' similarity
    that its own factor has, less that of all others. A larger size has to be better by
    0.01; where no probe reads the concept, by two standard errors too. (A probe with
    that bar had no power with 100 held-out images: of 700 pictures of MNIST the digit
    kept 9 dimensions, and lost 7.5 points to the linear edit.)

    Args:
      view: training latents.
      ranks: concept -> rank.
      z: (n, N), held-out latents.
      pairs: concept -> its pairs among the held-out latents.
      seed: of the probes' latents.
    """
    dim = view.whitening.rank  # there is no room in what never varies
    first = fitting(np.array(list(ranks.values()), float), dim)
    sizes = dict(zip(ranks, first.tolist(), strict=True))
    result = {}
    for name, rank in ranks.items():
        measured: dict[float, np.ndarray] = {}
        best, size, image = 1.0, sizes[name], pairs[name].image
        probed = common_classes(view.pairs[name], pairs[name]) is not None
        errors = 0.0 if probed else ERRORS
        for multiple in MULTIPLES:
            free = dim - sum(sizes.values())
            tried = min(round(multiple * rank), sizes[name] + free // 2)
            if rank == 0 or (multiple > 1.0 and tried <= size):
                continue
            trial = {**sizes, name: tried}
            margin = _separation(view, trial, name, z, pairs[name], seed)
            measured[multiple] = margin
            if multiple > 1.0 and _is_better(margin - measured[best], image, errors):
                best, size = multiple, tried
        sizes[name] = size
        means = {m: float(np.nanmean(margin)) for m, margin in measured.items()}
        result[name] = SizeChoice(rank, best, size, means)
    return result


def _is_better(gain: np.ndarray, image: np.ndarray, errors: float) -> bool:
    """Whether a gain (n,), NaN where it was not measured, is enough.

    Latents of one image depend, so images are what the standard error stands on.
    """
    known = ~np.isnan(gain)
    mean = gain[known].mean()
    deviations = np.bincount(image[known], gain[known] - mean)
    error = np.sqrt(np.square(deviations).sum()) / known.sum()
    return bool(mean > GAIN and mean > errors * error)


def _separation(
    view: LinearView,
    sizes: Mapping[str, int],
    name: str,
    z: np.ndarray,
    pairs: PairForm,
    seed: int,
) -> np.ndarray:
    """How well a concept is separated at each held-out latent, (n,); NaN: not known."""
    start = view.trial(sizes)
    offset = 0
    for other, size in sizes.items():
        if other == name:
            break
        offset += size
    in_factor = np.zeros(z.shape[1], bool)
    in_factor[offset : offset + sizes[name]] = True
    test = start_product(start.constants, z)
    classes = common_classes(view.pairs[name], pairs)
    if classes is not None:
        trained, positions = start_product(start.constants, view.z), whole(pairs)[1]
        parts = [
            (_joined(trained[:, part], positions), _joined(test[:, part], positions))
            for part in (in_factor, ~in_factor)
        ]
        return np.repeat(_probed(parts, classes, seed), positions)
    similar = pairs.form().contributions(test)
    total = max(np.abs(similar.sum(axis=0)).sum(), 1e-12)
    inside = similar[:, in_factor].sum(axis=1)
    return len(z) * (inside - similar[:, ~in_factor].sum(axis=1)) / total


def _probed(
    parts: list[tuple[np.ndarray, np.ndarray]],
    classes: tuple[np.ndarray, np.ndarray],
    seed: int,
) -> np.ndarray:
    """Where a probe of the first part is right, less where one of the second is, (n,).

    Args:
      parts: training and test values of each part.
      classes: codes of both sides.
      seed: of the probes' latents.
    """
    codes, test_codes = classes
    rng = np.random.default_rng([seed, 0x512E])
    rows, test_rows = known_rows(codes, rng), known_rows(test_codes, rng)
    first, second = (
        _right(train[rows], codes[rows], test[test_rows], test_codes[test_rows])
        for train, test in parts
    )
    difference = np.full(len(test_codes), np.nan)
    difference[test_rows] = first - second
    return difference


def _joined(x: np.ndarray, positions: int) -> np.ndarray:
    """Entries (n p, d) of whole latents, all positions of one together, (n, p d)."""
    return x.reshape(len(x) // positions, -1)


def _right(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test) -> np.ndarray:
    """Where a probe reads held-out classes, 1 or 0 each."""
    if not x.shape[1] or len(np.unique(y)) < 2:  # nothing to read from: the commonest
        values, counts = np.unique(y, return_counts=True)
        return (y_test == values[counts.argmax()]).astype(float)
    return (fitted_probe(x, y).predict(x_test) == y_test).astype(float)
