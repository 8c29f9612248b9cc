"""How large a flow is, and how it is kept from memorising: by images and N."""

import dataclasses

from iin_jax.concepts.closed_form import Start
from iin_jax.factors import FactorLayout
from iin_jax.flows import InterpretationFlow
from iin_jax.training.optim import Schedule

UNKNOWN = 0.9  # similarity in a factor of which the start says nothing


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
        return FlowDefaults(blocks, width, 1, 600, 6e-4, 0.5, 0.1, 8.0, 0.975)
    if images <= 8000:
        return FlowDefaults(blocks, width, 1, 1200, 1e-3, 0.3, 0.1, 8.0, 0.975)
    if images <= 30_000:
        return FlowDefaults(blocks, 2 * width, 1, 2000, 1e-3, 0.1, 1e-2, 20.0, 0.99)
    return FlowDefaults(blocks, 2 * width, 1, 3000, 1e-3, 0.0, 0.0, 20.0, 0.99)
