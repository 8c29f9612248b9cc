"""Edits of images by their factors, on what an ``Interpreter`` reads and decodes."""

import abc
from collections.abc import Iterable
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp
import numpy as np

from iin_jax.arrays import at_least_float32
from iin_jax.directions import (
    WHOLE,
    Axes,
    Edited,
    Plausibility,
    mean_difference,
    principal_axes,
    share_below,
    tail_probabilities,
    two_sided,
)
from iin_jax.factors import FactorLayout, Path
from iin_jax.latents.batches import BATCH, mapped
from iin_jax.networks import Network
from iin_jax.regions import inside
from iin_jax.types import Array, Images, Key, Latents, PerExample


class Edits(abc.ABC):
    """What one does with factors; ``Interpreter`` says how they are read and decoded.

    Attributes:
      flow, layout, held_out: as in ``Interpreter``.
    """

    flow: Any
    layout: FactorLayout
    held_out: tuple[float, ...] | None

    @abc.abstractmethod
    def encode(self, images: Images) -> Array: ...
    @abc.abstractmethod
    def decode(self, z: Array) -> Array: ...
    @abc.abstractmethod
    def translate(self, z: Array) -> Latents: ...
    @abc.abstractmethod
    def untranslate(self, z_tilde: Latents) -> Array: ...
    @abc.abstractmethod
    def log_prob(self, z: Array) -> PerExample: ...
    @abc.abstractmethod
    def _network(self) -> Network: ...
    @abc.abstractmethod
    def _latents(self, images: Images) -> Latents: ...
    @abc.abstractmethod
    def _translate(self, z: Latents) -> Latents: ...
    @abc.abstractmethod
    def _decode(self, z: Latents) -> Array: ...
    @abc.abstractmethod
    def _untranslate(self, z_tilde: Latents) -> Latents: ...

    @overload
    def swap(
        self,
        images_a: Images,
        images_b: Images,
        names: Iterable[str],
        *,
        region: Array | None = None,
    ) -> Array: ...
    @overload
    def swap(
        self,
        images_a: Images,
        images_b: Images,
        names: Iterable[str],
        *,
        region: Array | None = None,
        plausibility: Literal[True],
    ) -> Edited: ...
    def swap(
        self,
        images_a: Images,
        images_b: Images,
        names: Iterable[str],
        *,
        region: Array | None = None,
        plausibility: bool = False,
    ) -> Array | Edited:
        """a with b's named factors, decoded; (B, ...).

        An empty list of names edits nothing: the result is G(E(a)) up to rounding.

        Args:
          images_a, images_b: (B, H, W, C) in [-1, 1].
          names: factors.
          region: bool (H, W), positions of z as a map (H, W, C), whatever the flow;
            outside them z stays as it is, so that only what G makes of these changes.
            None: everywhere.
          plausibility: returns ``Edited``, with how plausible each edit is.

        Raises:
          ValueError: an unknown factor, unlike numbers of images, or a region where z
            is a vector or a map of another shape.
        """
        mask, within = self.layout.mask(names), self._inside(region)
        if plausibility:
            pair = self._checked_pair(images_a, images_b)
            z = [self.encode(images) for images in pair]
            z_a, z_b = (self.translate(side) for side in z)
            return self._edited(jnp.where(mask, z_b, z_a), z[0], within)

        def edited(a: Images, b: Images) -> Array:
            z = self._latents(a)
            z_tilde = self._translate(z)
            z_tilde = jnp.where(mask, self._translate(self._latents(b)), z_tilde)
            return self._decode(self._confined(z_tilde, z, within))

        return mapped(edited, *self._checked_pair(images_a, images_b))

    def interpolate(
        self,
        images_a: Images,
        images_b: Images,
        names: Iterable[str],
        *,
        steps: int,
        path: Path = "line",
        region: Array | None = None,
    ) -> Array:
        """From a to b in the named factors, decoded; (steps, B, ...).

        Along a straight ``"line"`` or an ``"arc"``: see ``FactorLayout.interpolate``;
        with a ``region`` as in ``swap``.
        """
        names = names if isinstance(names, str) else tuple(names)
        self.layout.mask(names)
        within = self._inside(region)

        def points(a: Images, b: Images) -> Array:
            z = self._latents(a)
            ends = self._translate(z), self._translate(self._latents(b))
            along = self.layout.interpolate(*ends, names, steps=steps, path=path)
            return self._decode_stack(along, z, within)

        pair = self._checked_pair(images_a, images_b)
        return mapped(points, *pair, most=max(1, BATCH // max(1, steps)), axis=1)

    @overload
    def sample(
        self,
        images: Images,
        names: Iterable[str],
        key: Key,
        *,
        count: int,
        region: Array | None = None,
    ) -> Array: ...
    @overload
    def sample(
        self,
        images: Images,
        names: Iterable[str],
        key: Key,
        *,
        count: int,
        region: Array | None = None,
        plausibility: Literal[True],
    ) -> Edited: ...
    def sample(
        self,
        images: Images,
        names: Iterable[str],
        key: Key,
        *,
        count: int,
        region: Array | None = None,
        plausibility: bool = False,
    ) -> Array | Edited:
        """The named factors drawn from N(0, 1), all others kept; (count, B, ...).

        With ``region`` and ``plausibility``, as in ``swap``.
        """
        if count < 1:
            raise ValueError(f"count is a number of samples >= 1; got {count}")
        mask, within = self.layout.mask(names), self._inside(region)
        self._network().check_images(images)

        draws = jax.random.normal(key, (count, len(images), self.flow.dim))
        if plausibility:
            z = self.encode(images)
            return self._edited(jnp.where(mask, draws, self.translate(z)), z, within)

        def drawn(images: Images, draws: Array) -> Array:
            draws, z = jnp.moveaxis(draws, 1, 0), self._latents(images)
            z_tilde = jnp.where(mask, draws, self._translate(z))
            return self._decode_stack(z_tilde, z, within)

        by_image = jnp.moveaxis(draws, 0, 1)
        most = max(1, BATCH // count)
        return mapped(drawn, images, by_image, most=most, axis=1)

    def direction(
        self,
        with_images: Images,
        without_images: Images,
        names: Iterable[str] | None = None,
    ) -> Array:
        """The direction in z_tilde that adds a property, (N,): a mean difference.

        Directions are arrays: their sums and multiples are directions too.

        Args:
          with_images, without_images: images with and without it, (n, H, W, C) and
            (m, H, W, C) in [-1, 1]; a few will do.
          names: factors that it may touch; None: all.

        Raises:
          ValueError: an empty set, or an unknown factor.
        """
        first, second = (
            self.translate(self.encode(images))
            if len(images)
            else np.empty((0, self.flow.dim), np.float32)
            for images in (with_images, without_images)
        )
        return mean_difference(first, second, self.layout, names)

    @overload
    def move(
        self,
        images: Images,
        direction: Array,
        steps: Any,
        *,
        region: Array | None = None,
    ) -> Array: ...
    @overload
    def move(
        self,
        images: Images,
        direction: Array,
        steps: Any,
        *,
        region: Array | None = None,
        plausibility: Literal[True],
    ) -> Edited: ...
    def move(
        self,
        images: Images,
        direction: Array,
        steps: Any,
        *,
        region: Array | None = None,
        plausibility: bool = False,
    ) -> Array | Edited:
        """Images moved along a direction in z_tilde, decoded; (S, B, ...).

        Args:
          images: (B, H, W, C) in [-1, 1].
          direction: (N,), as ``direction`` or a row of ``axes`` gives it.
          steps: (S,), how far, in lengths of the direction; 0 is where an image is.
          region, plausibility: as in ``swap``.

        Raises:
          ValueError: a direction of another length, steps that are no numbers (S,), or
            a region as in ``swap``.
        """
        within = self._inside(region)
        direction = jnp.asarray(direction, jnp.float32)
        if direction.shape != (self.flow.dim,):
            raise ValueError(
                f"a direction has {self.flow.dim} numbers; got shape {direction.shape}"
            )
        steps = np.asarray(steps, np.float32)
        if steps.ndim != 1 or not len(steps) or not np.isfinite(steps).all():
            raise ValueError(
                f"steps are finite numbers (S,), S >= 1; got shape {steps.shape}"
            )
        z = self.encode(images)
        moved = self.translate(z) + steps[:, None, None] * direction
        edited = self._edited(moved, z, within)
        return edited if plausibility else edited.output

    def axes(self, name: str, images: Images, *, count: int) -> Axes:
        """Principal directions of a factor over images, for ``move``.

        Args:
          name: the factor.
          images: (n, H, W, C) in [-1, 1], n > count.
          count: number of directions.

        Returns:
          ``directions`` (count, N), each of length 1 and zero outside the factor, and
          ``explained`` (count,), the share of the factor's variance along each.

        Raises:
          ValueError: an unknown factor, or more directions than there are.
        """
        z_tilde = self.translate(self.encode(images))
        return principal_axes(z_tilde, self.layout, name, count)

    def plausibility(self, z_tilde: Latents) -> Plausibility:
        """How plausible points of z_tilde are, as tail probabilities in [0, 1].

        A value below 0.01 says that the edit leaves what T has seen: fewer than one in
        a hundred latents are as far from the middle.

        Args:
          z_tilde: (..., N).

        Returns:
          Factor -> two-sided tail probability of its norm under its prior, (...); and,
          where held-out latents are known, ``"z"`` -> that of the latent's log density
          among theirs.
        """
        z_tilde = at_least_float32(z_tilde)
        result = tail_probabilities(z_tilde, self.layout)
        if self.held_out is not None:
            flat = z_tilde.reshape(-1, self.flow.dim)
            density = self.log_prob(self.untranslate(flat))
            below = share_below(density, self.held_out)
            result[WHOLE] = two_sided(below).reshape(z_tilde.shape[:-1])
        return result

    def _checked_pair(
        self, images_a: Images, images_b: Images
    ) -> tuple[Images, Images]:
        if len(images_a) != len(images_b):
            raise ValueError(
                f"an edit takes as many a as b; got {len(images_a)} and {len(images_b)}"
            )
        for images in (images_a, images_b):
            self._network().check_images(images)
        return images_a, images_b

    def _inside(self, region: Array | None) -> np.ndarray | None:
        """Which numbers of z lie in a region, (N,); None: no region."""
        return inside(region, () if region is None else self._network().latent_shape)

    def _edited(self, z_tilde: Array, z: Array, within: np.ndarray | None) -> Edited:
        """Edits (..., B, N) of z, decoded in batches, and how plausible they are."""
        edited = self.untranslate(z_tilde.reshape(-1, self.flow.dim))
        if within is not None:
            before = jnp.broadcast_to(z.reshape(len(z), -1), z_tilde.shape)
            edited = jnp.where(within, edited.reshape(z_tilde.shape), before)
            edited = edited.reshape(-1, self.flow.dim)
            z_tilde = self.translate(edited).reshape(z_tilde.shape)
        decoded = self.decode(edited)
        output = decoded.reshape(*z_tilde.shape[:-1], *decoded.shape[1:])
        return Edited(output, self.plausibility(z_tilde))

    def _confined(
        self, z_tilde: Latents, z: Latents, within: np.ndarray | None
    ) -> Latents:
        """Edits (..., B, N) as latents; z (B, N) itself elsewhere."""
        edited = self._untranslate(z_tilde.reshape(-1, self.flow.dim))
        if within is None:
            return edited
        edited = jnp.where(within, edited.reshape(z_tilde.shape), z)
        return edited.reshape(-1, self.flow.dim)

    def _decode_stack(
        self, z_tilde: Latents, z: Latents, within: np.ndarray | None
    ) -> Array:
        """(steps, B, N) -> (steps, B, ...), confined to a region."""
        decoded = self._decode(self._confined(z_tilde, z, within))
        return decoded.reshape(*z_tilde.shape[:2], *decoded.shape[1:])
