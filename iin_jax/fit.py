"""From arrays, or from a network with images and labels, to an Interpreter."""

import dataclasses
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from iin_jax.concepts import factor_scores, factor_sizes, pair_table, pairs_from_labels
from iin_jax.data.latents import check_finite, encode_all
from iin_jax.factors import RESIDUAL, FactorLayout
from iin_jax.flows import InterpretationFlow
from iin_jax.flows.base import check_even
from iin_jax.interpreter import Interpreter, check_fits
from iin_jax.losses import check_sigma, gaussian_reference, pair_term, weighted_sum
from iin_jax.networks import Network
from iin_jax.networks.base import check_image_values
from iin_jax.training.checkpoints import Checkpoints
from iin_jax.training.flow_step import (
    CachedLatents,
    LatentPairs,
    draw_arrays,
    draw_cached,
    flow_metrics,
    flow_step,
    similarity,
)
from iin_jax.training.log import MetricsLog
from iin_jax.training.loop import train
from iin_jax.training.optim import Schedule, adam
from iin_jax.training.parallel import Draw, Runner
from iin_jax.training.state import TrainState
from iin_jax.types import Images, Latents, Shared

INIT_PAIRS = 2048  # pairs whose 4,096 halves whiten the flow's ActNorms
INIT_STEP = 2**31  # stands for a step in their key: no training step has it
SIMILARITY_RATE = 10.0  # factor on the learning rate of a learned similarity
FIT_RATE_PER_EXAMPLE = 4e-6  # 1e-3 at a batch of 256


