"""The step of a classifier's training."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from iin_jax.linen import apply
from iin_jax.networks.trained.classifier import Classifier
from iin_jax.training.image_draws import LabelledBatch
from iin_jax.training.parallel import Metrics, Step
from iin_jax.training.step import gradient_step
from iin_jax.types import Array, Tree


def classifier_step(module: Classifier, tx: optax.GradientTransformation) -> Step:
    """The step for a module and an optimiser; sigmoid cross-entropy on one-hot."""
    return gradient_step(functools.partial(classifier_metrics, module), tx)


def classifier_metrics(
    module: Classifier,
    params: Tree,
    batch: LabelledBatch,
    state: Any = None,
    data: Any = None,
) -> tuple[Array, Metrics]:
    """Mean loss over a batch, and the share of right predictions; an ``Objective``."""
    del state, data
    logits = apply(module, {"params": params}, batch.images)
    one_hot = jax.nn.one_hot(batch.classes, module.num_classes)
    loss = optax.sigmoid_binary_cross_entropy(logits, one_hot).mean()
    accuracy = (logits.argmax(-1) == batch.classes).mean(dtype=jnp.float32)
    return loss, {"loss": loss, "accuracy": accuracy}
