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
    def _read(self, images: Images) -> Latents: ...
    @abc.abstractmethod
    def _decode(self, z: Latents) -> Array: ...
    @abc.abstractmethod
    def _untranslate(self, z_tilde: Latents) -> Latents: ...

    @overload
    def swap(
        self, images_a: Images, images_b: Images, names: Iterable[str]
    ) -> Array: ...
    @overload
    def swap(
        self,
        images_a: Images,
        images_b: Images,
        names: Iterable[str],
        *,
        plausibility: Literal[True],
    ) -> Edited: ...
    def swap(
        self,
        images_a: Images,
        images_b: Images,
        names: Iterable[str],
        *,
        plausibility: bool = False,
    ) -> Array | Edited:
        """a with b's named factors, decoded; (B, ...).

        An empty list of names edits nothing: the result is G(E(a)) up to rounding.

        Args:
          images_a, images_b: (B, H, W, C) in [-1, 1].
          names: factors.
          plausibility: returns ``Edited``, with how plausible each edit is.
        """
        mask = self.layout.mask(names)
        if plausibility:
            pair = self._checked_pair(images_a, images_b)
            z_a, z_b = (self.translate(self.encode(images)) for images in pair)
            return self._edited(jnp.where(mask, z_b, z_a))

        def edited(a: Images, b: Images) -> Array:
            z_tilde = jnp.where(mask, self._read(b), self._read(a))
            return self._decode(self._untranslate(z_tilde))

        return mapped(edited, *self._checked_pair(images_a, images_b))

    def interpolate(
        self,
        images_a: Images,
        images_b: Images,
        names: Iterable[str],
        *,
        steps: int,
        path: Path = "line",
    ) -> Array:
        """From a to b in the named factors, decoded; (steps, B, ...).

        Along a straight ``"line"`` or an ``"arc"``: see ``FactorLayout.interpolate``.
        """
        names = names if isinstance(names, str) else tuple(names)
        self.layout.mask(names)

        def points(a: Images, b: Images) -> Array:
            ends = self._read(a), self._read(b)
            return self._decode_stack(
                self.layout.interpolate(*ends, names, steps=steps, path=path)
            )

        pair = self._checked_pair(images_a, images_b)
        return mapped(points, *pair, most=max(1, BATCH // max(1, steps)), axis=1)

    @overload
    def sample(
        self, images: Images, names: Iterable[str], key: Key, *, count: int
    ) -> Array: ...
    @overload
    def sample(
        self,
        images: Images,
        names: Iterable[str],
        key: Key,
        *,
        count: int,
        plausibility: Literal[True],
    ) -> Edited: ...
    def sample(
        self,
        images: Images,
        names: Iterable[str],
        key: Key,
        *,
        count: int,
        plausibility: bool = False,
    ) -> Array | Edited:
        """The named factors drawn from N(0, 1), all others kept; (count, B, ...).

        With ``plausibility``, as in ``swap``.
        """
        if count < 1:
            raise ValueError(f"count is a number of samples >= 1; got {count}")
        mask = self.layout.mask(names)
        self._network().check_images(images)

        draws = jax.random.normal(key, (count, len(images), self.flow.dim))
        if plausibility:
            z_tilde = self.translate(self.encode(images))
            return self._edited(jnp.where(mask, draws, z_tilde))

        def drawn(images: Images, draws: Array) -> Array:
            draws = jnp.moveaxis(draws, 1, 0)
            return self._decode_stack(jnp.where(mask, draws, self._read(images)))

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
    def move(self, images: Images, direction: Array, steps: Any) -> Array: ...
    @overload
    def move(
        self,
        images: Images,
        direction: Array,
        steps: Any,
        *,
        plausibility: Literal[True],
    ) -> Edited: ...
    def move(
        self,
        images: Images,
        direction: Array,
        steps: Any,
        *,
        plausibility: bool = False,
    ) -> Array | Edited:
        """Images moved along a direction in z_tilde, decoded; (S, B, ...).

        Args:
          images: (B, H, W, C) in [-1, 1].
          direction: (N,), as ``direction`` or a row of ``axes`` gives it.
          steps: (S,), how far, in lengths of the direction; 0 is where an image is.
          plausibility: as in ``swap``.

        Raises:
          ValueError: a direction of another length, or steps that are no numbers (S,).
        """
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
        z_tilde = self.translate(self.encode(images))
        moved = z_tilde + steps[:, None, None] * direction
        return self._edited(moved) if plausibility else self._edited(moved).output

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

    def _edited(self, z_tilde: Array) -> Edited:
        """Edits (..., N), decoded in batches, and how plausible they are."""
        decoded = self.decode(self.untranslate(z_tilde.reshape(-1, self.flow.dim)))
        output = decoded.reshape(*z_tilde.shape[:-1], *decoded.shape[1:])
        return Edited(output, self.plausibility(z_tilde))

    def _decode_stack(self, z_tilde: Latents) -> Array:
        """(steps, B, N) -> (steps, B, ...)."""
        lead = z_tilde.shape[:2]
        decoded = self._decode(self._untranslate(z_tilde.reshape(-1, self.flow.dim)))
        return decoded.reshape(*lead, *decoded.shape[1:])
