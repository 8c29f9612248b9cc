"""What pairs of a concept have in common, as a quadratic form of their latents.

The mean of ``w_a w_b^T`` over the pairs of a concept, made symmetric, is ``W^T A W``: A
says who is paired with whom, W has one latent per row. A is never written out; an
*apply* multiplies it with a matrix. Resampling changes A or the order of W's rows.
"""

import abc
import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy  # its subpackages are imported where they are first used

from iin_jax.data.values import MISSING

LEAST_GROUPS = 30  # fewest connected groups of pairs that are resampled whole
Apply = Callable[[np.ndarray], np.ndarray]  # (n, d) -> A times it, (n, d)


class Form(NamedTuple):
    """``W[rows]^T A W[rows]``; rows None: all in order."""

    apply: Apply
    rows: np.ndarray | None = None

    def matrix(self, w: np.ndarray) -> np.ndarray:
        """The form of latents (n, N), a symmetric matrix (N, N)."""
        w = w if self.rows is None else w[self.rows]
        product = w.T @ self.apply(w)
        return 0.5 * (product + product.T)

    def diagonal(self, w: np.ndarray) -> np.ndarray:
        """The form's diagonal alone, (N,)."""
        return self.contributions(w).sum(axis=0)

    def contributions(self, w: np.ndarray) -> np.ndarray:
        """What each latent adds to the diagonal, (n, N)."""
        w = w if self.rows is None else w[self.rows]
        return w * self.apply(w)


class PairForm(abc.ABC):
    """Pairs of one concept among latents.

    Attributes:
      image: (n,), which image each latent is of, 0 .. images - 1.
      differs: the pairs differ in the concept and share the rest; the form is then
        half the mean of ``(w_a - w_b)(w_a - w_b)^T``.
    """

    image: np.ndarray
    differs: bool = False

    @abc.abstractmethod
    def form(self) -> Form:
        """The form of all pairs."""

    @abc.abstractmethod
    def resampled(self, rng: np.random.Generator) -> Form:
        """The form with images drawn with replacement."""

    @abc.abstractmethod
    def null(self, rng: np.random.Generator) -> Form:
        """A form of the same pairs of other images, drawn at random."""

    @abc.abstractmethod
    def subset(self, rows: np.ndarray) -> "PairForm":
        """The pairs among some latents, given as sorted rows."""

    @abc.abstractmethod
    def sampled_rows(self, count: int, seed: int) -> np.ndarray:
        """About ``count`` rows at most, sorted, among which there are many pairs."""


@dataclasses.dataclass(frozen=True, eq=False)
class ClassPairs(PairForm):
    """All pairs of unlike images in one class, each first half equally likely.

    Attributes:
      codes: int (n,), the class of each latent; ``MISSING`` where it is not known.
      image: (n,), as in ``PairForm``.
    """

    codes: np.ndarray
    image: np.ndarray
    differs = False

    def form(self) -> Form:
        return Form(_class_apply(self.codes, self.image, np.ones(len(self.codes))))

    def resampled(self, rng: np.random.Generator) -> Form:
        weight = bootstrap_counts(int(self.image.max()) + 1, rng)[self.image]
        return Form(_class_apply(self.codes, self.image, weight))

    def null(self, rng: np.random.Generator) -> Form:
        weight = np.ones(len(self.codes))
        return Form(_class_apply(self._permuted(rng), self.image, weight))

    def subset(self, rows: np.ndarray) -> "ClassPairs":
        return ClassPairs(self.codes[rows], _renumbered(self.image[rows]))

    def sampled_rows(self, count: int, seed: int) -> np.ndarray:
        return some_latents(self.image, count, seed)

    def _permuted(self, rng: np.random.Generator) -> np.ndarray:
        """Classes dealt to other images: each gets those of one other image's latents.

        Only images are independent, so they are dealt whole, whether all latents of
        one are of a class (a digit) or each of another (the colour of each copy).
        """
        known = np.flatnonzero(self.codes != MISSING)
        shuffled = known[rng.permutation(len(known))]
        order = shuffled[np.argsort(self.image[shuffled], kind="stable")]
        images, start, count = np.unique(
            self.image[order], return_index=True, return_counts=True
        )
        donor = rng.permutation(len(images))
        image_place = np.repeat(np.arange(len(images)), count)
        place = (np.arange(len(order)) - start[image_place]) % count[donor[image_place]]
        codes = self.codes.copy()
        codes[order] = self.codes[order[start[donor[image_place]] + place]]
        return codes


