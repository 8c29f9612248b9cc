"""One step of the classifier's training; pure, in global view."""

import functools

import jax
import jax.numpy as jnp
import optax

from iin_jax.flows.base import apply
from iin_jax.networks.classifier import Classifier
from iin_jax.training.image_draws import LabelledBatch
from iin_jax.training.parallel import Metrics, Step, mean_gradients
from iin_jax.training.state import TrainState
from iin_jax.types import Array, Tree


def classifier_step(module: Classifier, tx: optax.GradientTransformation) -> Step:
    """The step for a module and an optimiser; sigmoid cross-entropy on one-hot."""
    return functools.partial(_step, module, tx)


def classifier_metrics(
    module: Classifier, params: Tree, batch: LabelledBatch
) -> tuple[Array, Metrics]:
    """Mean loss over a batch, and the share of right predictions."""
    logits = apply(module, {"params": params}, batch.images)
    one_hot = jax.nn.one_hot(batch.classes, module.num_classes)
    loss = optax.sigmoid_binary_cross_entropy(logits, one_hot).mean()
    accuracy = (logits.argmax(-1) == batch.classes).mean(dtype=jnp.float32)
    return loss, {"loss": loss, "accuracy": accuracy}


def _step(
    module: Classifier,
    tx: optax.GradientTransformation,
    state: TrainState,
    batches: LabelledBatch,
    axis_name: str | None,
    frozen: Tree,
) -> tuple[TrainState, Metrics]:
    objective = functools.partial(classifier_metrics, module)
    gradients, metrics = mean_gradients(objective, state.params, batches, axis_name)
    return state.apply_gradients(tx, gradients), metrics
