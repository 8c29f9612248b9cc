"""Where a flow's training begins: its first latents, and the state they whiten."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from iin_jax.flows import InterpretationFlow
from iin_jax.training.parallel import Draw, Stream, Streamed
from iin_jax.training.state import TrainState
from iin_jax.types import Key, Latents

INIT_LATENTS = 4096  # that whiten the flow's ActNorms
INIT_STEP = 2**31  # stands for a step in their key: no training step has it
FIRST_LEARNED = 2.0  # logit of a learned similarity at the first step
CHUNK = 256  # examples drawn at once: a draw may run a whole network on its images


def draw_many(draw: Draw) -> Callable[[Any, Key, int], Any]:
    """(data, key, count) -> the batch of examples 0 .. count - 1, drawn in parts."""
    jitted = jax.jit(draw)

    def drawn(data: Any, key: Key, count: int) -> Any:
        starts = range(0, count, CHUNK)
        parts = [
            jitted(data, key, jnp.arange(start, min(start + CHUNK, count)))
            for start in starts
        ]
        return jax.tree.map(lambda *arrays: jnp.concatenate(arrays), *parts)

    return drawn


def examples_for(draw: Draw, data: Any, latents: int) -> int:
    """How many examples have that many latents: half of it if they are pairs."""
    arguments = (data, jax.random.key(0), jnp.arange(1))
    per_example = jax.eval_shape(lambda *x: draw(*x).latents(), *arguments).shape[0]
    return latents // per_example


def first_batch(draw: Draw, data: Any, seed: int) -> Any:
    """A batch with ``INIT_LATENTS`` latents."""
    key = jax.random.fold_in(jax.random.key(seed), INIT_STEP)
    count = examples_for(draw, data, INIT_LATENTS)
    return draw_many(draw)(data, key, count)


def first_streamed_batch(
    draw: Draw, data: Any, seed: int, stream: Stream, batch_size: int
) -> Any:
    """``first_batch`` where the host brings images: the first steps' own batches."""
    jitted, parts, found = jax.jit(draw), [], 0
    while found < INIT_LATENTS:
        key = jax.random.fold_in(jax.random.key(seed), len(parts))
        arrays = jax.tree.map(jnp.asarray, stream(len(parts)))
        parts.append(jitted(Streamed(data, arrays), key, jnp.arange(batch_size)))
        found += len(parts[-1].latents())
    return jax.tree.map(lambda *arrays: jnp.concatenate(arrays), *parts)


def first_state(
    flow: InterpretationFlow,
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
      seed: of its parameters.
      similarities: how many are learned: one per factor, or none.
    """
    # eager: under jit the flow's init would compile five times as long
    variables = flow.init(jax.random.key(seed), jnp.asarray(z))
    params = {"flow": variables["params"]}
    if similarities:
        params["similarity"] = jnp.full((1, similarities), FIRST_LEARNED)
    return TrainState.create(tx, params, variables["constants"])