@dataclasses.dataclass(frozen=True, eq=False)
class GivenPairs(PairForm):
    """Given pairs of latents, each with a coefficient.

    Attributes:
      first, second: (p,), rows of the latents of the two halves.
      coefficient: (p,), factor on each pair in the mean.
      image: (n,), as in ``PairForm``.
      differs: as in ``PairForm``.
      control: weight of what corrects products by the squares of both halves, which
        all latents know better (see ``few_pairs``); 0: none.
    """

    first: np.ndarray
    second: np.ndarray
    coefficient: np.ndarray
    image: np.ndarray
    differs: bool = False
    control: float = 0.0

    def form(self) -> Form:
        return Form(self._apply(self.coefficient))

    def resampled(self, rng: np.random.Generator) -> Form:
        weight = self.resampled_weights(rng)
        total = np.abs(self.coefficient).sum()
        resampled_total = max(np.abs(self.coefficient * weight).sum(), 1e-300)
        return Form(self._apply(self.coefficient * weight * (total / resampled_total)))

    def null(self, rng: np.random.Generator) -> Form:
        return Form(self._apply(self.coefficient), self.dealt(rng))

    def resampled_weights(self, rng: np.random.Generator) -> np.ndarray:
        """How often each pair counts when images are drawn with replacement, (p,).

        Pairs without a common image, even by way of others, are independent: then
        whole groups of connected pairs are drawn. Else a pair counts as often as its
        two images together.
        """
        first, second = self.image[self.first], self.image[self.second]
        group = self._groups
        if group is not None:
            return bootstrap_counts(int(group.max()) + 1, rng)[group]
        weight = bootstrap_counts(int(self.image.max()) + 1, rng)
        return weight[first] * weight[second]

    def dealt(self, rng: np.random.Generator) -> np.ndarray:
        """Rows of other images in place of each, (n,), drawn at random.

        Second halves are dealt anew; all, if images stand on both sides.
        """
        images = int(self.image.max()) + 1
        on_first = np.bincount(self.image[self.first], minlength=images) > 0
        on_second = np.bincount(self.image[self.second], minlength=images) > 0
        moved = on_second if not (on_first & on_second).any() else on_first | on_second
        other, places = np.arange(images), np.flatnonzero(moved)
        other[places] = rng.permutation(places)
        order = np.argsort(self.image, kind="stable")
        count = np.bincount(self.image, minlength=images)
        start = np.r_[0, np.cumsum(count)[:-1]]
        donor = other[self.image]
        draw = (rng.random(len(donor)) * count[donor]).astype(int)
        rows = order[start[donor] + draw]
        unmoved = donor == self.image
        rows[unmoved] = np.flatnonzero(unmoved)
        return rows

    @functools.cached_property
    def _groups(self) -> np.ndarray | None:
        """The connected group of each pair, (p,); None if there are not many."""
        first, second = self.image[self.first], self.image[self.second]
        group = connected(first, second, int(self.image.max()) + 1)[first]
        count = np.bincount(group)
        coarse = (count > 0).sum() < LEAST_GROUPS or count.max() > 0.1 * len(first)
        return None if coarse else np.unique(group, return_inverse=True)[1].reshape(-1)

    def subset(self, rows: np.ndarray) -> "GivenPairs":
        place = np.full(len(self.image), -1)
        place[rows] = np.arange(len(rows))
        a, b = place[self.first], place[self.second]
        kept = (a >= 0) & (b >= 0)
        rescaling = np.abs(self.coefficient).sum() / max(
            np.abs(self.coefficient[kept]).sum(), 1e-300
        )
        return GivenPairs(
            a[kept],
            b[kept],
            self.coefficient[kept] * rescaling,
            _renumbered(self.image[rows]),
            self.differs,
            self.control,
        )

    def sampled_rows(self, count: int, seed: int) -> np.ndarray:
        """Both halves of random pairs: rows drawn alone would leave few pairs."""
        ends = np.stack([self.first, self.second], axis=1)
        if len(np.unique(ends)) <= count:
            return np.arange(len(self.image))
        order = np.random.default_rng([seed, 0x71D]).permutation(len(ends))
        rows = ends[order].ravel()
        first_places = np.sort(np.unique(rows, return_index=True)[1])
        return np.sort(rows[first_places[:count]])

    def _apply(self, coefficient: np.ndarray) -> Apply:
        count = len(self.image)
        shape, a, b = (count, count), self.first, self.second
        if self.differs:
            ends = np.concatenate([a, b])
            half = 0.5 * np.concatenate([coefficient, coefficient])
            diagonal = scipy.sparse.csr_matrix((half, (ends, ends)), shape)
            cross = scipy.sparse.csr_matrix((coefficient, (a, b)), shape)
            matrix = diagonal - 0.5 * (cross + cross.T)
            return lambda w: matrix @ w
        cross = scipy.sparse.csr_matrix((coefficient, (a, b)), shape)
        matrix = 0.5 * (cross + cross.T)
        first = np.bincount(a, coefficient, count)
        second = np.bincount(b, coefficient, count)
        share = np.abs(coefficient) / max(np.abs(coefficient).sum(), 1e-300)
        mean_a, mean_b = np.bincount(a, share, count), np.bincount(b, share, count)
        total = coefficient.sum()
        squares = self.control * (total / count - 0.5 * (first + second))

        def apply(w: np.ndarray) -> np.ndarray:
            # (w_a - m_a)(w_b - m_b)^T, multiplied out
            m_a, m_b, s_a, s_b = (x @ w for x in (mean_a, mean_b, first, second))
            centring = (
                np.outer(first, m_b)
                + np.outer(mean_b, s_a)
                + np.outer(mean_a, s_b)
                + np.outer(second, m_a)
                - total * (np.outer(mean_a, m_b) + np.outer(mean_b, m_a))
            )
            return matrix @ w - 0.5 * centring + squares[:, None] * w

        return apply


