"""Images in, batches out."""

from iin_jax.data.augment import Affine
from iin_jax.data.image_sets import ImageSet, Pictures, colored_set, plain_set
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
from iin_jax.data.values import MISSING, class_codes, is_class, known_rows

__all__ = [
    "MISSING",
    "SOURCES",
    "Affine",
    "Background",
    "Dataset",
    "ImageSet",
    "Pictures",
    "SourceOptions",
    "StepStream",
    "StoredImages",
    "class_codes",
    "colored_set",
    "colorize",
    "embedded_digits",
    "epoch_indices",
    "is_class",
    "known_rows",
    "palette",
    "plain_set",
    "split_dataset",
    "split_indices",
    "to_unit",
]
