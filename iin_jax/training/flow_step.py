"""One step of the flow's training on latents; pure, in global view.

A batch is ``LatentPairs`` or, without concepts, ``LatentSamples``: each knows which
latents the flow reads and which loss suits them.
"""

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
from iin_jax.training.parallel import Metrics, Step, mean_gradients
from iin_jax.training.state import TrainState
from iin_jax.types import Array, Key, Latents, LogDet, Shared, Tree

MAX_SIMILARITY = 0.9995  # of a learned one: at 1 the likelihood has no bound

# indices (b,) of entries -> mean and log-variance of their latents, (b, N) each
Posterior = Callable[[Array], tuple[Latents, Latents]]


class LatentPairs(NamedTuple):
    """A batch of pairs.

    Attributes:
      z_a, z_b: (B, N) each.
      shared: (B, K+1).
      sigma: (B, K+1), how similar each pair is at most in each factor, where concepts
        are graded; None: all pairs as similar as the step says.
    """

    z_a: Latents
    z_b: Latents
    shared: Shared
    sigma: Array | None = None

    def latents(self) -> Latents:
        """Both halves, (2B, N)."""
        return jnp.concatenate([self.z_a, self.z_b])

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
    """A batch of single latents z, (B, N), for a flow without concepts."""

    z: Latents

    def latents(self) -> Latents:
        """All of them, (B, N)."""
        return self.z

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


def flow_step(
    flow: InterpretationFlow,
    loss: WeightedSum,
    tx: optax.GradientTransformation,
    sigma: float | None,
) -> Step:
    """The step for a flow, a loss of its outputs and an optimiser.

    Args:
      flow, tx: as named.
      loss: of ``PairOutputs`` for pairs, of ``SampleOutputs`` for single latents; the
        batch's own ``loss(layout)``, or any other.
      sigma: similarity of pairs; None: learned per factor, from
        ``params["similarity"]`` (1, K+1), through a logistic function.
    """
    return functools.partial(_step, flow, loss, tx, sigma)


def similarity(params: Tree, sigma: float | None) -> Array:
    """The similarity that a step uses: given, or learned, shape (1, K+1)."""
    if sigma is not None:
        return jnp.asarray(sigma, jnp.float32)
    return MAX_SIMILARITY * jax.nn.sigmoid(params["similarity"])


def flow_metrics(
    flow: InterpretationFlow,
    loss: WeightedSum,
    sigma: float | None,
    params: Tree,
    constants: Tree,
    batch: LatentPairs | LatentSamples,
) -> tuple[Array, Metrics]:
    """Mean loss over a batch, each term, and z's own bits per dimension under T."""
    variables = {"params": params["flow"], "constants": constants}
    z_tilde, log_det = apply(flow, variables, batch.latents())
    outputs = batch.outputs(z_tilde, log_det, similarity(params, sigma))
    total = loss(outputs).mean()
    terms = {name: value.mean() for name, value in loss.terms(outputs).items()}
    marginal = bits_per_dim(gaussian_nll(z_tilde, log_det).mean(), flow.dim)
    return total, {**terms, "loss": total, "bits_per_dim": marginal}


def _step(
    flow: InterpretationFlow,
    loss: WeightedSum,
    tx: optax.GradientTransformation,
    sigma: float | None,
    state: TrainState,
    batches: Any,
    axis_name: str | None,
    frozen: Tree,
) -> tuple[TrainState, Metrics]:
    del frozen  # whoever draws the batches has the network's variables

    def objective(params, batch):
        return flow_metrics(flow, loss, sigma, params, state.constants, batch)

    gradients, metrics = mean_gradients(objective, state.params, batches, axis_name)
    return state.apply_gradients(tx, gradients), metrics


def _look_up(data: CachedLatents, index: Array) -> tuple[Latents, Latents]:
    return data.mean[index], data.log_var[index]


def _noise(key: Key, examples: Array, shape: tuple[int, ...]) -> Array:
    def one(example):
        return jax.random.normal(jax.random.fold_in(key, example), shape)

    return jax.vmap(one)(examples)
