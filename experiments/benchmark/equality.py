"""Proves that two sides compute the same, before anything is timed."""

from collections.abc import Mapping
from typing import Any

import numpy as np

# Kinds of ``LIMITS`` by the first part of names such as ``gradient/NAME``.
KINDS = {"gradient": "gradients", "logits": "logits"}
# Errors are relative to max(1, |value|); those of logits to the largest in the array.
# A whole gradient array also has an error relative to its norm.
LIMITS = {
    "loss": 1e-5,
    "unsupervised_loss": 1e-5,
    "gradients": 1e-4,
    "gradients_norm": 1e-4,
    "forward": 1e-4,
    "log_det": 1e-4,
    "inverse": 1e-4,
    "encode": 1e-4,
    "adam": 1e-4,
    "logits": 1e-4,
}


class UnequalError(Exception):
    """The two sides do not compute the same, so their times mean nothing."""


def errors(
    ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Largest error of each kind in ``LIMITS``; infinite where a value is not finite.

    Args:
      ours, theirs: what ``contract.Side.results`` returns.

    Raises:
      UnequalError: arrays that only one side has, or of different shapes.
    """
    odd = sorted(ours.keys() ^ theirs.keys())
    odd += [
        name
        for name in sorted(ours.keys() & theirs.keys())
        if np.shape(ours[name]) != np.shape(theirs[name])
    ]
    if odd:
        raise UnequalError(
            f"the sides give different arrays: {len(odd)} are missing on one side or "
            f"misshapen, the first is {odd[0]}"
        )
    largest = dict.fromkeys(LIMITS, 0.0)
    for name, expected in ours.items():
        kind = KINDS.get(name.partition("/")[0], name)
        actual = np.asarray(theirs[name], np.float64)
        difference = np.abs(actual - np.asarray(expected, np.float64))
        least = np.abs(expected).max() if kind == "logits" else 1.0
        scaled = difference / np.maximum(least, np.abs(expected))
        largest[kind] = max(largest[kind], _finite(scaled.max()))
        if kind == "gradients":
            norm = max(float(np.linalg.norm(expected)), np.finfo(np.float32).tiny)
            relative = _finite(np.linalg.norm(difference) / norm)
            largest["gradients_norm"] = max(largest["gradients_norm"], relative)
    return largest


def check(
    name: str, ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """The ``errors``, after a check that each is within its limit.

    Raises:
      UnequalError: an error beyond its limit; the message names each of them.
    """
    measured = errors(ours, theirs)
    beyond = [
        f"{kind} {error:.2g} (limit {LIMITS[kind]:.0e})"
        for kind, error in measured.items()
        if not error <= LIMITS[kind]
    ]
    if beyond:
        raise UnequalError(
            f"jax and {name} do not compute the same: {', '.join(beyond)}; nothing "
            "was timed"
        )
    return measured


def _finite(error: Any) -> float:
    return float(error) if np.isfinite(error) else float("inf")
