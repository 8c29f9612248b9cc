"""Where pairs come from: what every source of a concept promises."""

import abc
import dataclasses
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from iin_jax.concepts.hold_out import hold_out_entries
from iin_jax.concepts.masked_pairs import masked_pairs
from iin_jax.concepts.pair_forms import PairForm
from iin_jax.types import Array, Indices, Key, Shared

FORM_PAIRS = 20_000  # pairs drawn for a linear start by the default ``forms``


class Pairing(NamedTuple):
    """A batch of pairs of entries.

    Attributes:
      index_a, index_b: (B,), the two halves.
      shared: bool (B, K+1), which factors a pair shares: the concepts in order, then
        the residual.
      sigma: (B, K+1), how similar a pair is at most in each factor; None: as similar as
        the training says.
      labels_a, labels_b: int (B, K), codes of the values, -1 where missing; None: there
        are none.
    """

    index_a: Indices
    index_b: Indices
    shared: Shared
    sigma: Array | None = None
    labels_a: Array | None = None
    labels_b: Array | None = None


class PairDraw(Protocol):
    """Draws pairs in a training step; a pytree, whose arrays go to every device."""

    def draw(self, key: Key, examples: Array) -> Pairing:
        """Pairs for some examples of the global batch; pure and jittable.

        Args:
          key: of the batch; example ``i`` uses ``fold_in(key, i)`` alone, so a batch
            does not depend on how devices divide it.
          examples: (B,), indices in the global batch.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Pairs of entries, on the host.

    Attributes:
      a, b: (count,), indices of the two halves, never equal.
      shared: bool (count, K+1): concepts in the source's order, then the residual.
      concept: (count,), index of the concept that the pair was drawn to agree in; -1
        where it was drawn to differ in one concept alone.
      names: the concepts, in order.
    """

    a: np.ndarray
    b: np.ndarray
    shared: np.ndarray
    concept: np.ndarray
    names: tuple[str, ...]


class PairSource(abc.ABC):
    """Which entries of a set form pairs, and what these share.

    Everything that needs pairs asks here: training, sizes, the linear start, what is
    held out, and the scorecard. ``LabelPairs`` and ``ExplicitPairs`` are sources.

    Attributes:
      names: the concepts, in the order of the pairs' masks.
      image: int (n,), which image each entry is of, 0 .. images - 1.
    """

    names: tuple[str, ...]
    image: np.ndarray

    @abc.abstractmethod
    def draws(self) -> PairDraw:
        """What a training draws from.

        Raises:
          ValueError: a concept of which no two entries form a pair.
        """

    @abc.abstractmethod
    def scored(self, count: int, seed: int) -> Pairs:
        """Pairs for estimates: each agrees in one concept, random in all others."""

    @abc.abstractmethod
    def among(self, entries: np.ndarray) -> "PairSource":
        """The same source among some entries, (m,), which are then 0 .. m - 1."""

    def forms(self, seed: int) -> dict[str, PairForm]:
        """Concept -> its pairs, for the linear start; here from drawn pairs."""
        drawn = self.draws().draw(jax.random.key(seed), jnp.arange(FORM_PAIRS))
        first, second, shared = (np.asarray(x) for x in drawn[:3])
        sigma = np.ones(shared.shape) if drawn.sigma is None else drawn.sigma
        halves = (first, second)
        return masked_pairs(halves, shared, self.names, self.image, np.asarray(sigma))

    def held_out(self, share: float, seed: int) -> np.ndarray:
        """Which entries are held out, bool (n,): all of some images.

        Raises:
          ValueError: a share outside [0, 1).
        """
        return hold_out_entries(self.image, share, seed)


def uniform_indices(entries: int, key: Key, examples: Array) -> Array:
    """One of 0 .. entries - 1 for every example, all equally likely, (B,)."""

    def index(example):
        return jax.random.bits(jax.random.fold_in(key, example)) % entries

    return jax.vmap(index)(examples)
