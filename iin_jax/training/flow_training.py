"""The flow's training from beginning to end, on whatever latents are drawn."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from iin_jax.factors import FactorLayout
from iin_jax.flows import InterpretationFlow
from iin_jax.losses import check_sigma, gaussian_reference
from iin_jax.training.checkpoints import Checkpoints
from iin_jax.training.flow_start import (
    INIT_LATENTS,
    draw_many,
    examples_for,
    first_batch,
    first_state,
    first_streamed_batch,
)
from iin_jax.training.flow_step import flow_metrics, flow_step, similarity
from iin_jax.training.log import MetricsLog
from iin_jax.training.loop import train
from iin_jax.training.optim import Schedule, adam
from iin_jax.training.parallel import Draw, Runner, Stream
from iin_jax.training.state import TrainState
from iin_jax.types import Tree

SIMILARITY_RATE = 10.0  # factor on the learning rate of a learned similarity


@dataclasses.dataclass(frozen=True)
class FlowTraining:
    """How a flow is trained.

    Attributes:
      schedule: steps and learning rate.
      batch_size: pairs (or single latents) per step, over all devices.
      sigma: similarity of pairs; None: learned, one per factor. Graded concepts have
        less in pairs that differ more.
      seed: of initialisation, pairs and noise.
      accumulate, parallel: as in ``training.parallel.Runner``.
      checkpoint_every: steps between checkpoints and validations.
    """

    schedule: Schedule
    batch_size: int
    sigma: float | None = 0.975
    seed: int = 0
    accumulate: int = 1
    parallel: str = "jit"
    checkpoint_every: int = 500


def train_flow(
    flow: InterpretationFlow,
    layout: FactorLayout,
    draw: Draw,
    data: Any,
    training: FlowTraining,
    *,
    validation: Any = None,
    draw_validation: Draw | None = None,
    stream: Stream | None = None,
    checkpoints: Checkpoints | None = None,
    log: MetricsLog | None = None,
    progress: str | None = None,
) -> tuple[Tree, float | tuple[float, ...]]:
    """Trains T on drawn latents.

    Args:
      flow, layout: T and its factors.
      draw: (data, key, examples) -> ``LatentPairs`` or, if the layout is the residual
        alone, ``LatentSamples``.
      data: arrays that ``draw`` reads; every device gets a copy.
      training: how.
      validation: the like for a held-out loss; None: no validation.
      draw_validation: what reads it; None: ``draw``.
      stream: as in ``training.parallel.Runner``; ``draw`` then reads ``Streamed``.
      checkpoints, log, progress: as in ``training.loop.train``.

    Returns:
      T's variables, and the similarity: the given one, or the learned ones of all
      factors.

    Raises:
      ValueError: sigma outside (0, 1), or concepts without pairs.
    """
    training = _checked(training, layout)
    if stream is None:
        batch = first_batch(draw, data, training.seed)
    else:
        numbers = (training.seed, stream, training.batch_size)
        batch = first_streamed_batch(draw, data, *numbers)
    loss, z = type(batch).loss(layout), batch.latents()
    tx = adam(
        training.schedule, training.batch_size, fast={"similarity": SIMILARITY_RATE}
    )
    learned = len(layout) if training.sigma is None else 0
    state = first_state(flow, z, tx, training.seed, similarities=learned)
    runner = Runner(
        flow_step(flow, loss, tx, training.sigma),
        draw,
        data,
        state,
        batch_size=training.batch_size,
        seed=training.seed,
        accumulate=training.accumulate,
        mode=training.parallel,
        stream=stream,
    )
    validate = None
    if validation is not None:
        measure = jax.jit(functools.partial(flow_metrics, flow, loss, training.sigma))
        validate = _validation(
            measure, draw_validation or draw, validation, training.seed + 1
        )
    state = train(
        runner,
        state,
        training.schedule.steps,
        checkpoint_every=training.checkpoint_every,
        checkpoints=checkpoints,
        log=log,
        validate=validate,
        progress=progress,
        beside={"gaussian_bits_per_dim": gaussian_reference(z, z)},
    )
    variables = {"params": state.params["flow"], "constants": state.constants}
    sigma = training.sigma
    if sigma is None:
        found = np.asarray(similarity(state.params, None))
        sigma = tuple(float(value) for value in found.ravel())
    return variables, sigma


def _checked(training: FlowTraining, layout: FactorLayout) -> FlowTraining:
    sigma = training.sigma
    if sigma is None:
        if not layout.concepts:
            raise ValueError(
                "without concepts no similarity can be learned; give sigma a number"
            )
        return training
    if np.ndim(sigma):
        raise ValueError(
            f"sigma is one number, or None to learn one per factor; got {sigma}"
        )
    check_sigma(sigma)
    return dataclasses.replace(training, sigma=float(sigma))


def _validation(
    measure: Callable, draw: Draw, data: Any, seed: int
) -> Callable[[TrainState], dict[str, float]]:
    """The held-out loss: the same examples and noise at every call."""
    drawn = draw_many(draw)
    count = examples_for(draw, data, INIT_LATENTS)

    def validate(state: TrainState) -> dict[str, float]:
        batch = drawn(data, jax.random.key(seed), count)
        _, metrics = measure(state.params, state.constants, batch)
        return {name: float(x) for name, x in metrics.items()}

    return validate
