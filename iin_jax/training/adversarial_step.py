"""One step of an autoencoder and its discriminator; pure, in global view."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from iin_jax.adversarial import adaptive_weight, discriminator_loss, generator_loss
from iin_jax.batch import device_mean
from iin_jax.linen import apply
from iin_jax.networks.trained.autoencoder import (
    Autoencoder,
    apply_with_last_inputs,
    last_kernel,
    last_layer,
)
from iin_jax.networks.trained.discriminator import Discriminator
from iin_jax.training.autoencoder_objective import AutoencoderObjective, ImageBatch
from iin_jax.training.parallel import Metrics, Step
from iin_jax.training.state import TrainState, update
from iin_jax.training.step import global_mean_over, mean_gradients
from iin_jax.types import Array, Images, Key, Tree


@dataclasses.dataclass(frozen=True)
class Adversarial:
    """A discriminator that takes part in an autoencoder's training.

    Attributes:
      module: the discriminator.
      tx: its optimiser. Schedules in it follow the steps of the run, however late the
        discriminator joins.
      weight: factor on the adaptive weight of the generator's loss.
      active: False before it joins: the same state, in which a step leaves everything
        of the discriminator as it is, and computes nothing of it.
    """

    module: Discriminator
    tx: optax.GradientTransformation
    weight: float = 1.0
    active: bool = True


def adversarial_state(
    module: Autoencoder,
    tx: optax.GradientTransformation,
    params: Tree,
    adversarial: Adversarial,
    key: Key,
) -> TrainState:
    """The state at step 0 of an autoencoder with a fresh discriminator.

    Its parameters and the optimisers' states are ``{"autoencoder", "discriminator"}``;
    ``stats`` are the discriminator's.

    Args:
      module, tx, params: of the autoencoder.
      adversarial: the discriminator and its optimiser.
      key: of the discriminator's parameters.
    """
    shape = (1, module.image_size, module.image_size, module.channels)
    variables = jax.jit(adversarial.module.init)(key, jnp.zeros(shape))
    joint = {"autoencoder": params, "discriminator": variables["params"]}
    opt_state = {
        "autoencoder": tx.init(joint["autoencoder"]),
        "discriminator": adversarial.tx.init(joint["discriminator"]),
    }
    return TrainState(jnp.int32(0), joint, {}, variables["batch_stats"], opt_state)


def adversarial_step(
    objective: AutoencoderObjective,
    tx: optax.GradientTransformation,
    adversarial: Adversarial,
) -> Step:
    """``autoencoder_step`` where there is a discriminator."""
    return functools.partial(_step, objective, tx, adversarial)


def both_gradients(
    objective: AutoencoderObjective,
    adversarial: Adversarial,
    data: Any,
    params: Tree,
    stats: Tree,
    batch: ImageBatch,
) -> tuple[Tree, tuple[Tree, Metrics]]:
    """Gradients of both networks on a batch, with one pass back through each decoder.

    The likelihood and the generator's loss are differentiated down to the
    reconstructions and weighted there; their sum goes back through the autoencoder.
    Only its last layer, whose gradients make the weight, is passed once for each. The
    real images are judged first.

    Returns:
      The discriminator's new statistics; gradients {"autoencoder", "discriminator"} and
      metrics, means over this device's share.
    """
    module, images = objective.module, batch.images

    def reconstruct(params):
        return apply_with_last_inputs(module, params, *batch)

    outputs, pull, inputs = jax.vjp(reconstruct, params["autoencoder"], has_aux=True)
    likelihood = functools.partial(objective.of_outputs, data, images)
    by_nll, metrics = jax.grad(likelihood, has_aux=True)(outputs)
    by_gan, for_discriminator, stats, judged = _judge(
        adversarial, params["discriminator"], stats, images, outputs[0]
    )
    kernel = last_kernel(module, params["autoencoder"])
    _, pull_last = jax.vjp(lambda x: last_layer(module, x, inputs), kernel)
    at_last = device_mean([pull_last(x)[0] for x in (by_nll[0], by_gan)])
    weight = adversarial.weight * adaptive_weight(*at_last)
    (for_autoencoder,) = pull((by_nll[0] + weight * by_gan, *by_nll[1:]))
    total = metrics["loss"] + weight * judged["generator"]
    gradients = {"autoencoder": for_autoencoder, "discriminator": for_discriminator}
    metrics = {**metrics, **judged, "loss": total, "generator_weight": weight}
    return stats, (gradients, metrics)


def _judge(
    adversarial: Adversarial,
    params: Tree,
    stats: Tree,
    real: Images,
    fake: Images,
) -> tuple[Images, Tree, Tree, Metrics]:
    """What a discriminator makes of images and reconstructions.

    Returns:
      Gradient of the generator's loss with respect to the reconstructions, that of the
      discriminator's with respect to ``params``, new statistics, and metrics.
    """

    def logits(params, images, stats):
        variables = {"params": params, "batch_stats": stats}
        settings = {"train": True, "mutable": ["batch_stats"]}
        values, new = apply(adversarial.module, variables, images, **settings)
        return values, new["batch_stats"]

    real_logits, pull_real, stats = jax.vjp(
        lambda params: logits(params, real, stats), params, has_aux=True
    )
    fake_logits, pull_fake, stats = jax.vjp(
        lambda params, fake: logits(params, fake, stats), params, fake, has_aux=True
    )
    generator, from_generator = jax.value_and_grad(_mean(generator_loss))(fake_logits)
    loss = jax.value_and_grad(_mean(discriminator_loss), argnums=(0, 1))
    discriminator, (from_real, from_fake) = loss(real_logits, fake_logits)
    gradient = jax.tree.map(jnp.add, pull_real(from_real)[0], pull_fake(from_fake)[0])
    metrics = {
        "generator": generator,
        "discriminator": discriminator,
        "logits_real": real_logits.mean(),
        "logits_fake": fake_logits.mean(),
    }
    return pull_fake(from_generator)[1], gradient, stats, metrics


def _mean(loss: Callable[..., Array]) -> Callable[..., Array]:
    return lambda *logits: loss(*logits).mean()


def _step(
    objective: AutoencoderObjective,
    tx: optax.GradientTransformation,
    adversarial: Adversarial,
    state: TrainState,
    batches: ImageBatch,
    data: Any,
) -> tuple[TrainState, Metrics]:
    params, opt_state, stats = dict(state.params), dict(state.opt_state), state.stats
    if adversarial.active:
        gradients_of = functools.partial(
            both_gradients, objective, adversarial, data, params
        )
        stats, (gradients, metrics) = global_mean_over(gradients_of, stats, batches)
    else:
        mean_loss = functools.partial(objective, state=state, data=data)
        autoencoder_gradients, metrics = mean_gradients(
            mean_loss, params["autoencoder"], batches
        )
        gradients = {"autoencoder": autoencoder_gradients}
    transforms = {"autoencoder": tx, "discriminator": adversarial.tx}
    for name, gradient in gradients.items():
        at_step = _at_step(opt_state[name], state.step)
        params[name], opt_state[name] = update(
            transforms[name], params[name], at_step, gradient
        )
    changed = {"params": params, "stats": stats, "opt_state": opt_state}
    return dataclasses.replace(state, step=state.step + 1, **changed), metrics


def _at_step(opt_state: Any, step: Array) -> Any:
    """The optimiser's state with its schedules set to a step of the run."""

    def is_schedule(node: Any) -> bool:
        return isinstance(node, optax.ScaleByScheduleState)

    return jax.tree.map(
        lambda node: node._replace(count=step) if is_schedule(node) else node,
        opt_state,
        is_leaf=is_schedule,
    )
