"""Images in, batches out."""

from iin_jax.data.augment import Affine
from iin_jax.data.image_sets import ImageSet, Pictures, colored_set, plain_set
from iin_jax.data.latents import (
    LatentCache,
    StaleLatentsError,
    encode_all,
    encode_to,
    load_latents,
    save_latents,
)
from iin_jax.data.loader import StepStream, epoch_indices
from iin_jax.data.palette import Background, colorize, palette, to_unit
from iin_jax.data.sources import (
    SOURCES,
    Dataset,
    SourceOptions,
    StoredImages,
    embedded_digits,
    split_dataset,
    split_indices,
)

__all__ = [
    "SOURCES",
    "Affine",
    "Background",
    "Dataset",
    "ImageSet",
    "LatentCache",
    "Pictures",
    "SourceOptions",
    "StaleLatentsError",
    "StepStream",
    "StoredImages",
    "colored_set",
    "colorize",
    "embedded_digits",
    "encode_all",
    "encode_to",
    "epoch_indices",
    "load_latents",
    "palette",
    "plain_set",
    "save_latents",
    "split_dataset",
    "split_indices",
    "to_unit",
]
