"""T_0 in closed form: whitened latents, turned until each factor is in its place."""

import dataclasses
import functools
import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from iin_jax.concepts.alignment import aligned, overlaps
from iin_jax.concepts.pair_forms import GivenPairs, PairForm
from iin_jax.concepts.shared_directions import (
    SharedDirections,
    leading_directions,
    shared_directions,
)
from iin_jax.concepts.whitening import Whitening, fit_whitening
from iin_jax.types import Latents, Tree

COUNTED_LATENTS = 8192  # most latents whose directions are counted by resampling
COLLINEAR = 1e-6  # least eigenvalue, over the largest, of masks that are told apart


@dataclasses.dataclass(frozen=True)
class Start:
    """A linear start and what it says of the pairs.

    Attributes:
      constants: of ``flows.LinearStart``, factors in the layout's order.
      sigma: concept -> similarity of its pairs in its own directions.
    """

    constants: Tree
    sigma: dict[str, float]


@dataclasses.dataclass(frozen=True, eq=False)
class LinearView:
    """Training latents and their pairs as a linear method sees them.

    Attributes:
      whitening: of the latents.
      z, w: (n, N), latents and whitened latents; means of posteriors.
      pairs: concept -> its pairs among the latents.
    """

    whitening: Whitening
    z: np.ndarray
    w: np.ndarray
    pairs: Mapping[str, PairForm]

    @classmethod
    def of(
        cls,
        z: Latents,
        pairs: Mapping[str, PairForm],
        image: np.ndarray,
        spread: Latents | None = None,
    ) -> "LinearView":
        """Whitens latents.

        Args:
          z: (n, N).
          pairs: concept -> its pairs among the latents.
          image: (n,), which image each latent is of, 0 .. images - 1.
          spread: (n, N), variance of each posterior; None: they have none.
        """
        whitening = fit_whitening(z, spread=spread, image=image)
        return cls(whitening, np.asarray(z), whitening(z), pairs)

    def start(self, sizes: Mapping[str, int]) -> Start:
        """T_0 for concepts of these sizes; the residual takes the rest.

        Warns where two concepts ask for the same directions.
        """
        directions = self._directions(max(sizes.values(), default=0))
        for line in overlaps(directions, sizes):
            warnings.warn(line, stacklevel=3)
        return self.trial(sizes)

    def trial(self, sizes: Mapping[str, int]) -> Start:
        """``start`` without a word, for sizes that are only tried."""
        directions = self._directions(max(sizes.values(), default=0))
        turn, sigma = aligned(directions, sizes, self.w.shape[1])
        whitening = self.whitening
        if not sigma:  # no concept: principal axes, widest first
            order = np.argsort(-whitening.variances)
            axes, variances = whitening.axes[:, order], whitening.variances[order]
            matrix = np.eye(self.w.shape[1])
        else:
            axes, variances = whitening.axes, whitening.variances
            matrix = axes.T @ turn
        constants = {
            "mean": whitening.mean,
            "scale": whitening.scale,
            "axes": axes,
            "variances": variances,
            "turn": matrix,
        }
        return Start(constants, sigma)

    def _directions(self, least: int) -> dict[str, SharedDirections]:
        """Concept -> its leading directions, computed once."""
        for name, form in self.pairs.items():
            known = self._found.get(name)
            if known is None or len(known.values) < min(least, self.w.shape[1]):
                self._found[name] = _uncounted(self.w, form, least)
        return self._found

    @functools.cached_property
    def _found(self) -> dict[str, SharedDirections]:
        return {}

    def counted(self, seed: int) -> dict[str, SharedDirections]:
        """Concept -> directions above chance, on 8,192 latents at most."""
        result = {}
        for name, form in self.pairs.items():
            rows = some_latents(form.image, COUNTED_LATENTS, seed)
            result[name] = shared_directions(self.w[rows], form.subset(rows), seed)
        return result


def mask_pairs(
    shared: np.ndarray, names: Sequence[str], image: np.ndarray, sigma: np.ndarray
) -> dict[str, PairForm]:
    """Pairs given as masks: latents are the first halves, then the second halves.

    Where pairs share several factors, what each contributes is fitted by least squares:
    ``E w_a w_b^T = sum_j shared_j sigma_j C_j``. A concept that no pair shares, and in
    which alone some pairs differ, is taken from their differences. Warns where the
    masks do not tell concepts apart.

    Args:
      shared: bool (p, K+1), the residual's column last.
      names: the K concepts.
      image: (2p,), which image each latent is of.
      sigma: (p, K+1), graded similarity where it counts, else 1.
    """
    count = len(shared)
    first, second = np.arange(count), count + np.arange(count)
    regressors = (shared * sigma).astype(np.float64)
    used = np.asarray(regressors.any(axis=0))
    gram = regressors.T @ regressors / count
    coefficients = regressors @ np.linalg.pinv(gram, rcond=COLLINEAR) / count
    _warn_of_collinear(gram, used, names)
    result: dict[str, PairForm] = {}
    for index, name in enumerate(names):
        others = np.delete(shared, index, axis=1).all(axis=1)
        alone = np.asarray(~shared[:, index] & others)
        if used[index]:
            values = coefficients[:, index]
            result[name] = GivenPairs(first, second, values, image)
        elif alone.any():
            values = alone / alone.sum()
            result[name] = GivenPairs(first, second, values, image, differs=True)
        else:
            warnings.warn(
                f"no pair shares {name!r} and none differs in it alone, so nothing "
                "says where it lies",
                stacklevel=3,
            )
            result[name] = GivenPairs(first, second, np.zeros(count), image)
    return result


def _warn_of_collinear(
    gram: np.ndarray, used: np.ndarray, names: Sequence[str]
) -> None:
    labels = [*names, "residual"]
    places = np.flatnonzero(used)
    values, vectors = np.linalg.eigh(gram[np.ix_(places, places)])
    for value, vector in zip(values, vectors.T, strict=True):
        if value <= COLLINEAR * values[-1]:
            alike = [labels[places[i]] for i in np.flatnonzero(np.abs(vector) > 0.1)]
            warnings.warn(
                f"the pairs' masks do not tell {alike} apart: they are shared by the "
                "same pairs",
                stacklevel=4,
            )


def _uncounted(w: np.ndarray, pairs: PairForm, least: int) -> SharedDirections:
    """Directions without any resampling, ``least`` of them at least."""
    values, vectors = leading_directions(w, pairs.form(), least)
    nothing = (float("nan"), float("nan"))
    return SharedDirections(
        values, vectors, float("nan"), 0, nothing, 0.0, nothing, nothing, nothing
    )


def some_latents(image: np.ndarray, count: int, seed: int) -> np.ndarray:
    """About ``count`` rows of as many images as can be, sorted.

    Where images have many latents each (distorted, painted) some of each are kept:
    what an estimate stands on is the number of images.
    """
    if len(image) <= count:
        return np.arange(len(image))
    order = np.random.default_rng([seed, 0x71E]).permutation(len(image))
    by_image = order[np.argsort(image[order], kind="stable")]
    sizes = np.bincount(image)
    place = np.arange(len(image)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    each = max(1, count // int((sizes > 0).sum()))
    kept = by_image[place < each]
    if len(kept) > count:  # more images than rows
        kept = np.random.default_rng([seed, 0x71F]).permutation(kept)[:count]
    return np.sort(kept)
