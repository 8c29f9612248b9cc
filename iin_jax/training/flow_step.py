"""One step of the flow's training on latents; pure, in global view.

A batch is ``LatentPairs`` or, without concepts, ``LatentSamples``: each knows which
latents the flow reads and which loss suits them.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from iin_jax.concepts.labels import PairTable, draw_pairs, pair_sigma
from iin_jax.factors import RESIDUAL, FactorLayout
from iin_jax.flows import InterpretationFlow
from iin_jax.flows.base import apply
from iin_jax.flows.linear_start import LinearStart
from iin_jax.losses import (
    PairOutputs,
    SampleOutputs,
    WeightedSum,
    bits_per_dim,
    gaussian_nll,
    gaussian_term,
    pair_term,
    weighted_sum,
)
from iin_jax.training.parallel import (
    Draw,
    Metrics,
    Step,
    Streamed,
    mean_gradients,
)
from iin_jax.training.state import TrainState
from iin_jax.types import Array, Key, Latents, LogDet, Shared, Tree

MAX_SIMILARITY = 0.9995  # of a learned one: at 1 the likelihood has no bound
NOISE_STREAM = 2**31 + 1  # folded into a batch's key; larger than any example index
QUIET = 0.9  # share of the steps over which the noise on latents fades to none

# indices (b,) of entries -> mean and log-variance of their latents, (b, N) each
Posterior = Callable[[Array], tuple[Latents, Latents]]


class LatentPairs(NamedTuple):
    """A batch of pairs.

    Attributes:
      z_a, z_b: (B, N) each.
      shared: (B, K+1).
      sigma: (B, K+1), how similar each pair is at most in each factor, where concepts
        are graded; None: all pairs as similar as the step says.
      noise: (B, 2, N), standard normal, for both halves; None: none is ever added.
    """

    z_a: Latents
    z_b: Latents
    shared: Shared
    sigma: Array | None = None
    noise: Array | None = None

    def latents(self, noise_scale: float | Array = 0.0) -> Latents:
        """Both halves, (2B, N), with so much of the noise."""
        z = jnp.concatenate([self.z_a, self.z_b])
        if self.noise is None:
            return z
        noise = jnp.concatenate([self.noise[:, 0], self.noise[:, 1]])
        return z + noise_scale * noise

    def outputs(self, z_tilde: Latents, log_det: LogDet, sigma: Array) -> PairOutputs:
        """What the flow made of ``latents()``, with the step's similarity."""
        count = len(self.shared)
        chex.assert_shape([self.z_a, self.z_b], (count, z_tilde.shape[1]))
        if self.sigma is not None:
            sigma = jnp.minimum(sigma, self.sigma)
        halves = (z_tilde[:count], z_tilde[count:], log_det[:count], log_det[count:])
        return PairOutputs(*halves, self.shared, sigma)

    @staticmethod
    def loss(layout: FactorLayout) -> WeightedSum:
        """The loss of such batches."""
        return weighted_sum({"pairs": (1.0, pair_term(layout))})


class LatentSamples(NamedTuple):
    """A batch of single latents z, (B, N), for a flow without concepts.

    Attributes:
      z: (B, N).
      noise: (B, N), standard normal; None: none is ever added.
    """

    z: Latents
    noise: Array | None = None

    def latents(self, noise_scale: float | Array = 0.0) -> Latents:
        """All of them, (B, N), with so much of the noise."""
        return self.z if self.noise is None else self.z + noise_scale * self.noise

    def outputs(self, z_tilde: Latents, log_det: LogDet, sigma: Array) -> SampleOutputs:
        """What the flow made of ``latents()``; nothing here is similar to anything."""
        del sigma
        return SampleOutputs(z_tilde, log_det)

    @staticmethod
    def loss(layout: FactorLayout) -> WeightedSum:
        """The loss of such batches.

        Raises:
          ValueError: the layout has concepts.
        """
        if layout.concepts:
            raise ValueError(
                "single latents tell no concepts apart: without pairs the layout is "
                f"{{{RESIDUAL!r}: {layout.dim}}}; got {layout.as_dict()}"
            )
        return weighted_sum({"samples": (1.0, gaussian_term)})


class CachedLatents(NamedTuple):
    """Latents of a set's entries, from which batches are drawn.

    Attributes:
      mean, log_var: (n, N), the posterior; ``data.latents.NO_SPREAD`` stands for none.
      table: who can form a pair with whom; None where there are no concepts.
    """

    mean: Array
    log_var: Array
    table: PairTable | None = None


