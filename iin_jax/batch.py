"""Means over the whole global batch, wherever its shares lie.

Losses and networks that need a statistic of the batch ask here. Over which devices a
batch is divided is known to ``training.parallel`` alone.
"""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import jax

from iin_jax.types import Array

_AXIS: contextvars.ContextVar[str | None] = contextvars.ContextVar("axis", default=None)


@contextlib.contextmanager
def divided_over(axis: str | None) -> Iterator[None]:
    """What is traced in here sees one device's share of the batch.

    Args:
      axis: name of the mapped axis of devices; None: the whole batch is in view.
    """
    token = _AXIS.set(axis)
    try:
        yield
    finally:
        _AXIS.reset(token)


def batch_axis() -> str | None:
    """The mapped axis that the batch is divided over; None in global view."""
    return _AXIS.get()


def device_mean(tree: Any) -> Any:
    """Mean of every array over the devices that share the batch."""
    axis = batch_axis()
    return tree if axis is None else jax.lax.pmean(tree, axis)


def batch_mean(values: Array) -> Array:
    """Mean over the examples of the global batch, (B, ...) -> (...).

    With accumulation, over those of one micro-batch.
    """
    return device_mean(values.mean(axis=0))
