"""Measures of an interpretation: judged swaps, probes, likelihoods, distances, maps."""

from iin_jax.analysis.base import (
    Analysis,
    Evidence,
    Examples,
    FeatureNetwork,
    Record,
    Section,
    Swapped,
    Table,
)
from iin_jax.analysis.choice import choose_judges
from iin_jax.analysis.distances import (
    Distance,
    DistanceProtocol,
    distances,
    frechet,
    image_features,
    kernel_distance,
)
from iin_jax.analysis.embedding import factor_maps
from iin_jax.analysis.judges import (
    ColorJudge,
    ConvolutionalJudge,
    Judge,
    LatentJudge,
    LogitsJudge,
    ShapeJudge,
    shape_judge,
)
from iin_jax.analysis.layer_curves import LayerScore, layers_figure, layers_in_words
from iin_jax.analysis.layers import layer_scores
from iin_jax.analysis.leakage import leakage
from iin_jax.analysis.linear_edits import LinearEdits
from iin_jax.analysis.response import ClassResponse, Response, response
from iin_jax.analysis.scorecard import ANALYSES, score, scorecard, sections
from iin_jax.analysis.swaps import evaluate_swaps
from iin_jax.data.values import is_class, known_rows

__all__ = [
    "ANALYSES",
    "Analysis",
    "ClassResponse",
    "ColorJudge",
    "ConvolutionalJudge",
    "Distance",
    "DistanceProtocol",
    "Evidence",
    "Examples",
    "FeatureNetwork",
    "Judge",
    "LatentJudge",
    "LayerScore",
    "LinearEdits",
    "LogitsJudge",
    "Record",
    "Response",
    "Section",
    "ShapeJudge",
    "Swapped",
    "Table",
    "choose_judges",
    "distances",
    "evaluate_swaps",
    "factor_maps",
    "frechet",
    "image_features",
    "is_class",
    "kernel_distance",
    "known_rows",
    "layer_scores",
    "layers_figure",
    "layers_in_words",
    "leakage",
    "response",
    "score",
    "scorecard",
    "sections",
    "shape_judge",
]
