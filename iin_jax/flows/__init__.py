"""Invertible networks as pure Linen modules; they know nothing of factors."""

from collections.abc import Callable

from iin_jax.flows.act_norm import ActNorm
from iin_jax.flows.base import Bijector
from iin_jax.flows.certificate import certify_flow
from iin_jax.flows.chain import Chain
from iin_jax.flows.conditional import ConditionalFlow, ContextShift
from iin_jax.flows.coupling import AffineCoupling
from iin_jax.flows.feature_map import FeatureMapFlow
from iin_jax.flows.flow import FlowBlock, InterpretationFlow
from iin_jax.flows.householder import Householder, HouseholderFlow
from iin_jax.flows.linear_start import LinearStart, StartedFlow
from iin_jax.flows.map_start import MapStart
from iin_jax.flows.partial import PartialFlow
from iin_jax.flows.shuffle import Shuffle

# kind -> class of flows: what settings and interpreter.json name; registering is
# assignment
FLOWS: dict[str, type[Bijector]] = {
    "interpretation": InterpretationFlow,
    "householder": HouseholderFlow,
    "feature_map": FeatureMapFlow,
}

# name -> constructor from (dim, hidden_dim); every entry passes the same tests
BIJECTORS: dict[str, Callable[[int, int], Bijector]] = {
    "act_norm": lambda dim, hidden: ActNorm(),
    "affine_coupling": lambda dim, hidden: AffineCoupling(hidden),
    "affine_coupling_flipped": lambda dim, hidden: AffineCoupling(hidden, flip=True),
    "linear_start": lambda dim, hidden: LinearStart(dim),
    "started_flow": lambda dim, hidden: StartedFlow(
        InterpretationFlow(dim, 2, hidden, 1, zero_init=True)
    ),
    "shuffle": lambda dim, hidden: Shuffle(),
    "householder": lambda dim, hidden: Householder(),
    "householder_flow": lambda dim, hidden: HouseholderFlow(dim, 2, hidden, 1),
    "partial_flow": lambda dim, hidden: PartialFlow(
        InterpretationFlow(dim - 2, 2, hidden, 1), dim
    ),
    "flow_block": lambda dim, hidden: FlowBlock(hidden),
    "map_start": lambda dim, hidden: MapStart(dim // 2, 2),
    "feature_map_flow": lambda dim, hidden: FeatureMapFlow(dim // 2, 1, 2, 2, hidden),
    "started_map_flow": lambda dim, hidden: StartedFlow(
        FeatureMapFlow(1, dim // 2, 2, 2, hidden, zero_init=True)
    ),
    "interpretation_flow": lambda dim, hidden: InterpretationFlow(dim, 3, hidden, 1),
}

__all__ = [
    "BIJECTORS",
    "FLOWS",
    "ActNorm",
    "AffineCoupling",
    "Bijector",
    "Chain",
    "ConditionalFlow",
    "ContextShift",
    "FeatureMapFlow",
    "FlowBlock",
    "Householder",
    "HouseholderFlow",
    "InterpretationFlow",
    "LinearStart",
    "MapStart",
    "PartialFlow",
    "Shuffle",
    "StartedFlow",
    "certify_flow",
]
