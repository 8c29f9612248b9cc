"""What an interpretation is worth: outside judges, probes, distances, maps."""

from iin_jax.analysis.convolutional_judge import ConvolutionalJudge, shape_judge
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
    Judge,
    LatentJudge,
    LogitsJudge,
    ShapeJudge,
)
from iin_jax.analysis.layers import LayerScores, layer_scores
from iin_jax.analysis.leakage import leakage
from iin_jax.analysis.linear_edits import LinearEdits
from iin_jax.analysis.swaps import evaluate_swaps
from iin_jax.data.values import is_class, known_rows

__all__ = [
    "ColorJudge",
    "ConvolutionalJudge",
    "Distance",
    "DistanceProtocol",
    "Judge",
    "LatentJudge",
    "LayerScores",
    "LinearEdits",
    "LogitsJudge",
    "ShapeJudge",
    "distances",
    "evaluate_swaps",
    "factor_maps",
    "frechet",
    "image_features",
    "is_class",
    "kernel_distance",
    "known_rows",
    "layer_scores",
    "leakage",
    "shape_judge",
]
