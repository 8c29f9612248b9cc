"""Size and regularisation of a flow, by the number of images and N."""

import dataclasses
import math
import warnings
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from iin_jax.concepts.closed_form import Start
from iin_jax.factors import FactorLayout
from iin_jax.files.hints import nearest
from iin_jax.flows import Bijector, InterpretationFlow, PartialFlow
from iin_jax.linen import module_fields
from iin_jax.training.flow_training import FlowPlan, Similarity
from iin_jax.training.optim import Schedule

VALIDATIONS = 20  # validations per training
PUBLISHED_SIGMA = 0.975
PLAIN_STEPS = 2000  # training steps without a linear start
PLAIN_RATE = 2.5e-4  # peak rate without a linear start, at any batch
UNKNOWN = 0.9  # similarity in a factor that the start does not know

STARTS = ("closed_form", "published")

Sigma = float | np.ndarray | tuple[float, ...] | Literal["auto"] | None
StartKind = Literal["closed_form", "published"]


@dataclasses.dataclass(frozen=True)
class Training:
    """How T is trained; None: as suits the number of images and N.

    Raises ValueError for a start that is not known and for numbers out of their range.

    Attributes:
      start: before the first step: "closed_form" (a linear start computed from the same
        pairs; training refines it, and the state is kept that does best on held-out
        pairs, the start itself among them) or "published" (ActNorm whitens, the last
        state is kept).
      sigma: similarity of pairs, in (0, 1): a number or one per factor; "auto": held
        several times nearer to 1 than the start's eigenvalues (published start: 0.975);
        None: learned, but never below these.
      held_out: share of the images that are not trained on, in [0, 1).
      steps: training steps.
      batch_size: pairs per step, over all devices; more where these do not divide it.
      rate_per_example: peak learning rate over the batch size, for a rate that is
        linear in the batch; None: a rate that does not depend on it, which under Adam
        holds from 16 pairs a step to 1,024 (see the README's table).
      warmup: share of the steps over which the learning rate rises.
      decay_start: share of the steps after which it falls to zero.
      noise: standard deviation of what is added, at first, to latents that went through
        a linear start, where their own is 1; none in the last tenth of the steps.
      decay: decoupled weight decay of matrices, times the learning rate.
      seed: of everything random.
      accumulate: micro-batches per step.
      parallel: how several devices share a batch: "jit" (sharded) or "pmap".
      checkpoint_every: steps between two validations and checkpoints.
      patience: validations without a better state that end the training.
    """

    start: StartKind = "closed_form"
    sigma: Sigma = "auto"
    held_out: float = 0.1
    steps: int | None = None
    batch_size: int = 256
    rate_per_example: float | None = None
    warmup: float = 0.03
    decay_start: float = 0.3
    noise: float | None = None
    decay: float | None = None
    seed: int = 0
    accumulate: int = 1
    parallel: Literal["jit", "pmap"] = "jit"
    checkpoint_every: int | None = None
    patience: int = 10

    def __post_init__(self):
        if self.start not in STARTS:
            raise ValueError(f"start is one of {list(STARTS)}; got {self.start!r}")
        for name in (
            "steps",
            "batch_size",
            "accumulate",
            "checkpoint_every",
            "patience",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1; got {value}")
        for name in ("rate_per_example", "noise", "decay"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value < math.inf:
                raise ValueError(f"{name} must be finite and not negative; got {value}")

    def with_changes(self, changes: Mapping[str, Any]) -> "Training":
        """The same with other values of some fields.

        Raises:
          ValueError: no such field, or as the class.
        """
        names = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in names:
                raise ValueError(f"a training has no {name!r}{nearest(name, names)}")
        return dataclasses.replace(self, **changes)


@dataclasses.dataclass(frozen=True)
class FlowDefaults:
    """A flow and its training for a number of images and latent dimensions.

    Attributes:
      num_blocks, hidden_dim, hidden_depth: of the ``InterpretationFlow``.
      steps: of the training, at 256 pairs.
      rate: peak learning rate.
      noise, decay: as in ``training.flow_training.FlowPlan``.
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
        rate, noise = (2e-3, 0.3) if dim <= 16 else (1e-3, 0.5)
        return FlowDefaults(blocks, width, 1, 1200, rate, noise, 0.1, 8.0, 0.975)
    if images <= 30_000:
        return FlowDefaults(blocks, 2 * width, 1, 1200, 4e-3, 0.1, 1e-2, 20.0, 0.99)
    return FlowDefaults(blocks, 2 * width, 1, 1200, 4e-3, 0.0, 0.0, 20.0, 0.99)


def planned(
    defaults: FlowDefaults,
    start: Start | None,
    layout: FactorLayout,
    training: Training,
) -> FlowPlan:
    """A training with what is asked for, and what suits the data otherwise.

    Raises:
      ValueError: noise without a linear start, in whose units it is.
    """
    if start is None and training.noise:
        raise ValueError("noise is in units of a linear start: start='closed_form'")
    if start is None:
        steps, peak, noise, decay = PLAIN_STEPS, PLAIN_RATE, 0.0, 0.0
    else:
        steps, peak = defaults.steps, defaults.rate
        noise, decay = defaults.noise, defaults.decay
    schedule = Schedule(
        _or_default(training.steps, steps),
        _or_default(training.rate_per_example, peak / training.batch_size),
        training.warmup,
        training.decay_start,
    )
    every = max(1, schedule.steps // VALIDATIONS)
    return FlowPlan(
        schedule,
        training.batch_size,
        held_sigma(start, layout, training.sigma, defaults),
        training.seed,
        training.accumulate,
        training.parallel,
        int(_or_default(training.checkpoint_every, every)),
        float(_or_default(training.noise, noise)),
        float(_or_default(training.decay, decay)),
        training.patience,
    )


def _or_default(value: Any, default: Any) -> Any:
    return default if value is None else value


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
    flow: Bijector | None,
    defaults: FlowDefaults,
    dim: int,
    start: Start | None,
    varied: int,
) -> Bijector:
    """The flow that is trained: behind a start it begins as its shuffles.

    It acts on the first components, an even number of those that vary, and carries the
    others unchanged.

    Args:
      flow: a user's, of N components; None: as suits.
      defaults: what suits.
      dim: N.
      start: what stands before it; None: nothing.
      varied: number of components that vary, which a start puts first.
    """
    moved = varied - varied % 2
    if flow is None:
        flow = InterpretationFlow(moved) if start is None else defaults.flow(moved)
        return flow if moved == dim else PartialFlow(flow, dim)
    if start is None:
        return flow
    if not hasattr(flow, "zero_init"):
        warnings.warn(
            f"{type(flow).__name__} keeps its own initialisation: it has no field "
            "zero_init, so T does not begin as the linear start alone",
            stacklevel=3,
        )
        return flow
    flow = flow.clone(zero_init=True)
    if moved == dim or "dim" not in module_fields(flow):
        return flow
    return PartialFlow(flow.clone(dim=moved), dim)
