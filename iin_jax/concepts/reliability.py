"""How far each component can be trusted when a concept's directions are sought."""

import numpy as np

from iin_jax.concepts.pair_forms import Form, PairForm
from iin_jax.concepts.shared_directions import DENSE_DIM, leading_directions

DAMPINGS = (1.0, 4.0, 16.0)  # candidates; the first unless another is clearly better
FOLDS = 5  # parts that cross-validation leaves out in turn
NULLS = 10  # permutations behind the noise of a component
JUDGED = 10  # leading directions whose held-out correlations are compared
MOST_LATENTS = 8192  # latents that cross-validation looks at, at most
MOST_OF_MANY_DIMENSIONS = 2048  # the same where N > 512
STANDARD_ERRORS = 2.0  # standard errors by which another damping has to be better
SEED = 0xD1A6


def reliability(w: np.ndarray, pairs: PairForm) -> np.ndarray:
    """Weights of the components of whitened latents, (N,) in [0, 1].

    Whitening gives every component the same say, also those in which the pairs have
    nothing in common but noise, and these tilt the directions of few images. A weight
    is ``x / (x + c s)`` for the correlation x of the pairs in a component (0 if it is
    negative) and its standard deviation s for pairs of other images, which vanishes
    with more images: a Wiener filter at the damping c of 1. A higher one is taken where
    it gives the leading directions a correlation on held-out images that is higher by
    more than two standard errors; few images cannot tell.

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
    damping = _damping(_captured(w[rows], pairs.subset(rows)))
    return _weights(correlation, noise, damping)


def _damping(captured: np.ndarray | None) -> float:
    """The best damping for held-out correlations, (dampings, folds), if it is clear."""
    if captured is None:
        return DAMPINGS[0]
    gains = captured - captured[:1]
    errors = gains.std(axis=1) / np.sqrt(gains.shape[1])
    better = gains.mean(axis=1) > STANDARD_ERRORS * errors
    return DAMPINGS[int(np.where(better, gains.mean(axis=1), 0.0).argmax())]


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
    positive = np.maximum(correlation, 0.0)
    return positive / np.maximum(positive + damping * noise, 1e-300)


def _captured(w: np.ndarray, pairs: PairForm) -> np.ndarray | None:
    """Held-out correlation in the leading directions, (dampings, folds).

    None where some fold has no pairs.
    """
    images = int(pairs.image.max()) + 1
    if images < 2 * FOLDS:
        return None
    fold = np.random.default_rng(SEED).permutation(images)[pairs.image] % FOLDS
    result = np.zeros((len(DAMPINGS), FOLDS))
    for index in range(FOLDS):
        seen, unseen = np.flatnonzero(fold != index), np.flatnonzero(fold == index)
        train, test = pairs.subset(seen), pairs.subset(unseen)
        form = test.form()
        if not np.any(form.diagonal(w[unseen])):
            return None
        correlation, noise = _correlations(w[seen], train)
        for row, damping in enumerate(DAMPINGS):
            weights = _weights(correlation, noise, damping)
            _, vectors = weighted_directions(w[seen], weights, train.form(), JUDGED)
            projected = w[unseen] @ vectors[:, : min(JUDGED, max(1, w.shape[1] // 2))]
            result[row, index] = form.diagonal(projected).sum()
    return result
