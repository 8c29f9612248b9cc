"""T_0 in closed form: whitened latents, turned until each factor is in its place."""

import dataclasses
import functools
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from iin_jax.concepts.alignment import aligned, bounded_similarity, overlaps
from iin_jax.concepts.few_pairs import FewPairs, are_few, few_pairs
from iin_jax.concepts.pair_forms import PairForm
from iin_jax.concepts.reliability import reliability, weighted_directions
from iin_jax.concepts.shared_directions import (
    SharedDirections,
    shared_directions,
)
from iin_jax.concepts.whitening import Whitening, fit_whitening
from iin_jax.types import Latents, Tree

COUNTED_LATENTS = 8192  # most latents whose directions are counted by resampling


@dataclasses.dataclass(frozen=True)
class Start:
    """A linear start and the similarities of pairs that follow from it.

    Attributes:
      constants: of ``flows.LinearStart``, factors in the layout's order.
      sigma: concept -> similarity of its pairs in its own directions.
    """

    constants: Tree
    sigma: dict[str, float]

    def among_right(self, wrong: float) -> "Start":
        """The same with the similarities of right pairs.

        Wrong pairs share nothing, so they lower every correlation by their share and
        turn no direction.

        Args:
          wrong: share of wrong pairs, in [0, 1).
        """
        similar = {
            name: bounded_similarity(value / (1.0 - wrong)) if wrong else value
            for name, value in self.sigma.items()
        }
        return dataclasses.replace(self, sigma=similar)


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
        """``start`` without warnings, for sizes on trial."""
        directions = self._directions(max(sizes.values(), default=0))
        whitening = self.whitening
        last = whitening.axes[:, whitening.never_vary]
        turn, sigma = aligned(directions, sizes, self.w.shape[1], last)
        sigma = self._correlations(turn, sigma, sizes)
        if not sigma:  # no concept: principal axes, widest first
            order = np.lexsort([-whitening.variances, whitening.never_vary])
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

    def _correlations(
        self, turn: np.ndarray, sigma: dict[str, float], sizes: Mapping[str, int]
    ) -> dict[str, float]:
        """Similarities of all pairs, where directions come from weighted components."""
        bounds, result = np.cumsum([0, *sizes.values()]), dict(sigma)
        for index, name in enumerate(sizes):
            if name in sigma and are_few(self.pairs[name], self.w.shape[1]):
                held_out = self._few(name, max(sizes.values())).held_out
                mean = float(held_out[: sizes[name]].mean())
                result[name] = bounded_similarity(mean)
            elif name in sigma and (self._reliability(name) < 1.0).any():
                columns = turn[:, bounds[index] : bounds[index + 1]]
                values = self.pairs[name].form().diagonal(self.w @ columns)
                result[name] = bounded_similarity(float(values.mean()))
        return result

    def _directions(self, least: int) -> dict[str, SharedDirections]:
        """Concept -> its leading directions, computed once."""
        for name, form in self.pairs.items():
            if are_few(form, self.w.shape[1]):
                self._directions_by_name[name] = self._of_few(name, least)
                continue
            known = self._directions_by_name.get(name)
            if known is None or len(known.values) < min(least, self.w.shape[1]):
                weights = self._reliability(name)
                self._directions_by_name[name] = _uncounted(
                    self.w, weights, form, least
                )
        return self._directions_by_name

    def _of_few(self, name: str, size: int) -> SharedDirections:
        """Directions of a concept with few pairs, for a factor of some size."""
        found = self._few(name, size)
        rest = np.linalg.qr(found.vectors, mode="complete")[0]
        rest = rest[:, found.vectors.shape[1] :]
        values = np.concatenate([found.values, np.zeros(rest.shape[1])])
        return _without_counts(values, np.hstack([found.vectors, rest]))

    def _few(self, name: str, size: int | None) -> FewPairs:
        """What few pairs of a concept share, computed once for every size."""
        if (name, size) not in self._few_by_size:
            pairs: Any = self.pairs[name]
            result = few_pairs(self.whitening, self.z, self.w, pairs, size)
            self._few_by_size[name, size] = result
        return self._few_by_size[name, size]

    @functools.cached_property
    def _few_by_size(self) -> dict[tuple[str, int | None], FewPairs]:
        return {}

    def _reliability(self, name: str) -> np.ndarray:
        """Weights of the components for a concept's directions, computed once."""
        if name not in self._reliabilities:
            self._reliabilities[name] = reliability(self.w, self.pairs[name])
        return self._reliabilities[name]

    @functools.cached_property
    def _reliabilities(self) -> dict[str, np.ndarray]:
        return {}

    @functools.cached_property
    def _directions_by_name(self) -> dict[str, SharedDirections]:
        return {}

    def counted(self, seed: int) -> dict[str, SharedDirections]:
        """Concept -> directions above chance, on 8,192 latents at most."""
        result = {}
        for name, form in self.pairs.items():
            if are_few(form, self.w.shape[1]):
                result[name] = self._counted_few(name, seed)
                continue
            rows = form.sampled_rows(COUNTED_LATENTS, seed)
            result[name] = shared_directions(self.w[rows], form.subset(rows), seed)
        return result

    def _counted_few(self, name: str, seed: int) -> SharedDirections:
        """Directions above chance within the components that cross-validation chose."""
        found = self._few(name, None)
        pairs: Any = self.pairs[name]
        rows = pairs.sampled_rows(COUNTED_LATENTS, seed)
        corrected = dataclasses.replace(pairs.subset(rows), control=found.control)
        counted = shared_directions(self.w[rows] @ found.basis, corrected, seed)
        return dataclasses.replace(counted, vectors=found.basis @ counted.vectors)


def _uncounted(
    w: np.ndarray, weights: np.ndarray, pairs: PairForm, least: int
) -> SharedDirections:
    """Directions without any resampling, ``least`` of them at least."""
    return _without_counts(*weighted_directions(w, weights, pairs.form(), least))


def _without_counts(values: np.ndarray, vectors: np.ndarray) -> SharedDirections:
    nothing = (float("nan"), float("nan"))
    return SharedDirections(
        values, vectors, float("nan"), 0, nothing, 0.0, nothing, nothing, nothing
    )
