"""How large a flow is, and how it is kept from memorising: by images and N."""

import dataclasses
import warnings
from typing import Literal

import numpy as np

from iin_jax.concepts.closed_form import Start
from iin_jax.factors import FactorLayout
from iin_jax.flows import InterpretationFlow
from iin_jax.training.flow_training import FlowTraining, Similarity
from iin_jax.training.optim import Schedule

VALIDATIONS = 20  # during a training
PUBLISHED_SIGMA = 0.975
PLAIN_STEPS = 2000  # training steps without a linear start
PLAIN_RATE_PER_EXAMPLE = 4e-6  # rate without a linear start; 1e-3 at a batch of 256
UNKNOWN = 0.9  # similarity in a factor of which the start says nothing

Sigma = float | np.ndarray | tuple[float, ...] | Literal["auto"] | None


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a caller asks of a training; None: as suits the data.

    Attributes:
      steps, batch_size, seed, rate_per_example, noise, decay: as in ``fit.fit``.
    """

    steps: int | None
    batch_size: int
    seed: int
    rate_per_example: float | None
    noise: float | None
    decay: float | None


@dataclasses.dataclass(frozen=True)
class FlowDefaults:
    """A flow and its training for a number of images and latent dimensions.

    Attributes:
      num_blocks, hidden_dim, hidden_depth: of the ``InterpretationFlow``.
      steps: of the training, at 256 pairs.
      rate: peak learning rate.
      noise, decay: as in ``training.flow_training.FlowTraining``.
      sharpness: how many times nearer to 1 than in the linear start the similarity is
        that pairs are trained with.
      most_similar: bound of that similarity, unless the start has more.
    """

    num_blocks: int
    hidden_dim: int
    hidden_depth: int
    steps: int
    rate: float
    noise: float
    decay: float
    sharpness: float
    most_similar: float

    def flow(self, dim: int) -> InterpretationFlow:
        """A flow that begins as its shuffles."""
        sizes = (self.num_blocks, self.hidden_dim, self.hidden_depth)
        return InterpretationFlow(dim, *sizes, zero_init=True)

    def similarity(self, start: Start, layout: FactorLayout) -> tuple[float, ...]:
        """What pairs are trained with, one per factor of the layout."""
        result = []
        for name in layout.names:
            similar = start.sigma.get(name, UNKNOWN)
            sharper = 1.0 - (1.0 - similar) / self.sharpness
            known = name in start.sigma
            result.append(
                max(similar, min(sharper, self.most_similar)) if known else similar
            )
        return tuple(result)

    def schedule(self, steps: int | None, batch_size: int) -> Schedule:
        """Warm-up, a constant rate, and a linear decay over the last 70 %."""
        per_example = self.rate / batch_size
        steps = self.steps if steps is None else steps
        return Schedule(steps, per_example, warmup=0.03, decay_start=0.3)


def flow_defaults(images: int, dim: int) -> FlowDefaults:
    """What does best on held-out images; see the README's table.

    Args:
      images: number of different training images.
      dim: N.
    """
    blocks = 6 if dim <= 16 else 12
    width = 32 if dim <= 16 else 64
    if images <= 1500:
        rate, noise = (2e-3, 0.3) if dim <= 16 else (6e-4, 0.5)
        return FlowDefaults(blocks, width, 1, 600, rate, noise, 0.1, 8.0, 0.975)
    if images <= 8000:
        rate = 2e-3 if dim <= 16 else 1e-3
        return FlowDefaults(blocks, width, 1, 1200, rate, 0.3, 0.1, 8.0, 0.975)
    if images <= 30_000:
        return FlowDefaults(blocks, 2 * width, 1, 1200, 4e-3, 0.1, 1e-2, 20.0, 0.99)
    return FlowDefaults(blocks, 2 * width, 1, 1200, 4e-3, 0.0, 0.0, 20.0, 0.99)


def suited_training(
    defaults: FlowDefaults,
    start: Start | None,
    layout: FactorLayout,
    sigma: Sigma,
    wanted: Wanted,
) -> FlowTraining:
    """A training with what the caller wants, and what suits the data otherwise.

    Raises:
      ValueError: noise without a linear start, in whose units it is.
    """
    if start is None and wanted.noise:
        raise ValueError("noise is in units of a linear start: start='closed_form'")
    if start is None:
        steps = PLAIN_STEPS if wanted.steps is None else wanted.steps
        schedule = Schedule(steps, PLAIN_RATE_PER_EXAMPLE, 0.03, 0.3)
        noise, decay = 0.0, 0.0
    else:
        schedule = defaults.schedule(wanted.steps, wanted.batch_size)
        noise, decay = defaults.noise, defaults.decay
    if wanted.rate_per_example is not None:
        rate = wanted.rate_per_example
        schedule = dataclasses.replace(schedule, rate_per_example=rate)
    return FlowTraining(
        schedule,
        wanted.batch_size,
        held_sigma(start, layout, sigma, defaults),
        wanted.seed,
        checkpoint_every=max(1, schedule.steps // VALIDATIONS),
        noise=noise if wanted.noise is None else wanted.noise,
        decay=decay if wanted.decay is None else wanted.decay,
    )


def held_sigma(
    start: Start | None, layout: FactorLayout, sigma: Sigma, defaults: FlowDefaults
) -> Similarity:
    """The similarity to train with; "auto" follows from a start's eigenvalues."""
    if isinstance(sigma, np.ndarray):
        return tuple(sigma.tolist()) if sigma.ndim else float(sigma)
    if not isinstance(sigma, str):
        return sigma
    if sigma != "auto":
        raise ValueError(f"sigma is 'auto', numbers in (0, 1) or None; got {sigma!r}")
    if start is None or not layout.concepts:
        return PUBLISHED_SIGMA
    return defaults.similarity(start, layout)


def flow_behind(
    flow: InterpretationFlow | None,
    defaults: FlowDefaults,
    dim: int,
    start: Start | None,
) -> InterpretationFlow:
    """The flow that is trained: behind a start it begins as its shuffles."""
    if flow is None:
        if start is None:
            return InterpretationFlow(dim=dim)
        return defaults.flow(dim)
    if start is None:
        return flow
    if not hasattr(flow, "zero_init"):
        warnings.warn(
            f"{type(flow).__name__} keeps its own initialisation: it has no field "
            "zero_init, so T does not begin as the linear start alone",
            stacklevel=3,
        )
        return flow
    return flow.clone(zero_init=True)
