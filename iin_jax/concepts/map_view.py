"""A linear start for feature maps: one linear map of the channels for all positions."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from iin_jax.concepts.closed_form import LinearView, Start
from iin_jax.concepts.pair_forms import PairForm
from iin_jax.concepts.position_pairs import PositionPairs
from iin_jax.concepts.shared_directions import SharedDirections
from iin_jax.concepts.whitening import Whitening
from iin_jax.flows.map_start import channel_order
from iin_jax.types import Latents

MOST_POSITIONS = 16  # most positions of a map that a linear start is computed from


@dataclasses.dataclass(frozen=True, eq=False)
class MapWhitening:
    """A Gaussian of maps: a mean at each position, one covariance of the channels.

    Attributes:
      mean: (P, C).
      channels: of a position, less its mean.
    """

    mean: np.ndarray
    channels: Whitening

    def bits_per_dim(self, z: Latents) -> float:
        """What maps (n, P C) cost under the Gaussian, positions independent."""
        by_position = np.asarray(z, np.float64).reshape(-1, *self.mean.shape)
        centred = (by_position - self.mean).reshape(-1, self.mean.shape[1])
        return self.channels.bits_per_dim(centred)


@dataclasses.dataclass(frozen=True, eq=False)
class MapView:
    """Training maps and their pairs as a linear method sees them.

    Where a ``LinearView`` has latents, here are entries: channels at a position of an
    image, less the mean of that position. Pairs are of equal positions.

    Attributes:
      mean: (P, C), of every position.
      chosen: positions of the entries, (p,), sorted: all, or 16 at random.
      channels: the entries, n p of them.
    """

    mean: np.ndarray
    chosen: np.ndarray
    channels: LinearView

    @classmethod
    def of(
        cls,
        z: Latents,
        pairs: Mapping[str, PairForm],
        image: np.ndarray,
        spread: Latents | None,
        positions: int,
        seed: int,
    ) -> "MapView":
        """Whitens the channels of maps.

        Args:
          z: (n, P C), channels innermost.
          pairs: concept -> its pairs among the maps.
          image: (n,), which image each map is of, 0 .. images - 1.
          spread: (n, P C), variance of each posterior; None: they have none.
          positions: P.
          seed: of the choice of positions.
        """
        mean = np.asarray(z, np.float64).mean(axis=0).reshape(positions, -1)
        rng = np.random.default_rng([seed, 0x9A5])
        chosen = np.sort(rng.permutation(positions)[:MOST_POSITIONS])
        entries = _entries(z, mean, chosen)
        spreads = None if spread is None else _entries(spread, 0.0 * mean, chosen)
        images = np.repeat(image, len(chosen))
        by_position = _by_position(pairs, len(chosen))
        return cls(mean, chosen, LinearView.of(entries, by_position, images, spreads))

    @property
    def whitening(self) -> MapWhitening:
        """The Gaussian of maps that this view has."""
        return MapWhitening(self.mean, self.channels.whitening)

    def start(self, sizes: Mapping[str, int]) -> Start:
        """T_0 for concepts of these sizes, multiples of P; see ``LinearView.start``."""
        positions, channels = self.mean.shape
        groups = {name: size // positions for name, size in sizes.items()}
        shared = self.channels.start(groups)
        constants = {
            "mean": self.mean,
            "shared": shared.constants,
            "order": channel_order(positions, channels),
        }
        return Start(constants, shared.sigma)

    def counted(self, seed: int) -> dict[str, SharedDirections]:
        """Concept -> directions of the channels above chance."""
        return self.channels.counted(seed)

    def others(
        self, z: Latents, pairs: Mapping[str, PairForm]
    ) -> tuple[np.ndarray, dict[str, PairForm]]:
        """Entries of other maps (n, P C) at the same positions, and their pairs."""
        return _entries(z, self.mean, self.chosen), _by_position(
            pairs, len(self.chosen)
        )


def _entries(z: Latents, mean: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Chosen positions of all maps, less their means, (n p, C)."""
    by_position = np.asarray(z).reshape(-1, *mean.shape)[:, chosen]
    return (by_position - mean[chosen]).reshape(-1, mean.shape[1])


def _by_position(pairs: Mapping[str, PairForm], positions: int) -> dict[str, PairForm]:
    return {name: PositionPairs(form, positions) for name, form in pairs.items()}