@dataclasses.dataclass(frozen=True)
class FlowTraining:
    """How a flow is trained.

    Attributes:
      schedule: steps and learning rate.
      batch_size: pairs per step, over all devices.
      sigma: similarity of pairs; None: learned, one per factor.
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


def fit_flow(
    flow: InterpretationFlow,
    layout: FactorLayout,
    draw: Draw,
    data: Any,
    training: FlowTraining,
    *,
    validation: Any = None,
    checkpoints: Checkpoints | None = None,
    log: MetricsLog | None = None,
    progress: str | None = None,
) -> Interpreter:
    """Trains T on drawn pairs; what ``fit``, ``interpret`` and experiments share.

    Args:
      flow, layout: T and its factors.
      draw: (data, key, examples) -> ``LatentPairs``.
      data: arrays that ``draw`` reads; every device gets a copy.
      training: how.
      validation: the like for a held-out loss; None: no validation.
      checkpoints, log, progress: as in ``training.loop.train``.
    """
    check_fits(flow.dim, layout, None)
    sigma = training.sigma
    if sigma is not None:
        if np.ndim(sigma):
            raise ValueError(
                f"sigma is one number, or None to learn one per factor; got {sigma}"
            )
        check_sigma(sigma)
        training = dataclasses.replace(training, sigma=float(sigma))
    loss = weighted_sum({"pairs": (1.0, pair_term(layout))})
    tx = adam(
        training.schedule, training.batch_size, fast={"similarity": SIMILARITY_RATE}
    )
    z = _first_latents(draw, data, training.seed)
    state = _initial_state(flow, layout, z, training, tx)
    reference = {"gaussian_bits_per_dim": gaussian_reference(z, z)}
    runner = Runner(
        flow_step(flow, loss, tx, training.sigma),
        draw,
        data,
        state,
        batch_size=training.batch_size,
        seed=training.seed,
        accumulate=training.accumulate,
        mode=training.parallel,
    )

    @jax.jit
    def measure(state, key, validation):
        batch = draw(validation, key, jnp.arange(INIT_PAIRS))
        arguments = (training.sigma, state.params, state.constants, batch)
        return flow_metrics(flow, loss, *arguments)[1]

    def validate(state: TrainState) -> dict[str, float]:
        key = jax.random.key(training.seed + 1)
        metrics = measure(state, key, validation)
        return {name: float(x) for name, x in metrics.items()}

    state = train(
        runner,
        state,
        training.schedule.steps,
        checkpoint_every=training.checkpoint_every,
        checkpoints=checkpoints,
        log=log,
        validate=None if validation is None else validate,
        progress=progress,
        beside=reference,
    )
    variables = {"params": state.params["flow"], "constants": state.constants}
    sigma = training.sigma
    if sigma is None:
        learned = np.asarray(similarity(state.params, None))
        sigma = tuple(float(value) for value in learned.ravel())
    return Interpreter(flow, variables, layout, None, sigma)


def fit(
    za: Latents,
    zb: Latents,
    shared: Shared,
    layout: FactorLayout,
    sigma: float | None = 0.975,
    flow: InterpretationFlow | None = None,
    steps: int = 2000,
    batch_size: int = 256,
    seed: int = 0,
    *,
    rate_per_example: float = FIT_RATE_PER_EXAMPLE,
    progress: bool = True,
) -> Interpreter:
    """Trains T on pairs of latents, given as arrays of any framework.

    Args:
      za, zb: (n, N), latents of the two halves of each pair; any values.
      shared: bool (n, K+1), which factors a pair shares; columns in layout order.
      layout: names and sizes, summing to N.
      sigma: similarity of pairs, in (0, 1); None: learned, one per factor.
      flow: T; None: the published one, 12 blocks of width 512.
      steps: training steps; the learning rate falls linearly over the last 70 %.
      batch_size: pairs per step.
      seed: of everything random.
      rate_per_example: peak learning rate over the batch size.
      progress: shows a bar with the time left.

    Returns:
      An Interpreter without a network: attach one with ``with_network``.

    Raises:
      ValueError: empty arrays, unlike lengths, NaN, odd N, sizes that do not sum to N,
        sigma outside (0, 1).
    """
    za, zb = _latents(za, "za"), _latents(zb, "zb")
    shared = np.asarray(shared)
    if za.shape != zb.shape or shared.shape[:1] != za.shape[:1]:
        raise ValueError(
            f"za, zb and shared must be of one length, za and zb of one shape; got "
            f"{za.shape}, {zb.shape} and {shared.shape}"
        )
    if shared.dtype != bool or shared.shape != (len(za), len(layout)):
        raise ValueError(
            f"shared must be bool of shape {(len(za), len(layout))}, one column per "
            f"factor of {layout}; got {shared.dtype} of shape {shared.shape}"
        )
    flow = _flow_for(za.shape[1], flow)
    check_fits(flow.dim, layout, None)
    _warn_of_constants(np.concatenate([za, zb]))
    data = LatentPairs(*map(jnp.asarray, (za, zb, shared)))
    schedule = Schedule(steps, rate_per_example, warmup=0.03, decay_start=0.3)
    training = FlowTraining(schedule, batch_size, sigma, seed)
    label = "flow" if progress else None
    return fit_flow(flow, layout, draw_arrays, data, training, progress=label)


def interpret(
    network: Network,
    images: Images,
    labels: Mapping[str, np.ndarray],
    seed: int = 0,
    *,
    layout: FactorLayout | None = None,
    estimator: str = "pooled",
    differ: Iterable[str] = (),
    identity: np.ndarray | None = None,
    sigma: float | None = 0.975,
    flow: InterpretationFlow | None = None,
    steps: int = 2000,
    batch_size: int = 256,
    rate_per_example: float = FIT_RATE_PER_EXAMPLE,
    progress: bool = True,
) -> Interpreter:
    """Encodes images, forms pairs from labels, estimates the sizes and trains T.

    Args:
      network: frozen.
      images: (n, H, W, C) in [-1, 1], values and size as the network takes them.
      labels: concept -> discrete values, (n,) each.
      seed: of everything random.
      layout: sizes of the labels, in their order, and of the residual, last; None:
        estimated from 10,000 pairs.
      estimator: of the sizes, as in ``concepts.factor_scores``.
      differ, identity: further pairs, as in ``concepts.pair_table``.
      sigma, flow, steps, batch_size, rate_per_example, progress: as in ``fit``.

    Raises:
      ValueError: images outside [-1, 1], labels of another length, a value that can
        form no pair, and all that ``fit`` raises.
    """
    images = np.asarray(images)
    check_image_values(images)
    for name, column in labels.items():
        if len(column) != len(images):
            raise ValueError(
                f"concept {name!r} has {len(column)} labels for {len(images)} images"
            )
    table = pair_table(labels, differ=differ, identity=identity)
    dim = int(np.prod(network.latent_shape))
    flow = _flow_for(dim, flow)
    label = "encode" if progress else None
    cache = encode_all(network, lambda part: images[part], len(images), progress=label)
    if layout is None:
        pairs = pairs_from_labels(labels, 10_000, seed)
        scores = factor_scores(
            cache.mean[pairs.a],
            cache.mean[pairs.b],
            pairs.concept,
            tuple(labels),
            estimator,
            seed=seed,
        )
        layout = factor_sizes(scores, dim)
    expected = (*labels, RESIDUAL)
    if layout.names != expected:
        raise ValueError(
            f"the layout's factors must be the labels, in order, then the residual: "
            f"{list(expected)}; got {list(layout.names)}"
        )
    check_fits(flow.dim, layout, network)
    _warn_of_constants(cache.mean)
    data = CachedLatents(jnp.asarray(cache.mean), jnp.asarray(cache.log_var), table)
    schedule = Schedule(steps, rate_per_example, warmup=0.03, decay_start=0.3)
    training = FlowTraining(schedule, batch_size, sigma, seed)
    label = "flow" if progress else None
    fitted = fit_flow(flow, layout, draw_cached, data, training, progress=label)
    return fitted.with_network(network)


def _first_latents(draw: Draw, data: Any, seed: int) -> Latents:
    """Both halves of ``INIT_PAIRS`` pairs, (2 INIT_PAIRS, N)."""
    key = jax.random.fold_in(jax.random.key(seed), INIT_STEP)
    batch = jax.jit(draw)(data, key, jnp.arange(INIT_PAIRS))
    return jnp.concatenate([batch.z_a, batch.z_b])


def _initial_state(flow, layout, z, training, tx) -> TrainState:
    # eager: under jit the flow's init would compile five times as long
    variables = flow.init(jax.random.key(training.seed), z)
    params = {"flow": variables["params"]}
    if training.sigma is None:
        params["similarity"] = jnp.full((1, len(layout)), 2.0)
    return TrainState.create(tx, params, variables["constants"])


def _latents(z: Any, name: str) -> np.ndarray:
    z = np.asarray(z, np.float32)
    if z.ndim != 2 or z.size == 0:
        raise ValueError(f"{name} must be (n, N) with n >= 1; got shape {z.shape}")
    check_finite(z, f"{name} latent")
    return z


def _flow_for(dim: int, flow: InterpretationFlow | None) -> InterpretationFlow:
    check_even(dim)
    return InterpretationFlow(dim=dim) if flow is None else flow


def _warn_of_constants(z: np.ndarray) -> None:
    constant = np.flatnonzero(z.std(axis=0) <= 1e-6 * max(z.std(), 1e-30))
    if constant.size:
        warnings.warn(
            f"{constant.size} of {z.shape[1]} latent components never vary (first: "
            f"{constant[0]}); a flow has no density there: drop them or add noise",
            stacklevel=3,
        )
