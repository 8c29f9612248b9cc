"""What an interpretation is worth: outside judges, probes, maps."""

from iin_jax.analysis.embedding import factor_maps
from iin_jax.analysis.judges import ColorJudge, Judge, LogitsJudge, ShapeJudge
from iin_jax.analysis.leakage import is_class, linear_leakage
from iin_jax.analysis.swaps import evaluate_swaps

__all__ = [
    "ColorJudge",
    "Judge",
    "LogitsJudge",
    "ShapeJudge",
    "evaluate_swaps",
    "factor_maps",
    "is_class",
    "linear_leakage",
]
