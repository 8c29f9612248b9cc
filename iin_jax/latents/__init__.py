"""Latents of a frozen network: the loop over batches of images, and a cache."""

from iin_jax.latents.batches import batch_slices, in_batches
from iin_jax.latents.cache import (
    LatentCache,
    StaleLatentsError,
    check_finite,
    encode_all,
    encode_to,
    load_latents,
    save_latents,
)

__all__ = [
    "LatentCache",
    "StaleLatentsError",
    "batch_slices",
    "check_finite",
    "encode_all",
    "encode_to",
    "in_batches",
    "load_latents",
    "save_latents",
]
