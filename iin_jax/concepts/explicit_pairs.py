"""Pairs that are given one by one."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from iin_jax.concepts.base import Pairing, Pairs, PairSource, uniform_indices
from iin_jax.concepts.hold_out import held_out_images, hold_out_entries
from iin_jax.concepts.masked_pairs import masked_pairs
from iin_jax.concepts.pair_forms import PairForm
from iin_jax.types import Array, Key

FREE = 0.5  # share of a batch that are any two entries, where pairs are of a part
CHANCES = 2**20  # steps of the share


class GivenDraw(NamedTuple):
    """Draws from given pairs, all equally likely, with replacement.

    Attributes:
      index_a, index_b, shared, sigma: fields of ``concepts.Pairing``, for all pairs.
      image: (n,), which image each entry is of; None: given pairs alone are drawn.
      free: share of the examples that are two entries of other images instead, which
        share nothing, so that the likelihood of all latents counts too.
    """

    index_a: Array
    index_b: Array
    shared: Array
    sigma: Array | None
    image: Array | None = None
    free: Array | float = 0.0

    def draw(self, key: Key, examples: Array) -> Pairing:
        """Pairs for some examples of the global batch."""
        row = uniform_indices(len(self.index_a), key, examples)
        sigma = None if self.sigma is None else self.sigma[row]
        drawn = Pairing(self.index_a[row], self.index_b[row], self.shared[row], sigma)
        if self.image is None:
            return drawn
        entries, keys = len(self.image), jax.random.split(key, 4)[1:]
        first, second = (uniform_indices(entries, k, examples) for k in keys[:2])
        chance = uniform_indices(CHANCES, keys[2], examples) / CHANCES
        free = (chance < self.free) & (self.image[first] != self.image[second])
        return drawn._replace(
            index_a=jnp.where(free, first, drawn.index_a),
            index_b=jnp.where(free, second, drawn.index_b),
            shared=drawn.shared & ~free[:, None],
        )


@dataclasses.dataclass(frozen=True, eq=False)
class ExplicitPairs(PairSource):
    """Given pairs of entries, with masks of what each shares.

    Attributes:
      names: the K concepts.
      a, b: int (p,), the entries of the two halves, 0 .. n - 1.
      shared: bool (p, K+1), the residual's column last; or (p, K): pairs never share
        the residual.
      image: int (n,), which image each entry is of; None: each one of its own.
      sigma: (p, K+1), how similar each pair is at most, where pairs are graded.
      free: share of a batch that are any two entries, which share nothing, in place of
        given pairs; None: none, where every entry is in a pair, else ``FREE``.

    Raises:
      ValueError: no pair, shapes that disagree, entries out of range, or a pair of an
        entry with itself.
    """

    names: tuple[str, ...]
    a: np.ndarray
    b: np.ndarray
    shared: np.ndarray
    image: np.ndarray
    sigma: np.ndarray | None = None
    free: float | None = None

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        a: np.ndarray,
        b: np.ndarray,
        shared: np.ndarray,
        entries: int,
        *,
        image: np.ndarray | None = None,
        sigma: np.ndarray | None = None,
        free: float | None = None,
    ) -> "ExplicitPairs":
        """Checks and completes pairs of ``entries`` entries; see the class."""
        a, b, shared = (np.asarray(x) for x in (a, b, shared))
        names = tuple(names)
        if shared.shape == (len(a), len(names)):
            shared = np.pad(shared, ((0, 0), (0, 1)))
        if a.ndim != 1 or a.shape != b.shape or a.dtype.kind not in "iu" or not a.size:
            raise ValueError(
                f"a and b are the entries of p >= 1 pairs, integers of shape (p,); got "
                f"{a.dtype} {a.shape} and {b.dtype} {b.shape}"
            )
        if shared.dtype != bool or shared.shape != (len(a), len(names) + 1):
            raise ValueError(
                f"shared must be bool of shape {(len(a), len(names))}, one column per "
                f"concept, or with the residual's too; got {shared.dtype} of shape "
                f"{shared.shape}"
            )
        if min(a.min(), b.min()) < 0 or max(a.max(), b.max()) >= entries:
            raise ValueError(f"pairs are of entries 0 to {entries - 1}")
        if (a == b).any():
            raise ValueError(f"pair {int((a == b).argmax())} is of one entry twice")
        if sigma is not None and np.shape(sigma) != shared.shape:
            raise ValueError(
                f"sigma has one value per pair and factor {shared.shape}; got "
                f"{np.shape(sigma)}"
            )
        images = np.arange(entries) if image is None else np.asarray(image)
        if images.shape != (entries,):
            raise ValueError(f"image has shape {images.shape} for {entries} entries")
        if free is not None and not 0.0 <= free < 1.0:
            raise ValueError(f"free is a share of a batch in [0, 1); got {free}")
        images = np.unique(images, return_inverse=True)[1].reshape(-1)
        return cls(names, a, b, shared, images, sigma, free)

    @property
    def free_share(self) -> float:
        """Share of a batch that are any two entries."""
        if self.free is not None:
            return self.free
        paired = len(np.unique(np.concatenate([self.a, self.b])))
        return FREE if paired < len(self.image) else 0.0

    def draws(self) -> GivenDraw:
        if not len(self.a):
            raise ValueError("there is no pair")
        sigma = None if self.sigma is None else jnp.asarray(self.sigma, jnp.float32)
        a, b = jnp.asarray(self.a, jnp.int32), jnp.asarray(self.b, jnp.int32)
        drawn = GivenDraw(a, b, jnp.asarray(self.shared), sigma)
        if not self.free_share:
            return drawn
        image = jnp.asarray(self.image, jnp.int32)
        return drawn._replace(image=image, free=jnp.float32(self.free_share))

    def scored(self, count: int, seed: int) -> Pairs:
        """Pairs drawn with replacement, each for one of the concepts that it shares.

        Raises:
          ValueError: no pair shares a concept.
        """
        rng = np.random.default_rng([seed, 0xE1])
        row, concept = np.nonzero(self.shared[:, :-1])
        if not len(row):
            raise ValueError("no pair shares a concept, so there is nothing to score")
        weight = 1 / np.bincount(concept, minlength=len(self.names))[concept]
        chosen = rng.choice(len(row), count, p=weight / weight.sum())
        row, concept = row[chosen], concept[chosen]
        halves = self.a[row], self.b[row]
        return Pairs(*halves, self.shared[row], concept, self.names)

    def among(self, entries: np.ndarray) -> "ExplicitPairs":
        """The pairs of which both halves are among some entries."""
        place = np.full(len(self.image), -1)
        place[entries] = np.arange(len(entries))
        a, b = place[self.a], place[self.b]
        kept = (a >= 0) & (b >= 0)
        return ExplicitPairs(
            self.names,
            a[kept],
            b[kept],
            self.shared[kept],
            np.unique(self.image[entries], return_inverse=True)[1].reshape(-1),
            None if self.sigma is None else self.sigma[kept],
            self.free_share,
        )

    def forms(self, seed: int) -> dict[str, PairForm]:
        """Concept -> its pairs; all of them, so the seed counts for nothing."""
        del seed
        sigma = np.ones(self.shared.shape) if self.sigma is None else self.sigma
        halves = (self.a, self.b)
        return masked_pairs(halves, self.shared, self.names, self.image, sigma)

    def held_out(self, share: float, seed: int) -> np.ndarray:
        """Whole groups of connected pairs where there are several, else images.

        And the same share of the images that no pair is of.
        """
        images = int(self.image.max()) + 1
        a, b = self.image[self.a], self.image[self.b]
        held = held_out_images(a, b, images, share, seed)
        alone = np.setdiff1d(np.arange(images), np.concatenate([a, b]))
        if len(alone):
            rows = hold_out_entries(np.arange(len(alone)), share, seed)
            held[alone[rows]] = True
        return held[self.image]
