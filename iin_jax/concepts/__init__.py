"""Where pairs come from, and how many dimensions a concept gets."""

from iin_jax.concepts.base import Pairing, Pairs, PairSource
from iin_jax.concepts.continuous import quantile_classes
from iin_jax.concepts.explicit_pairs import ExplicitPairs
from iin_jax.concepts.label_pairs import LabelPairs
from iin_jax.concepts.labels import (
    PairTable,
    draw_pairs,
    pair_sigma,
    pair_table,
    pairs_from_labels,
)
from iin_jax.concepts.scores import FactorScores, factor_scores
from iin_jax.concepts.sizes import factor_sizes
from iin_jax.concepts.sketches import STYLISERS, SketchedEntries, sketched

__all__ = [
    "STYLISERS",
    "ExplicitPairs",
    "FactorScores",
    "LabelPairs",
    "PairSource",
    "PairTable",
    "Pairing",
    "Pairs",
    "SketchedEntries",
    "draw_pairs",
    "factor_scores",
    "factor_sizes",
    "pair_sigma",
    "pair_table",
    "pairs_from_labels",
    "quantile_classes",
    "sketched",
]
