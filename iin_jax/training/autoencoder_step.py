"""The step of an autoencoder's training, with a discriminator or without."""

import optax

from iin_jax.losses import WeightedSum
from iin_jax.networks.perceptual import MIN_SIZE, Perceptual
from iin_jax.networks.trained.autoencoder import Autoencoder
from iin_jax.training.adversarial_step import Adversarial, adversarial_step
from iin_jax.training.autoencoder_objective import AutoencoderObjective
from iin_jax.training.parallel import Step
from iin_jax.training.step import gradient_step


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
        its weights from ``TrainingImages.perceptual``.
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
    objective = AutoencoderObjective(module, loss, perceptual)
    if adversarial is None:
        return gradient_step(objective, tx)
    return adversarial_step(objective, tx, adversarial)
