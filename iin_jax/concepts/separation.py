"""How well factors keep to their concepts: what a held-out choice of states goes by.

A likelihood does not tell: most of it is density, and a flow may gain density while its
factors mix.
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
    sigma: Array,
    layout: FactorLayout,
) -> Array:
    """What pairs' own factors say of them, less what other factors say, in nats.

    For every factor k, over the pairs that share it: the mean of ``log N(b_k | sigma_k
    a_k, 1 - sigma_k^2) - log N(b_k | 0, 1)``, less the information that every other
    factor, where the pair does not share it, has of its counterpart, ``-1/2 sum log(1 -
    rho^2)`` with rho the positive correlations of its components. Jittable.

    Args:
      z_tilde_a, z_tilde_b: (B, N), held-out pairs.
      shared: bool (B, K+1).
      sigma: (K+1,), fixed, so that states compare.
      layout: the factors.

    Returns:
      A scalar; higher is better.
    """
    parts = [
        (index, layout.slice(name))
        for index, name in enumerate(layout.names)
        if layout[name]
    ]
    total = jnp.zeros(())
    for k, where in parts:
        rows = shared[:, k].astype(z_tilde_a.dtype)
        a, b, s = z_tilde_a[:, where], z_tilde_b[:, where], sigma[k]
        variance = 1.0 - s * s
        conditional = jnp.square(b - s * a) / variance + jnp.log(variance)
        gain = 0.5 * (jnp.square(b) - conditional).sum(axis=-1)
        total += (rows * gain).sum() / jnp.maximum(rows.sum(), 1.0)
        for j, place in parts:
            if j != k:
                alone = rows * ~shared[:, j]
                total -= _information(z_tilde_a[:, place], z_tilde_b[:, place], alone)
    return total


def _information(a: Latents, b: Latents, weight: Array) -> Array:
    """``-1/2 sum log(1 - rho^2)`` over the components' positive correlations."""
    share = weight / jnp.maximum(weight.sum(), 1.0)
    a, b = a - share @ a, b - share @ b
    scale = jnp.sqrt((share @ jnp.square(a)) * (share @ jnp.square(b)))
    rho = (share @ (a * b)) / jnp.maximum(scale, LEAST_VARIANCE)
    rho = jnp.clip(rho, 0.0, MOST_CORRELATION)
    return -0.5 * jnp.log1p(-jnp.square(rho)).sum()
