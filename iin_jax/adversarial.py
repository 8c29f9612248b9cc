"""Losses of an autoencoder and a discriminator against each other; pure.

Logits are a discriminator's, (B, h, w, 1): one per patch of an image, above 0 for
patches that it takes for real. As published.
"""

import jax
import jax.numpy as jnp

from iin_jax.types import Array, PerExample

LARGEST_WEIGHT = 1e4


def generator_loss(logits_fake: Array) -> PerExample:
    """``-mean(logits)`` over the patches of each reconstruction, (B,)."""
    return -logits_fake.mean(axis=(1, 2, 3))


def discriminator_loss(logits_real: Array, logits_fake: Array) -> PerExample:
    """Half of ``mean(softplus(-real)) + mean(softplus(fake))`` per image, (B,)."""
    real = jax.nn.softplus(-logits_real).mean(axis=(1, 2, 3))
    return 0.5 * (real + jax.nn.softplus(logits_fake).mean(axis=(1, 2, 3)))


def adaptive_weight(nll_gradient: Array, gan_gradient: Array) -> Array:
    """Weight that gives the generator's loss the likelihood's pull on one layer.

    ``||nll|| / (||gan|| + 1e-4)``, at most 1e4.

    Args:
      nll_gradient, gan_gradient: of the two losses with respect to the parameters of
        the decoder's last layer, means over the global batch.
    """
    norms = jnp.linalg.norm(nll_gradient.ravel()), jnp.linalg.norm(gan_gradient.ravel())
    return jnp.clip(norms[0] / (norms[1] + 1e-4), 0.0, LARGEST_WEIGHT)
