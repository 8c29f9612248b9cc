"""One step of the autoencoder's training; pure, in global view."""

import functools

import optax

from iin_jax.losses import WeightedSum
from iin_jax.networks.autoencoder import Autoencoder
from iin_jax.networks.perceptual import MIN_SIZE, Perceptual
from iin_jax.training.adversarial_step import Adversarial, adversarial_step
from iin_jax.training.autoencoder_objective import ImageBatch, Objective
from iin_jax.training.parallel import Metrics, Step, mean_gradients
from iin_jax.training.state import TrainState
from iin_jax.types import Tree


def autoencoder_step(
    module: Autoencoder,
    loss: WeightedSum,
    tx: optax.GradientTransformation,
    *,
    perceptual: Perceptual | None = None,
    adversarial: Adversarial | None = None,
) -> Step:
    """The step for a module, a loss of ``AutoencoderOutputs`` and an optimiser.

    Args:
      module, loss, tx: as named.
      perceptual: LPIPS, for the losses that read ``outputs.perceptual``; the step takes
        its weights from ``frozen["perceptual"]``.
      adversarial: a discriminator, in a state from ``adversarial_state``. Every step
        then updates both networks, each from the other's parameters before the step.
        With accumulation, batch-norm and adaptive weight are those of a micro-batch.

    Raises:
      ValueError: images that are too small for LPIPS.
    """
    if perceptual is not None and module.image_size < MIN_SIZE:
        raise ValueError(
            f"LPIPS compares images of at least {MIN_SIZE} pixels; got "
            f"{module.image_size}: pad or enlarge them, or train without it"
        )
    objective = Objective(module, loss, perceptual)
    if adversarial is None:
        return functools.partial(_step, objective, tx)
    return adversarial_step(objective, tx, adversarial)


def _step(
    objective: Objective,
    tx: optax.GradientTransformation,
    state: TrainState,
    batches: ImageBatch,
    axis_name: str | None,
    frozen: Tree,
) -> tuple[TrainState, Metrics]:
    mean_loss = functools.partial(objective, frozen)
    gradients, metrics = mean_gradients(mean_loss, state.params, batches, axis_name)
    return state.apply_gradients(tx, gradients), metrics
