"""Adam with the published schedule, or with warm-up at large batch."""

import dataclasses
import functools

import jax
import optax

from iin_jax.types import Tree

PUBLISHED_RATE_PER_EXAMPLE = 4.5e-6


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Learning rate: linear warm-up, constant, linear decay to 0 at the last step.

    Attributes:
      steps: number of training steps.
      rate_per_example: learning rate per example of the global batch; published 4.5e-6.
      warmup: share of the steps over which the rate rises from 0.
      decay_start: share of the steps after which it falls; published 100,001 of
        120,000 (MNIST), so 0.83.
    """

    steps: int
    rate_per_example: float = PUBLISHED_RATE_PER_EXAMPLE
    warmup: float = 0.0
    decay_start: float = 0.83

    def rate(self, batch_size: int) -> optax.Schedule:
        """step -> learning rate at this global batch size."""
        peak = self.rate_per_example * batch_size
        warm = round(self.warmup * self.steps)
        decay = max(round(self.decay_start * self.steps), warm)
        parts = [optax.constant_schedule(peak)]
        boundaries = []
        if warm:
            parts.insert(0, optax.linear_schedule(peak / warm, peak, warm))
            boundaries.append(warm)
        if decay < self.steps:
            parts.append(optax.linear_schedule(peak, 0.0, self.steps - decay))
            boundaries.append(decay)
        return optax.join_schedules(parts, boundaries)


@functools.lru_cache(maxsize=8)
def adam(
    schedule: Schedule,
    batch_size: int,
    *,
    fast: tuple[tuple[str, float], ...] = (),
    decay: float = 0.0,
) -> optax.GradientTransformation:
    """Adam(0.5, 0.9), as published, with the learning rate scaled by the batch.

    The same object for equal arguments, so that what is compiled is found again.

    Args:
      schedule: of the learning rate.
      batch_size: global batch size.
      fast: pairs of a top-level name in ``params`` and a factor on its learning rate,
        for single numbers that have far to go (a learned scale or similarity).
      decay: decoupled weight decay of matrices, times the learning rate.
    """
    rate = schedule.rate(batch_size)
    transforms = [optax.adam(rate, b1=0.5, b2=0.9)]
    if decay:
        transforms = [
            optax.adamw(rate, b1=0.5, b2=0.9, weight_decay=decay, mask=_matrices)
        ]
    for name, factor in fast:
        transforms.append(optax.masked(optax.scale(factor), _only(name)))
    return optax.chain(*transforms)


def _matrices(params: Tree) -> Tree:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def _only(name: str):
    def mask(params: Tree) -> Tree:
        return {
            top: jax.tree.map(lambda _, top=top: top == name, subtree)
            for top, subtree in params.items()
        }

    return mask
