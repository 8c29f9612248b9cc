"""The training of a flow under a context, by maximum likelihood."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from iin_jax.flows.conditional import ConditionalFlow
from iin_jax.linen import apply
from iin_jax.losses import bits_per_dim, gaussian_nll
from iin_jax.training.flow_step import CachedLatents, LatentSamples, draw_cached
from iin_jax.training.loop import Choice, train
from iin_jax.training.optim import Schedule, adam
from iin_jax.training.parallel import Feed, Metrics, Runner, divisible_batch
from iin_jax.training.state import TrainState
from iin_jax.training.step import gradient_step
from iin_jax.types import Array, Tree

RATE = 3e-3  # peak learning rate, at any batch
DECAY = 0.1  # decoupled weight decay of matrices, times the learning rate
VALIDATIONS = 20  # validations per training
CERTAIN = -80.0  # log-variance of what is known exactly


@dataclasses.dataclass(frozen=True, eq=False)
class ContextLatents:
    """Latents and what they are seen under.

    Attributes:
      mean, log_var: (n, N), the posterior; no log-variance where there is none.
      context: (n, M).
    """

    mean: np.ndarray
    log_var: np.ndarray | None
    context: np.ndarray

    def subset(self, rows: np.ndarray) -> "ContextLatents":
        """Some of them."""
        log_var = None if self.log_var is None else self.log_var[rows]
        return ContextLatents(self.mean[rows], log_var, self.context[rows])

    def feed(self) -> Feed:
        """Draws latents, each with its context behind it in one vector."""
        joined, log_var = np.concatenate([self.mean, self.context], axis=1), None
        if self.log_var is not None:
            certain = np.full_like(self.context, CERTAIN)
            log_var = jnp.asarray(np.concatenate([self.log_var, certain], axis=1))
        return Feed(draw_cached, CachedLatents(jnp.asarray(joined), log_var))


@dataclasses.dataclass(frozen=True)
class ConditionalObjective:
    """Mean negative log-likelihood of z given its context; a ``step.Objective``.

    Attributes:
      flow: T.
    """

    flow: ConditionalFlow

    def __call__(
        self, params: Tree, batch: LatentSamples, state: TrainState, data: Any
    ) -> tuple[Array, Metrics]:
        del data
        z, context = jnp.split(batch.z, [self.flow.dim], axis=-1)
        variables = {"params": params, "constants": state.constants}
        loss = gaussian_nll(*apply(self.flow, variables, z, context)).mean()
        return loss, {"loss": loss, "bits_per_dim": bits_per_dim(loss, self.flow.dim)}


def train_conditional(
    flow: ConditionalFlow,
    latents: ContextLatents,
    held_out: ContextLatents,
    *,
    steps: int,
    batch_size: int,
    seed: int,
    progress: str | None = None,
) -> tuple[Tree, dict[str, float]]:
    """Trains T; the state is kept that does best on held-out latents.

    Args:
      flow: T.
      latents, held_out: both sides of a split.
      steps: of the training.
      batch_size: latents per step.
      seed: of everything random.
      progress: label of a bar; None: none.

    Returns:
      The variables of T, and held-out bits per dimension of T (``bits_per_dim``), of
      its closed form before the first step (``start_bits_per_dim``), and the kept
      ``step``.
    """
    z, context = jnp.asarray(latents.mean), jnp.asarray(latents.context)
    variables = flow.init(jax.random.key(seed), z, context)
    batch_size = divisible_batch(batch_size, 1)
    tx = adam(Schedule(steps, RATE / batch_size, 0.03, 0.3), batch_size, decay=DECAY)
    state = TrainState.create(tx, variables["params"], variables["constants"])
    objective = ConditionalObjective(flow)
    batch = held_out.feed().first(len(held_out.mean), jax.random.key(seed + 1), seed)

    @jax.jit
    def measured(params: Tree, constants: Tree) -> Metrics:
        now = dataclasses.replace(state, constants=constants)
        return objective(params, batch, now, None)[1]

    def validate(state: TrainState) -> dict[str, float]:
        values = measured(state.params, state.constants)
        return {name: float(x) for name, x in values.items()}

    before = validate(state)
    step = gradient_step(objective, tx)
    runner = Runner(step, latents.feed(), state, batch_size=batch_size, seed=seed)
    state = train(
        runner,
        state,
        steps,
        checkpoint_every=max(1, steps // VALIDATIONS),
        validate=validate,
        choice=Choice("loss", {}),
        progress=progress,
    )
    record = {
        "bits_per_dim": validate(state)["bits_per_dim"],
        "start_bits_per_dim": before["bits_per_dim"],
        "step": float(state.best["step"]),
    }
    return {"params": state.params, "constants": state.constants}, record
