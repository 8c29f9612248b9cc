"""The flow's training from beginning to end, on whatever latents are drawn."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from iin_jax.concepts.closed_form import Start
from iin_jax.concepts.map_view import MapWhitening
from iin_jax.concepts.similarity import pair_similarities
from iin_jax.concepts.whitening import Whitening, fit_whitening
from iin_jax.factors import FactorLayout
from iin_jax.flows import Bijector, StartedFlow
from iin_jax.flows.linear_start import arrangement, joined_variables, start_arrays
from iin_jax.flows.map_start import start_of
from iin_jax.linen import apply
from iin_jax.losses import (
    Loss,
    WeightedSum,
    check_sigma,
    pair_loss,
    sample_loss,
    summed,
    wrong_share,
)
from iin_jax.networks import Network
from iin_jax.training.checkpoints import Checkpoints
from iin_jax.training.flow_start import INIT_STEP, first_batch, first_state
from iin_jax.training.flow_step import (
    FlowObjective,
    LatentPairs,
    objective_of_data,
    similarity,
    started_feed,
)
from iin_jax.training.flow_validation import (
    Validation,
    choice_of,
    held_out_batch,
    held_out_figures,
    record_of,
)
from iin_jax.training.log import MetricsLog
from iin_jax.training.loop import TrainingInterrupt, train
from iin_jax.training.optim import Schedule, adam
from iin_jax.training.parallel import Feed, Runner, Step
from iin_jax.training.state import TrainState
from iin_jax.training.step import gradient_step
from iin_jax.types import Tree

SIMILARITY_BATCHES = 4  # batches of 2,048 pairs that similarities are estimated from
LEAST_LOST = 0.01  # least share of held-out swaps that training lost if T_0 is kept
ERRORS_LOST = 2.0  # the same in standard errors
HIGHEST_FLOOR = 0.95  # highest lower bound of a learned similarity
SIMILARITY_RATE = 10.0  # factor on the learning rate of a learned similarity

Similarity = float | tuple[float, ...] | None


@dataclasses.dataclass(frozen=True)
class FlowPlan:
    """How a flow is trained, every number known; see ``defaults.Training``.

    Attributes:
      schedule: steps and learning rate.
      batch_size: pairs (or single latents) per step, over all devices.
      sigma: similarity of pairs, one number or one per factor; None: learned, one per
        factor. Graded concepts have less in pairs that differ more.
      seed: of initialisation, pairs and noise.
      accumulate, parallel: as in ``training.parallel.Runner``.
      checkpoint_every: steps between checkpoints and validations.
      noise: standard deviation of what is added, at first, to latents that went through
        a linear start, where their own is 1; none in the last tenth of the steps.
      decay: decoupled weight decay of matrices, times the learning rate.
      patience: validations without a better state that end the training.
    """

    schedule: Schedule
    batch_size: int
    sigma: Similarity = 0.975
    seed: int = 0
    accumulate: int = 1
    parallel: str = "jit"
    checkpoint_every: int = 500
    noise: float = 0.0
    decay: float = 0.0
    patience: int = 10


class Trained(NamedTuple):
    """What a training gives.

    Attributes:
      flow: T; a ``StartedFlow`` where a linear start stands before it.
      variables: of T.
      sigma: the given similarity, or the learned ones of all factors.
      record: figures of the kept state: ``step``, ``steps``, and, as far as they were
        measured, ``held_out_bits_per_dim``, ``gaussian_bits_per_dim``,
        ``start_bits_per_dim``, ``separation`` and ``start_separation``; where swaps
        decided, also ``swaps`` and ``start_swaps``, the shares of right ones by what
        was trained and by T_0.
    """

    flow: Bijector
    variables: Tree
    sigma: Similarity
    record: dict[str, float]


def train_flow(
    flow: Bijector,
    layout: FactorLayout,
    feed: Feed,
    plan: FlowPlan,
    *,
    start: Start | None = None,
    loss: Loss | None = None,
    network: Network | None = None,
    validation: Feed | None = None,
    gaussian: Whitening | MapWhitening | None = None,
    swaps: Callable[[Trained], np.ndarray] | None = None,
    checkpoints: Checkpoints | None = None,
    log: MetricsLog | None = None,
    progress: str | None = None,
) -> Trained:
    """Trains T on drawn latents.

    Args:
      flow, layout: T and its factors.
      feed: draws ``LatentPairs`` or, if the layout is the residual alone,
        ``LatentSamples``.
      plan: every number of the training.
      start: a linear start T_0; then the state is kept whose held-out loss, at one
        similarity, is lowest among those with neither more bits per dimension nor less
        separation than T_0, within its sampling error; T_0 is a candidate itself.
        None: the flow begins as its ``init`` has it, and the last state is kept.
      loss: a function of the layout that gives a term; None: the likelihood of pairs,
        or of single latents.
      network: for a loss that looks through E and G; its variables are those of the
        feeds' data.
      validation: as ``feed``, for held-out figures; None: no validation, and no choice
        of a state.
      gaussian: a reference for held-out figures, fitted to the training latents; None:
        fitted to the first batch.
      swaps: T -> which held-out swaps are right, (n,) of 0 and 1; T_0 is kept if what
        was trained has fewer, by more than 0.01 and two standard errors. None: no such
        check.
      checkpoints, log, progress: as in ``training.loop.train``.

    Raises:
      ValueError: sigma outside (0, 1), concepts without pairs, or what is no loss.
      TrainingInterrupt: Ctrl-C without checkpoints, with what was trained so far.
    """
    plan = _checked(plan, layout)
    batch = first_batch(feed, plan.seed)
    z, beside = batch.latents(), {}
    if validation is not None:
        unseen = held_out_batch(validation, plan.seed).latents()
        fitted = fit_whitening(z) if gaussian is None else gaussian
        beside = {"gaussian_bits_per_dim": fitted.bits_per_dim(unseen)}
    arranged = None if start is None else _arranged(flow, start, plan.seed)
    if arranged is not None:
        z = arranged.through(z)
    constants = {} if arranged is None else arranged.constants
    noisy = arranged is not None and plan.noise > 0
    raw, feed = feed, started_feed(feed, constants, noisy=noisy)
    objective = FlowObjective(
        flow,
        minimised(loss, layout, paired=isinstance(batch, LatentPairs)),
        plan.sigma,
        plan.noise if start is not None else 0.0,
        plan.schedule.steps,
        _floor(start, layout, plan.sigma),
        0.0 if arranged is None else arranged.log_det,
        network,
    )
    feed = feed._replace(data=feed.data._replace(objective=objective))
    state, step = _state_and_step(flow, layout, z, plan)
    if loss is not None:
        _check_loss(objective, state, batch, feed.data)
    validated = None
    if validation is not None:
        choice = None if start is None else choice_of(layout, plan.patience)
        validation = started_feed(validation, constants, noisy=False)
        measure = held_out_figures(objective, layout, validation, plan.seed)
        validated = Validation(measure, choice)
    run = _runner(plan, step, feed, state)
    sinks = {"checkpoints": checkpoints, "log": log, "progress": progress}
    try:
        state, record = _run(run, state, plan, validated, beside, sinks)
    except TrainingInterrupt as stopped:
        so_far = stopped.result
        stopped.result = _trained(flow, objective, so_far, start, arranged, {})
        raise
    trained = _trained(flow, objective, state, start, arranged, record)
    if swaps is not None and start is not None and record.get("step"):
        first = _state_and_step(flow, layout, z, plan)[0]
        initial = _trained(flow, objective, first, start, arranged, record)
        trained = _unless_swaps_are_worse(trained, initial, swaps)
    if plan.sigma is None and objective.noise and isinstance(batch, LatentPairs):
        wrong = wrong_share(objective.loss)
        sigma = _sigma_without_noise(trained, raw, layout, plan.seed, wrong)
        return trained._replace(sigma=sigma)
    return trained


def _unless_swaps_are_worse(
    trained: Trained, initial: Trained, swaps: Callable[[Trained], np.ndarray]
) -> Trained:
    """What was trained, or T before training if its held-out swaps are better.

    A lower loss does not say so: where latents pile up, as at the 0 of a ReLU, a flow
    may win any number of bits there while what it swaps lies elsewhere.
    """
    ours, theirs = swaps(trained), swaps(initial)
    lost = theirs - ours
    error = lost.std() / math.sqrt(len(lost))
    figures = {"swaps": float(ours.mean()), "start_swaps": float(theirs.mean())}
    record = trained.record | figures
    if lost.mean() <= max(LEAST_LOST, ERRORS_LOST * error):
        return trained._replace(record=record)
    names = {"held_out_bits_per_dim": "bits_per_dim", "separation": "separation"}
    before = {key: record[f"start_{name}"] for key, name in names.items()}
    return initial._replace(record=record | before | {"step": 0})


def _state_and_step(
    flow: Bijector, layout: FactorLayout, z: Any, plan: FlowPlan
) -> tuple[TrainState, Step]:
    """The state before the first step, and the step."""
    tx = adam(
        plan.schedule,
        plan.batch_size,
        fast=(("similarity", SIMILARITY_RATE),),
        decay=plan.decay,
    )
    learned = len(layout) if plan.sigma is None else 0
    state = first_state(flow, z, tx, plan.seed, similarities=learned)
    return state, gradient_step(objective_of_data, tx)


def _run(
    runner: Runner,
    state: TrainState,
    plan: FlowPlan,
    validated: Validation | None,
    beside: dict[str, float],
    sinks: Mapping[str, Any],
) -> tuple[TrainState, dict[str, float]]:
    """All steps; the kept state, and its figures."""
    validate = None if validated is None else validated.validate
    before = {} if validate is None else validate(state)
    state = train(
        runner,
        state,
        plan.schedule.steps,
        checkpoint_every=plan.checkpoint_every,
        validate=validate,
        beside=beside,
        choice=None if validated is None else validated.choice,
        **sinks,
    )
    after = {} if validate is None else validate(state)
    return state, {**beside, **record_of(state, before, after)}


def _runner(plan: FlowPlan, step: Step, feed: Feed, state: TrainState) -> Runner:
    return Runner(
        step,
        feed,
        state,
        batch_size=plan.batch_size,
        seed=plan.seed,
        accumulate=plan.accumulate,
        mode=plan.parallel,
    )


def minimised(loss: Loss | None, layout: FactorLayout, *, paired: bool) -> WeightedSum:
    """The loss of a layout, as a sum of named terms.

    Args:
      loss: a function of the layout that gives a term; None: the likelihood.
      layout: the factors.
      paired: examples are pairs, not single latents.

    Raises:
      ValueError: what is no such function.
    """
    if loss is None:
        return (pair_loss if paired else sample_loss)(layout)
    if isinstance(loss, WeightedSum) or not callable(loss):
        raise ValueError(
            "loss is a function of the layout that returns a term, so that it knows "
            "the sizes: loss=lambda layout: losses.weighted_sum({...})"
        )
    return summed(loss(layout))


def _check_loss(
    objective: FlowObjective, state: TrainState, batch: Any, data: Any
) -> None:
    """Raises ValueError for a user's loss that has not one value per example."""

    def loss(params, constants, batch, data):
        outputs = objective.outputs(params, constants, batch, data=data)[2]
        return objective.loss(outputs)

    shape = jax.eval_shape(loss, state.params, state.constants, batch, data).shape
    if len(shape) != 1:
        raise ValueError(f"a loss has one value per example, (B,); got shape {shape}")


