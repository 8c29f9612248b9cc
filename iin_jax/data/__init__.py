"""Images in, batches out."""

from iin_jax.data.augment import Affine
from iin_jax.data.colored import ColoredSet, colored_set
from iin_jax.data.latents import LatentCache, encode_all, load_latents, save_latents
from iin_jax.data.palette import colorize, palette, to_unit
from iin_jax.data.sources import SOURCES, Dataset, embedded_digits, split_indices

__all__ = [
    "SOURCES",
    "Affine",
    "ColoredSet",
    "Dataset",
    "LatentCache",
    "colored_set",
    "colorize",
    "embedded_digits",
    "encode_all",
    "load_latents",
    "palette",
    "save_latents",
    "split_indices",
    "to_unit",
]
