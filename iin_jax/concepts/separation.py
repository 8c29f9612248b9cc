"""How well factors keep to their concepts: what no state of a training may lose.

It sees linear correlations, where T_0 is at its best already, and not what the other
factors hold of a concept in curved ways, which is what training removes. So the
state of most separation is not the best one: with 5,000 images of ColorMNIST it
transferred 58.8 % of the digits, the one of the lowest held-out loss 73.3 %, T_0 55.6 %
(validation images). The loss alone may trade one concept for density: of 700 pictures
of MNIST, where separation fell below that of T_0, it kept a state 2.9 points (0.1 to
5.8) behind T_0. Therefore the lowest loss is taken among the states that separate
held-out pairs as well as T_0, within the sampling error of that figure: a strict limit
let noise decide, and of two like trainings on the digits kept 94.6 % of them or T_0's
92.6 %.
"""

import jax.numpy as jnp

from iin_jax.factors import FactorLayout
from iin_jax.types import Array, Latents, Shared

LEAST_VARIANCE = 1e-6
MOST_CORRELATION = 0.999


def separation(
    z_tilde_a: Latents,
    z_tilde_b: Latents,
    shared: Shared,
    layout: FactorLayout,
    positions: int = 1,
) -> Array:
    """What pairs' own factors say of them, less what other factors say, in nats.

    For every factor, over the pairs that share it: the mean of ``log N(b | rho a, 1 -
    rho^2) - log N(b | 0, 1)``, summed over its components, less the same of every other
    factor, where the pair does not share it. rho is each component's correlation on
    these held-out pairs (0 if negative), so a state gains nothing by scales or by a
    similarity that it was trained with. At one fixed sigma in its place states compare
    by ``sigma * rho`` alone, which hardly moves while swaps get better. Jittable.

    Args:
      z_tilde_a, z_tilde_b: (B, N), held-out pairs.
      shared: bool (B, K+1).
      layout: the factors.
      positions: P, where components are channels of a map, P positions of each in
        turn; a channel counts by its mean, or what all say alike would count P times.

    Returns:
      A scalar; higher is better.
    """
    a, b = (x.reshape(len(x), -1, positions).mean(-1) for x in (z_tilde_a, z_tilde_b))
    slices = [
        (k, slice(columns.start // positions, columns.stop // positions))
        for k, columns in enumerate(map(layout.slice, layout.names))
        if columns.start < columns.stop
    ]
    total = jnp.zeros(())
    for k, columns in slices:
        rows = shared[:, k].astype(z_tilde_a.dtype)
        total += _information(a[:, columns], b[:, columns], rows)
        for j, other in slices:
            if j != k:
                apart = rows * ~shared[:, j]
                total -= _information(a[:, other], b[:, other], apart)
    return total


def _information(a: Latents, b: Latents, weight: Array) -> Array:
    """``-1/2 sum log(1 - rho^2)`` over the components' positive correlations."""
    share = weight / jnp.maximum(weight.sum(), 1.0)
    a, b = a - share @ a, b - share @ b
    scale = jnp.sqrt((share @ jnp.square(a)) * (share @ jnp.square(b)))
    rho = (share @ (a * b)) / jnp.maximum(scale, LEAST_VARIANCE)
    rho = jnp.clip(rho, 0.0, MOST_CORRELATION)
    return -0.5 * jnp.log1p(-jnp.square(rho)).sum()
