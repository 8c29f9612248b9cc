"""One step of the flow's training on pairs of latents; pure, in global view."""

import functools
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from iin_jax.concepts.labels import PairTable, draw_pairs
from iin_jax.flows import InterpretationFlow
from iin_jax.flows.base import apply
from iin_jax.losses import PairOutputs, WeightedSum, bits_per_dim, unsupervised_term
from iin_jax.training.parallel import Metrics, Step, mean_gradients
from iin_jax.training.state import TrainState
from iin_jax.types import Array, Key, Latents, Shared, Tree

MAX_SIMILARITY = 0.9995  # of a learned one: at 1 the likelihood has no bound


class LatentPairs(NamedTuple):
    """A batch of pairs: latents (B, N) each, shared (B, K+1)."""

    z_a: Latents
    z_b: Latents
    shared: Shared


class CachedLatents(NamedTuple):
    """Latents of labelled entries, from which pairs are drawn.

    Attributes:
      mean, log_var: (n, N), the posterior; ``data.latents.NO_SPREAD`` stands for none.
      table: who can form a pair with whom.
    """

    mean: Array
    log_var: Array
    table: PairTable


def draw_cached(data: CachedLatents, key: Key, examples: Array) -> LatentPairs:
    """Draws pairs and, for each half, a sample of its posterior."""
    pair_key, noise_key = jax.random.split(key)
    index_a, index_b, shared = draw_pairs(
        data.table, pair_key, len(examples), examples=examples
    )

    def noise(example):
        shape = (2, data.mean.shape[1])
        return jax.random.normal(jax.random.fold_in(noise_key, example), shape)

    eps = jax.vmap(noise)(examples)

    def sample(index, eps):
        return data.mean[index] + jnp.exp(0.5 * data.log_var[index]) * eps

    return LatentPairs(sample(index_a, eps[:, 0]), sample(index_b, eps[:, 1]), shared)


def draw_arrays(data: LatentPairs, key: Key, examples: Array) -> LatentPairs:
    """Draws examples from arrays of given pairs, with replacement."""

    def index(example):
        return jax.random.bits(jax.random.fold_in(key, example)) % len(data.z_a)

    indices = jax.vmap(index)(examples)
    return jax.tree.map(lambda array: array[indices], data)


def flow_step(
    flow: InterpretationFlow,
    loss: WeightedSum,
    tx: optax.GradientTransformation,
    sigma: float | None,
) -> Step:
    """The step for a flow, a loss of ``PairOutputs`` and an optimiser.

    Args:
      flow, loss, tx: as named.
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
    batch: LatentPairs,
) -> tuple[Array, Metrics]:
    """Mean loss over a batch, each term, and z's own bits per dimension under T."""
    chex.assert_equal_shape([batch.z_a, batch.z_b])
    chex.assert_shape(batch.shared, (batch.z_a.shape[0], None))
    variables = {"params": params["flow"], "constants": constants}
    count = batch.z_a.shape[0]
    both = jnp.concatenate([batch.z_a, batch.z_b])
    z_tilde, log_det = apply(flow, variables, both)
    outputs = PairOutputs(
        z_tilde[:count],
        z_tilde[count:],
        log_det[:count],
        log_det[count:],
        batch.shared,
        similarity(params, sigma),
    )
    total = loss(outputs).mean()
    terms = {name: value.mean() for name, value in loss.terms(outputs).items()}
    marginal = bits_per_dim(unsupervised_term(outputs).mean(), flow.dim)
    return total, {**terms, "loss": total, "bits_per_dim": marginal}


def _step(
    flow: InterpretationFlow,
    loss: WeightedSum,
    tx: optax.GradientTransformation,
    sigma: float | None,
    state: TrainState,
    batches: Any,
    axis_name: str | None,
) -> tuple[TrainState, Metrics]:
    def objective(params, batch):
        return flow_metrics(flow, loss, sigma, params, state.constants, batch)

    gradients, metrics = mean_gradients(objective, state.params, batches, axis_name)
    return state.apply_gradients(tx, gradients), metrics
