"""What an interpretation is worth: outside judges, probes, maps."""

from iin_jax.analysis.embedding import factor_maps
from iin_jax.analysis.judges import (
    ColorJudge,
    Judge,
    LatentJudge,
    LogitsJudge,
    ShapeJudge,
    is_class,
)
from iin_jax.analysis.layers import LayerScores, layer_scores
from iin_jax.analysis.leakage import linear_leakage
from iin_jax.analysis.swaps import evaluate_swaps

__all__ = [
    "ColorJudge",
    "Judge",
    "LatentJudge",
    "LayerScores",
    "LogitsJudge",
    "ShapeJudge",
    "evaluate_swaps",
    "factor_maps",
    "is_class",
    "layer_scores",
    "linear_leakage",
]
