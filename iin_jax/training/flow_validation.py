"""Held-out figures of a flow while it trains, and the choice of a state by them."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from iin_jax.concepts.separation import separation
from iin_jax.concepts.similarity import LEAST_SIMILARITY
from iin_jax.factors import FactorLayout
from iin_jax.flows.feature_map import positions_of
from iin_jax.losses import PairOutputs
from iin_jax.training.flow_start import first_batch
from iin_jax.training.flow_step import FlowObjective, Started
from iin_jax.training.loop import Choice
from iin_jax.training.parallel import Feed
from iin_jax.training.state import TrainState
from iin_jax.types import Tree

# Share of the separation that is its standard error, sqrt(sum rho^2 / images) over the
# correlations rho of all components: about 0.2 of 7.2 on the 179 held-out digits.
SEPARATION_ERROR = 0.03


class Validation(NamedTuple):
    """Figures of a state by name, and which state is kept; choice None: the last."""

    validate: Callable[[TrainState], dict[str, float]]
    choice: Choice | None


def choice_of(layout: FactorLayout, patience: int) -> Choice:
    """Least loss with no more bits, and no less separation, than the first state."""
    limited = {"bits_per_dim": 0.0}
    if layout.concepts:
        limited["confusion"] = SEPARATION_ERROR
    return Choice("loss", limited, patience)


def held_out_batch(feed: Feed, seed: int) -> Any:
    """The examples that every validation of a training measures."""
    return first_batch(feed, seed, jax.random.key(seed + 1))


def held_out_figures(
    objective: FlowObjective,
    layout: FactorLayout,
    feed: Feed,
    seed: int,
) -> Callable[[TrainState], dict[str, float]]:
    """Held-out figures: the same examples, noise and similarity at every call.

    A similarity that is learned is held where the start had it: it would lower the loss
    by loosening the factors.
    """
    if objective.sigma is None and objective.floor is not None:
        fixed = tuple(max(x, LEAST_SIMILARITY) for x in objective.floor)
        objective = dataclasses.replace(objective, sigma=fixed)
    batch = held_out_batch(feed, seed)

    def validate(state: TrainState) -> dict[str, float]:
        arrays = (state.params, state.constants, batch, feed.data)
        metrics = _measure(layout, objective, *arrays)
        return {name: float(x) for name, x in metrics.items()}

    return validate


@functools.partial(jax.jit, static_argnums=0)
def _measure(
    layout: FactorLayout,
    objective: FlowObjective,
    params: Tree,
    constants: Tree,
    batch: Any,
    data: Started,
) -> dict[str, Any]:
    results = objective.outputs(params, constants, batch, data=data)
    metrics, outputs = objective.metrics_of(*results)[1], results[2]
    if isinstance(outputs, PairOutputs):
        halves = (outputs.z_tilde_a, outputs.z_tilde_b, outputs.shared)
        positions = positions_of(objective.flow) or 1
        metrics["separation"] = separation(*halves, layout, positions)
        metrics["confusion"] = -metrics["separation"]
    return metrics


def record_of(
    state: TrainState, before: Mapping[str, float], after: Mapping[str, float]
) -> dict[str, float]:
    """Figures of the kept state, and of the first beside them."""
    step = state.best["step"] if state.best else state.step
    record: dict[str, float] = {"steps": int(state.step), "step": int(step)}
    for name, key in {
        "bits_per_dim": "held_out_bits_per_dim",
        "separation": "separation",
    }.items():
        if name in after:
            record[key] = after[name]
            record[f"start_{name}"] = before[name]
    return record