def _trained(
    flow: Bijector,
    objective: FlowObjective,
    state: TrainState,
    start: Start | None,
    arranged: "_Arranged | None",
    record: dict[str, float],
) -> Trained:
    """What a finished state gives, behind its linear start if there is one."""
    variables = {"params": state.params["flow"], "constants": state.constants}
    sigma = objective.sigma
    if sigma is None:
        learned = np.asarray(similarity(state.params, None, objective.floor))
        sigma = tuple(learned.ravel().tolist())
    if start is None or arranged is None:
        return Trained(flow, variables, sigma, record)
    joined = joined_variables(start.constants, arranged.order, variables)
    return Trained(StartedFlow(flow), joined, sigma, record)


def _sigma_without_noise(
    trained: Trained, feed: Feed, layout: FactorLayout, seed: int, wrong: float
) -> tuple[float, ...]:
    """Similarities estimated anew, since they were learned under noise, per factor.

    Over training pairs, of which a share may be wrong; as learned where no pair shares
    a factor.
    """
    count = SIMILARITY_BATCHES if feed.stream is None else 1
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), INIT_STEP), count)
    drawn = [first_batch(feed, seed, key) for key in keys]

    def translated(halves: list[Any]) -> np.ndarray:
        parts = [apply(trained.flow, trained.variables, z)[0] for z in halves]
        return np.concatenate([np.asarray(part) for part in parts])

    return pair_similarities(
        translated([x.z_a for x in drawn]),
        translated([x.z_b for x in drawn]),
        np.concatenate([np.asarray(x.shared) for x in drawn]),
        layout,
        wrong=wrong,
        otherwise=np.ravel(np.asarray(trained.sigma)),
    )


