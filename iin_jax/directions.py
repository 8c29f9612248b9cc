"""Directions in z_tilde, and how plausible a point there is; pure functions."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammainc

from iin_jax.factors import FactorLayout
from iin_jax.types import Array, Latents, PerExample

Plausibility = dict[str, PerExample]  # factor, or WHOLE -> tail probability, (B,)
WHOLE = "z"  # name of the whole latent among the factors
QUANTILES = 201  # quantiles of the log density of held-out latents, both ends included


class Axes(NamedTuple):
    """Principal directions of a factor.

    Attributes:
      directions: (count, N) in z_tilde, each of length 1 and zero in other factors.
      explained: (count,), share of the factor's variance along each, falling.
    """

    directions: Array
    explained: Array


class Edited(NamedTuple):
    """Edited images and how plausible each edit is.

    Attributes:
      output: what the network makes of the edited latents, (..., B, ...).
      plausibility: factor -> tail probability of each, (..., B); see
        ``Interpreter.plausibility``.
    """

    output: Array
    plausibility: Plausibility


def mean_difference(
    with_property: Latents,
    without: Latents,
    layout: FactorLayout,
    names: Iterable[str] | None = None,
) -> Array:
    """The direction from latents without a property to those with it, (N,).

    Args:
      with_property, without: z_tilde of the two sets, (n, N) and (m, N).
      layout: names and sizes.
      names: factors that it may touch; None: all.

    Raises:
      ValueError: an empty set, or an unknown factor.
    """
    if not len(with_property) or not len(without):
        raise ValueError(
            "a direction needs images with and images without the property; got "
            f"{len(with_property)} and {len(without)}"
        )
    mask = layout.mask(layout.names if names is None else names)
    difference = jnp.mean(with_property, axis=0) - jnp.mean(without, axis=0)
    return jnp.where(mask, difference, 0.0)


def principal_axes(
    z_tilde: Latents, layout: FactorLayout, name: str, count: int
) -> Axes:
    """The directions along which a factor varies most.

    Each points where its largest entry is positive.

    Args:
      z_tilde: (n, N).
      layout: names and sizes.
      name: the factor.
      count: number of directions.

    Raises:
      ValueError: an unknown factor, a count that the factor or the latents cannot give,
        or latents that do not vary in it.
    """
    part = np.asarray(layout.split(z_tilde)[name], np.float64)
    most = min(part.shape[1], len(part) - 1)
    if not 1 <= count <= most:
        raise ValueError(
            f"factor {name!r} of {part.shape[1]} dimensions has 1 to {max(most, 0)} "
            f"axes in {len(part)} images; got count {count}"
        )
    _, spread, axes = np.linalg.svd(part - part.mean(axis=0), full_matrices=False)
    total = np.square(spread).sum()
    if total == 0.0:
        raise ValueError(f"factor {name!r} is the same in all of these images")
    leading = axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)]
    axes = axes * np.where(leading < 0, -1.0, 1.0)[:, None]
    directions = np.zeros((count, layout.dim), np.float32)
    directions[:, layout.slice(name)] = axes[:count]
    explained = (np.square(spread[:count]) / total).astype(np.float32)
    return Axes(jnp.asarray(directions), jnp.asarray(explained))


def tail_probabilities(z_tilde: Array, layout: FactorLayout) -> Plausibility:
    """Factor -> two-sided tail probability of its norm under N(0, 1), (...).

    The squared norm of a factor of n dimensions is chi-squared with n degrees of
    freedom there: a value near 0 is either far out or close to the mean of all. An
    empty factor has 1.

    Args:
      z_tilde: (..., N).
      layout: names and sizes.
    """
    result = {}
    for name, part in layout.split(z_tilde).items():
        if not part.shape[-1]:
            result[name] = jnp.ones(part.shape[:-1])
            continue
        below = gammainc(part.shape[-1] / 2, jnp.square(part).sum(-1) / 2)
        result[name] = two_sided(below)
    return result


def two_sided(below: Array) -> Array:
    """Two-sided tail probability where a share ``below`` of all values lies below."""
    return jnp.clip(2.0 * jnp.minimum(below, 1.0 - below), 0.0, 1.0)


def share_below(value: Array, quantiles: Sequence[float]) -> Array:
    """Share of a distribution below each value, from its equidistant quantiles."""
    shares = jnp.linspace(0.0, 1.0, len(quantiles))
    return jnp.interp(value, jnp.asarray(quantiles), shares, left=0.0, right=1.0)