def some_latents(image: np.ndarray, count: int, seed: int) -> np.ndarray:
    """About ``count`` rows of as many images as can be, sorted.

    Where images have many latents each (distorted, painted) some of each are kept,
    since the number of images limits an estimate.
    """
    if len(image) <= count:
        return np.arange(len(image))
    order = np.random.default_rng([seed, 0x71E]).permutation(len(image))
    by_image = order[np.argsort(image[order], kind="stable")]
    sizes = np.bincount(image)
    place = np.arange(len(image)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    per_image = max(1, count // int((sizes > 0).sum()))
    kept = by_image[place < per_image]
    if len(kept) > count:  # more images than rows
        kept = np.random.default_rng([seed, 0x71F]).permutation(kept)[:count]
    return np.sort(kept)


def connected(first: np.ndarray, second: np.ndarray, images: int) -> np.ndarray:
    """Which connected group each image is in, (images,), if pairs connect them."""
    from scipy.sparse.csgraph import connected_components

    ones, shape = np.ones(len(first)), (images, images)
    edges = scipy.sparse.coo_matrix((ones, (first, second)), shape)
    return connected_components(edges, directed=False)[1]


def bootstrap_counts(count: int, rng: np.random.Generator) -> np.ndarray:
    """How often each of ``count`` things is drawn in as many draws, (count,)."""
    drawn = rng.multinomial(count, np.full(count, 1 / count))
    return drawn.astype(np.float64)


def _renumbered(image: np.ndarray) -> np.ndarray:
    return np.unique(image, return_inverse=True)[1].reshape(-1)


def _class_apply(codes: np.ndarray, image: np.ndarray, weight: np.ndarray) -> Apply:
    known = (codes != MISSING) & (weight > 0)
    safe = np.where(known, codes, 0)
    weight = np.where(known, weight, 0.0)
    in_class = np.bincount(safe, weight)
    pairs, place = np.unique(safe * (int(image.max()) + 1) + image, return_inverse=True)
    place = place.reshape(-1)
    in_image = np.bincount(place, weight)
    partners = np.where(known, in_class[safe] - in_image[place], 0.0)
    paired = known & (partners > 1e-9)
    rate = np.divide(weight, partners, out=np.zeros_like(weight), where=paired)
    total = weight[paired].sum()
    if total == 0:
        return lambda w: np.zeros_like(w)
    rate = rate / total
    rows = np.arange(len(codes))
    ones, copies = np.ones(len(rows)), len(pairs) < len(codes)
    classes = scipy.sparse.csr_matrix((ones, (safe, rows)))
    images = scipy.sparse.csr_matrix((ones, (place, rows))) if copies else None
    first = np.where(paired, weight, 0.0) / total

    def partners_of(values: np.ndarray) -> np.ndarray:
        """Sums over the class less those over the own image."""
        same_image = values if images is None else images.T @ (images @ values)
        return classes.T @ (classes @ values) - same_image

    second = weight * partners_of(rate[:, None])[:, 0]

    def apply(w: np.ndarray) -> np.ndarray:
        there = rate[:, None] * partners_of(weight[:, None] * w)
        back = weight[:, None] * partners_of(rate[:, None] * w)
        centring = np.outer(first, second @ w) + np.outer(second, first @ w)
        return 0.5 * (there + back - centring)

    return apply