class _Arranged(NamedTuple):
    """T_0 with its columns where the flow's shuffles take them from."""

    constants: Tree
    order: np.ndarray
    log_det: float

    def through(self, z: Any) -> Any:
        """Latents after T_0."""
        return apply(start_of(self.constants), {"constants": self.constants}, z)[0]


def _arranged(flow: Bijector, start: Start, seed: int) -> _Arranged:
    dim = flow.dim
    variables = flow.init(jax.random.key(seed), jnp.zeros((2, dim)))
    order = arrangement(flow, variables, dim)
    order = np.arange(dim) if order is None else np.asarray(order)
    module = start_of(start.constants)
    constants = module.arranged(start_arrays(start.constants), order)
    _, log_det = apply(module, {"constants": constants}, jnp.zeros((1, dim)))
    return _Arranged(constants, order, float(log_det[0]))


def _floor(
    start: Start | None, layout: FactorLayout, sigma: Similarity
) -> tuple[float, ...] | None:
    """What a learned similarity never falls below: where the start had it."""
    if start is None or sigma is not None:
        return None
    return tuple(
        min(start.sigma.get(name, 0.0), HIGHEST_FLOOR) for name in layout.names
    )


def _checked(plan: FlowPlan, layout: FactorLayout) -> FlowPlan:
    sigma = plan.sigma
    if sigma is None:
        if not layout.concepts:
            raise ValueError(
                "without concepts no similarity can be learned; give sigma a number"
            )
        return plan
    if np.ndim(sigma) and np.shape(sigma) != (len(layout),):
        raise ValueError(
            f"sigma is one number, one per factor ({len(layout)}), or None to learn "
            f"one per factor; got {sigma}"
        )
    check_sigma(sigma)
    values = np.asarray(sigma, float)
    plain = tuple(values.tolist()) if values.ndim else float(values)
    return dataclasses.replace(plan, sigma=plain)