def draw_cached(data: CachedLatents, key: Key, examples: Array) -> LatentPairs:
    """Draws pairs and, for each half, a sample of its posterior."""
    if data.table is None:
        raise ValueError("pairs are drawn from a table; without one use draw_samples")
    return pairs_of(data.table, key, examples, functools.partial(_look_up, data))


def draw_samples(data: CachedLatents, key: Key, examples: Array) -> LatentSamples:
    """Draws entries, all equally likely, and a sample of each one's posterior."""
    look_up = functools.partial(_look_up, data)
    return samples_of(data.mean.shape[0], key, examples, look_up)


def draw_arrays(data: LatentPairs, key: Key, examples: Array) -> LatentPairs:
    """Draws examples from arrays of given pairs, with replacement."""
    indices = uniform_indices(data.z_a.shape[0], key, examples)
    return jax.tree.map(lambda array: array[indices], data)


class Started(NamedTuple):
    """What a draw reads, and the linear start T_0 that its latents go through.

    Attributes:
      data: of the draw.
      constants: of ``flows.LinearStart``.
    """

    data: Any
    constants: Tree


def draw_started(draw: Draw, dim: int, noisy: bool) -> Draw:
    """A draw whose latents have gone through T_0; it reads ``Started`` data.

    Args:
      draw: gives ``LatentPairs`` or ``LatentSamples`` of z.
      dim: N.
      noisy: the batch brings noise for the step to add.
    """
    start = LinearStart(dim)

    def drawn(data: Any, key: Key, examples: Array) -> LatentPairs | LatentSamples:
        if isinstance(data, Streamed):
            constants = data.resident.constants
            inner: Any = Streamed(data.resident.data, data.batch)
        else:
            constants, inner = data.constants, data.data
        batch = draw(inner, key, examples)
        variables = {"constants": constants}

        def through(z: Latents) -> Latents:
            return apply(start, variables, z)[0]

        noise_key = jax.random.fold_in(key, NOISE_STREAM)
        if isinstance(batch, LatentSamples):
            shape = (dim,)
            batch = batch._replace(z=through(batch.z))
        else:
            shape = (2, dim)
            batch = batch._replace(z_a=through(batch.z_a), z_b=through(batch.z_b))
        if not noisy:
            return batch
        return batch._replace(noise=_noise(noise_key, examples, shape))

    return drawn


def pairs_of(
    table: PairTable, key: Key, examples: Array, posterior: Posterior
) -> LatentPairs:
    """Draws pairs and samples of their posteriors, wherever these come from.

    Args:
      table: from ``concepts.pair_table``.
      key: of the batch.
      examples: (B,), indices in the global batch.
      posterior: called once, with the pairs' a and b in turn, (2B,).
    """
    pair_key, noise_key = jax.random.split(key)
    count = len(examples)
    index_a, index_b, shared = draw_pairs(table, pair_key, count, examples=examples)
    # a beside its b, so that a batch divided among devices stays where it is
    mean, log_var = posterior(jnp.stack([index_a, index_b], axis=1).reshape(-1))
    halves = (count, 2, mean.shape[1])
    eps = _noise(noise_key, examples, halves[1:])
    z = mean.reshape(halves) + jnp.exp(0.5 * log_var.reshape(halves)) * eps
    # 1 bounds no similarity: where concepts are not graded the step's own counts
    graded = table.scores is not None
    sigma = pair_sigma(table, index_a, index_b, 1.0) if graded else None
    return LatentPairs(z[:, 0], z[:, 1], shared, sigma)


def samples_of(
    entries: int, key: Key, examples: Array, posterior: Posterior
) -> LatentSamples:
    """Draws some of 0 .. entries - 1 and samples of their posteriors; see above."""
    index_key, noise_key = jax.random.split(key)
    mean, log_var = posterior(uniform_indices(entries, index_key, examples))
    eps = _noise(noise_key, examples, mean.shape[1:])
    return LatentSamples(mean + jnp.exp(0.5 * log_var) * eps)


def uniform_indices(entries: int, key: Key, examples: Array) -> Array:
    """One of 0 .. entries - 1 for every example, all equally likely, (B,)."""

    def index(example):
        return jax.random.bits(jax.random.fold_in(key, example)) % entries

    return jax.vmap(index)(examples)


