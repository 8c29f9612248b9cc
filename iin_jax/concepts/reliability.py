"""How far each component can be trusted when a concept's directions are sought."""

import numpy as np

from iin_jax.concepts.pair_forms import Form, PairForm
from iin_jax.concepts.shared_directions import (
    DENSE_DIM,
    ROUNDING,
    largest_of,
    leading_directions,
)

DAMPINGS = (0.0, 0.25, 1.0, 4.0, 16.0)  # candidates; 0: all components alike
USUAL = 1.0  # damping where nothing can be held out: a Wiener filter
FOLDS = 5  # parts that cross-validation leaves out in turn
REPEATS = 3  # divisions into such parts; one where N > 512
NULLS = 10  # permutations behind the noise of a component
JUDGED = 10  # leading directions whose held-out correlations count
MOST_LATENTS = 8192  # latents that cross-validation looks at, at most
MOST_OF_MANY_DIMENSIONS = 2048  # the same where N > 512
SEED = 0xD1A6


def reliability(w: np.ndarray, pairs: PairForm) -> np.ndarray:
    """Weights of the components of whitened latents, (N,) in [0, 1].

    Whitening gives every component the same say, also those in which the pairs have
    nothing in common but noise, and these tilt the directions of few images. A weight
    is ``x / (x + c s)`` for the correlation x of the pairs in a component (0 if it is
    negative) and its standard deviation s for pairs of other images, which vanishes
    with more images. The damping c is 1, as of a Wiener filter, where too few images
    leave nothing to hold out; else what cross-validation over images finds best.

    Args:
      w: (n, N), whitened latents.
      pairs: of the concept; where they differ in it all weights are 1.
    """
    if pairs.differs:
        return np.ones(w.shape[1])
    correlation, noise = _correlations(w, pairs)
    if not (correlation > 0.0).any():
        return np.ones(w.shape[1])
    many = w.shape[1] > DENSE_DIM
    rows = pairs.sampled_rows(MOST_OF_MANY_DIMENSIONS if many else MOST_LATENTS, SEED)
    alignment = _alignments(w[rows], pairs.subset(rows))
    damping = USUAL if alignment is None else DAMPINGS[int(alignment.argmax())]
    return _weights(correlation, noise, damping)


def weighted_directions(
    w: np.ndarray, weights: np.ndarray, form: Form, least: int
) -> tuple[np.ndarray, np.ndarray]:
    """``leading_directions`` of weighted latents; those without a weight come last.

    Returns:
      Eigenvalues (d,), descending, and unit vectors (N, d) in whitened latents.
    """
    kept = np.flatnonzero(weights > 0)
    if not len(kept):
        return np.zeros(len(weights)), np.eye(len(weights))
    weighted = w[:, kept] * weights[kept]
    values, turned = leading_directions(weighted, form, min(least, len(kept)))
    dropped = np.flatnonzero(weights <= 0)
    vectors = np.zeros((len(weights), len(values) + len(dropped)))
    vectors[kept, : len(values)] = turned
    vectors[dropped, len(values) + np.arange(len(dropped))] = 1.0
    values = np.concatenate([values, np.zeros(len(dropped))])
    order = np.argsort(-values, kind="stable")
    return values[order], vectors[:, order]


def _correlations(w: np.ndarray, pairs: PairForm) -> tuple[np.ndarray, float]:
    """Correlation of the pairs in each component, and its spread by chance."""
    rng = np.random.default_rng(SEED)
    chance = [pairs.null(rng).diagonal(w) for _ in range(NULLS)]
    return pairs.form().diagonal(w), float(np.std(chance))


def _weights(correlation: np.ndarray, noise: float, damping: float) -> np.ndarray:
    if damping == 0.0:
        return np.ones(len(correlation))
    positive = np.maximum(correlation, 0.0)
    return positive / np.maximum(positive + damping * noise, 1e-300)


def _alignments(w: np.ndarray, pairs: PairForm) -> np.ndarray | None:
    """How well directions of seen images hold for others, one value per damping.

    The cosine between correlations of seen pairs in their leading directions and those
    of held-out pairs there, but for the latter's norm: strong directions count more,
    so that noise in the others does not decide. None where a part has no pairs.
    """
    images = int(pairs.image.max()) + 1
    if images < 2 * FOLDS:
        return None
    repeats = REPEATS if w.shape[1] <= DENSE_DIM else 1
    alignments = []
    for repeat in range(repeats):
        shuffled = np.random.default_rng([SEED, repeat]).permutation(images)
        fold = shuffled[pairs.image] % FOLDS
        for index in range(FOLDS):
            alignment = _aligned(w, pairs, fold == index)
            if alignment is None:
                return None
            alignments.append(alignment)
    return np.mean(alignments, axis=0)


def _aligned(w: np.ndarray, pairs: PairForm, held_out: np.ndarray) -> np.ndarray | None:
    """The alignment with one held-out part, (dampings,); None if it has no pairs."""
    seen, unseen = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    train, test = pairs.subset(seen), pairs.subset(unseen).form()
    if not np.any(test.diagonal(w[unseen])):
        return None
    correlation, noise = _correlations(w[seen], train)
    matrix, count = train.form().matrix(w[seen]), min(JUDGED, max(1, w.shape[1] // 2))
    result = np.zeros(len(DAMPINGS))
    for row, damping in enumerate(DAMPINGS):
        weights = _weights(correlation, noise, damping)
        values, vectors = largest_of(weights[:, None] * matrix * weights, count)
        ours = np.maximum((vectors * (matrix @ vectors)).sum(axis=0), 0.0)
        ours[values <= ROUNDING] = 0.0  # directions without weight may be any
        theirs = test.diagonal(w[unseen] @ vectors)
        result[row] = (ours * theirs).sum() / max(np.linalg.norm(ours), 1e-300)
    return result
