"""The flow that the settings of a run describe, for latents of the network's shape."""

import dataclasses
from typing import Any

from iin_jax.flows import FLOWS, Bijector
from iin_jax.flows.feature_map import check_map
from iin_jax.runs.settings import Experiment, FlowSettings
from iin_jax.training.defaults import FlowDefaults

SIDES = ("height", "width", "channels")  # fields of a flow over maps


def made_flow(
    settings: FlowSettings, defaults: FlowDefaults, dim: int, shape: tuple[int, ...]
) -> Bijector:
    """The flow of the settings, of those of them that its kind has as fields.

    Args:
      settings: zeros are as suits.
      defaults: what suits.
      dim: N.
      shape: of one latent, which gives a flow over maps its sides.
    """
    sizes = {
        "dim": dim,
        "num_blocks": settings.num_blocks or defaults.num_blocks,
        "hidden_dim": settings.hidden_dim or defaults.hidden_dim,
        "hidden_depth": settings.hidden_depth,
    }
    if takes_maps(settings):
        sizes |= dict(zip(SIDES, shape, strict=True))
    flow: Any = FLOWS[settings.kind]
    return flow(**{name: x for name, x in sizes.items() if name in _fields(settings)})


def positions(settings: FlowSettings, shape: tuple[int, ...]) -> int | None:
    """H W of the network's maps, if the flow is one over maps; else None."""
    return shape[0] * shape[1] if takes_maps(settings) else None


def takes_maps(settings: FlowSettings) -> bool:
    """Whether the flow is one over maps: its kind has sides as fields."""
    return _fields(settings).issuperset(SIDES)


def check_takes(experiment: Experiment, shape: tuple[int, ...]) -> None:
    """Raises ValueError for latents, or given sizes, that the flow cannot take."""
    settings, sizes = experiment.flow, experiment.concept.sizes
    if not takes_maps(settings):
        return
    if len(shape) != 3:
        raise ValueError(
            f"flow.kind {settings.kind} takes maps (H, W, C), and the network's "
            f"latents have shape {shape}: choose another --network.layer, or "
            "--flow.kind interpretation"
        )
    check_map(*shape)
    count = shape[0] * shape[1]
    if any(size % count for size in sizes):
        raise ValueError(
            f"flow.kind {settings.kind} makes factors of whole channels, so concept."
            f"sizes are multiples of the map's {count} positions; got {list(sizes)}"
        )


def _fields(settings: FlowSettings) -> set[str]:
    kind: Any = FLOWS[settings.kind]
    return {field.name for field in dataclasses.fields(kind)}
