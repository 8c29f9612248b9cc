"""Pairs of maps as pairs of their positions: each with the same one of the other."""

import dataclasses

import numpy as np

from iin_jax.concepts.pair_forms import Form, PairForm


@dataclasses.dataclass(frozen=True, eq=False)
class PositionPairs(PairForm):
    """What pairs of maps have in common, as a mean over p positions of each.

    Latents (n p, N) are entries: all positions of the first map, then of the next. Maps
    are resampled and dealt anew as a whole, since their positions depend.

    Attributes:
      maps: pairs of the maps.
      positions: p.
    """

    maps: PairForm
    positions: int

    @property
    def image(self) -> np.ndarray:
        """Which image each entry is of, (n p,)."""
        return np.repeat(self.maps.image, self.positions)

    @property
    def differs(self) -> bool:
        return self.maps.differs

    def form(self) -> Form:
        return self._spread(self.maps.form())

    def resampled(self, rng: np.random.Generator) -> Form:
        return self._spread(self.maps.resampled(rng))

    def null(self, rng: np.random.Generator) -> Form:
        return self._spread(self.maps.null(rng))

    def subset(self, rows: np.ndarray) -> "PositionPairs":
        """The pairs among the entries of some maps, all of each, given as rows."""
        return PositionPairs(self.maps.subset(self._maps_of(rows)), self.positions)

    def sampled_rows(self, count: int, seed: int) -> np.ndarray:
        maps = self.maps.sampled_rows(max(1, count // self.positions), seed)
        return self._entries_of(maps)

    def _spread(self, form: Form) -> Form:
        """The same form at every position, in the mean over them."""
        apply = form.apply

        def at_every_position(w: np.ndarray) -> np.ndarray:
            by_map = w.reshape(len(w) // self.positions, -1)
            return apply(by_map).reshape(w.shape) / self.positions

        rows = None if form.rows is None else self._entries_of(form.rows)
        return Form(at_every_position, rows)

    def _entries_of(self, maps: np.ndarray) -> np.ndarray:
        places = np.arange(self.positions)
        return (np.asarray(maps)[:, None] * self.positions + places).ravel()

    def _maps_of(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(rows)[:: self.positions] // self.positions


def whole(form: PairForm) -> tuple[PairForm, int]:
    """Pairs of whole latents, and how many consecutive entries make one."""
    if isinstance(form, PositionPairs):
        return form.maps, form.positions
    return form, 1
