"""Labelled image sets: sources, colours, distortions, and batches of their images."""

from iin_jax.data.augment import Affine
from iin_jax.data.image_sets import COLOR, ImageSet, Pictures, plain_set
from iin_jax.data.loader import StepStream, epoch_indices
from iin_jax.data.painted import PaintedView, colored_set, view_of
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
from iin_jax.data.values import (
    MISSING,
    class_codes,
    is_class,
    known_rows,
    label_column,
    label_columns,
)
from iin_jax.data.versions import with_versions
from iin_jax.data.views import ColorChoice, DatasetView, PlainView

__all__ = [
    "COLOR",
    "MISSING",
    "SOURCES",
    "Affine",
    "Background",
    "ColorChoice",
    "Dataset",
    "DatasetView",
    "ImageSet",
    "PaintedView",
    "Pictures",
    "PlainView",
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
    "label_column",
    "label_columns",
    "palette",
    "plain_set",
    "split_dataset",
    "split_indices",
    "to_unit",
    "view_of",
    "with_versions",
]
