"""iin_jax: an invertible network that reads a frozen network's latent as concepts.

Esser, Rombach, Ommer, *A Disentangling Invertible Interpretation Network for Explaining
Latent Representations*, CVPR 2020 (arXiv 2004.13166), in JAX.
"""

from iin_jax import analysis, concepts, convert, data, losses, networks, report
from iin_jax.analysis import score
from iin_jax.factors import FactorLayout
from iin_jax.fit import fit, interpret
from iin_jax.flows import (
    ActNorm,
    AffineCoupling,
    Bijector,
    Chain,
    FeatureMapFlow,
    FlowBlock,
    InterpretationFlow,
    Shuffle,
)
from iin_jax.interpreter import Interpreter, load
from iin_jax.invariances import Invariances, invariances
from iin_jax.training.defaults import Training

__version__ = "0.1.0"

__all__ = [
    "ActNorm",
    "AffineCoupling",
    "Bijector",
    "Chain",
    "FactorLayout",
    "FeatureMapFlow",
    "FlowBlock",
    "InterpretationFlow",
    "Interpreter",
    "Invariances",
    "Shuffle",
    "Training",
    "analysis",
    "concepts",
    "convert",
    "data",
    "fit",
    "interpret",
    "invariances",
    "load",
    "losses",
    "networks",
    "report",
    "score",
]