@dataclasses.dataclass(frozen=True)
class FlowObjective:
    """What a step of the flow minimises.

    Attributes:
      flow: T, or the part of it that is trained.
      loss: a sum of terms of ``PairOutputs`` for pairs, of ``SampleOutputs`` for single
        latents; the batch's own ``loss(layout)``, or any other.
      sigma: similarity of pairs, a number or one per factor; None: learned per factor,
        from ``params["similarity"]`` (1, K+1), through a logistic function.
      noise: standard deviation of what is added to latents at the first step; it falls
        linearly, to none in the last tenth.
      steps: of the whole training.
      floor: least value of a learned similarity, per factor.
      log_det: of what latents have gone through before.
    """

    flow: InterpretationFlow
    loss: WeightedSum
    sigma: float | tuple[float, ...] | None
    noise: float = 0.0
    steps: int = 0
    floor: tuple[float, ...] | None = None
    log_det: float = 0.0

    def metrics(
        self,
        params: Tree,
        constants: Tree,
        batch: LatentPairs | LatentSamples,
        noise_scale: float | Array = 0.0,
    ) -> tuple[Array, Metrics]:
        """Mean loss over a batch, each term, and z's own bits per dimension."""
        return self.metrics_of(*self.outputs(params, constants, batch, noise_scale))

    def metrics_of(
        self, z_tilde: Latents, log_det: LogDet, outputs: PairOutputs | SampleOutputs
    ) -> tuple[Array, Metrics]:
        """``metrics`` of what ``outputs`` gave."""
        total = self.loss(outputs).mean()
        terms = {name: value.mean() for name, value in self.loss.terms(outputs).items()}
        marginal = bits_per_dim(gaussian_nll(z_tilde, log_det).mean(), self.flow.dim)
        return total, {**terms, "loss": total, "bits_per_dim": marginal}

    def outputs(
        self,
        params: Tree,
        constants: Tree,
        batch: LatentPairs | LatentSamples,
        noise_scale: float | Array = 0.0,
    ) -> tuple[Latents, LogDet, PairOutputs | SampleOutputs]:
        """z_tilde and log-determinants of all latents, and the batch's outputs."""
        variables = {"params": params["flow"], "constants": constants}
        z_tilde, log_det = apply(self.flow, variables, batch.latents(noise_scale))
        if self.log_det:
            log_det = log_det + self.log_det
        sigma = similarity(params, self.sigma, self.floor)
        return z_tilde, log_det, batch.outputs(z_tilde, log_det, sigma)

    def noise_at(self, step: Array) -> Array:
        """Standard deviation of the noise in a step."""
        return self.noise * jnp.maximum(0.0, 1.0 - step / (QUIET * self.steps))


def flow_step(objective: FlowObjective, tx: optax.GradientTransformation) -> Step:
    """The step for an objective and an optimiser."""
    return functools.partial(_step, objective, tx)


def similarity(
    params: Tree,
    sigma: float | tuple[float, ...] | None,
    floor: tuple[float, ...] | None = None,
) -> Array:
    """The similarity that a step uses: scalar if given as one, else (1, K+1)."""
    if sigma is not None:
        given = jnp.asarray(sigma, jnp.float32)
        return given if given.ndim == 0 else given[None]
    share = jax.nn.sigmoid(params["similarity"])
    if floor is None:
        return MAX_SIMILARITY * share
    least = jnp.asarray(floor, jnp.float32)[None]
    return least + (MAX_SIMILARITY - least) * share


def _step(
    objective: FlowObjective,
    tx: optax.GradientTransformation,
    state: TrainState,
    batches: Any,
    axis_name: str | None,
    frozen: Tree,
) -> tuple[TrainState, Metrics]:
    del frozen  # whoever draws the batches has the network's variables
    noise = objective.noise_at(state.step) if objective.noise else 0.0

    def loss(params, batch):
        return objective.metrics(params, state.constants, batch, noise)

    gradients, metrics = mean_gradients(loss, state.params, batches, axis_name)
    return state.apply_gradients(tx, gradients), metrics


def _look_up(data: CachedLatents, index: Array) -> tuple[Latents, Latents]:
    return data.mean[index], data.log_var[index]


def _noise(key: Key, examples: Array, shape: tuple[int, ...]) -> Array:
    def one(example):
        return jax.random.normal(jax.random.fold_in(key, example), shape)

    return jax.vmap(one)(examples)
