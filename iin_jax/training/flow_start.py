"""Where a flow's training begins: its first latents, and the state they whiten."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from iin_jax.flows import Bijector
from iin_jax.training.parallel import Feed, Streamed
from iin_jax.training.state import TrainState
from iin_jax.types import Key, Latents

INIT_LATENTS = 4096  # latents that initialise the flow's ActNorms
INIT_STEP = 2**31  # step in the key of the first latents; no training step has it
FIRST_LEARNED = 2.0  # logit of a learned similarity at the first step


def first_batch(feed: Feed, seed: int, key: Key | None = None) -> Any:
    """A batch with ``INIT_LATENTS`` latents; key None: one that no step has."""
    if key is None:
        key = jax.random.fold_in(jax.random.key(seed), INIT_STEP)
    return feed.first(INIT_LATENTS // _latents_per_example(feed), key, seed)


def _latents_per_example(feed: Feed) -> int:
    """Two if the examples are pairs, else one."""
    data = feed.data
    if feed.stream is not None:
        data = Streamed(data, jax.tree.map(jnp.asarray, feed.stream(0)))
    arguments = (data, jax.random.key(0), jnp.arange(1))
    return jax.eval_shape(lambda *x: feed.draw(*x).latents(), *arguments).shape[0]


def first_state(
    flow: Bijector,
    z: Latents,
    tx: optax.GradientTransformation,
    seed: int,
    *,
    similarities: int = 0,
) -> TrainState:
    """A flow at step 0.

    Args:
      flow: T.
      z: (n, N), latents that its ActNorms whiten.
      tx: the optimiser.
      seed: of the flow's parameters.
      similarities: how many are learned: one per factor, or none.
    """
    # eager: under jit the flow's init would compile five times as long
    variables = flow.init(jax.random.key(seed), jnp.asarray(z))
    params = {"flow": variables["params"]}
    if similarities:
        params["similarity"] = jnp.full((1, similarities), FIRST_LEARNED)
    return TrainState.create(tx, params, variables.get("constants", {}))
