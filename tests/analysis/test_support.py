"""Edits of ReLU latents, where it is known how far they go below zero."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from iin_jax.analysis.base import Evidence, Examples, Swapped
from iin_jax.analysis.support import SupportAnalysis, SupportRecord
from iin_jax.factors import FactorLayout
from iin_jax.flows import LinearStart
from iin_jax.interpreter import Interpreter
from iin_jax.networks import from_functions


def evidence_of(encode):
    """Swaps under T = turn by 45 degrees of the first two of three components."""
    network = from_functions(
        encode=lambda _, images: encode(images.reshape(-1, 3)),
        decode=lambda _, z: z.reshape(-1, 1, 3, 1),
        variables={},
        image_shape=(1, 3, 1),
    )
    half = np.sqrt(0.5)
    turn = jnp.array([[half, half, 0], [half, -half, 0], [0, 0, 1.0]])
    constants = {
        "mean": jnp.zeros(3),
        "scale": jnp.ones(3),
        "axes": jnp.eye(3),
        "variances": jnp.ones(3),
        "turn": turn,
    }
    layout = FactorLayout({"sum": 1, "residual": 2})
    it = Interpreter(LinearStart(3), {"constants": constants}, layout, network)
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (80, 1, 3, 1)).astype(np.float32)
    labels = {"sum": np.arange(80) % 2}
    a, b = (
        Examples.of(network, images[k : k + 40], {"sum": labels["sum"][k : k + 40]})
        for k in (0, 40)
    )
    return Evidence(it, a, b, {}, Swapped(a, b), a, b), images.reshape(80, 3)


def test_what_lies_below_zero_is_measured():
    evidence, x = evidence_of(lambda images: jnp.maximum(images, 0.0))
    record = SupportAnalysis().measure(evidence)
    z = np.maximum(x, 0.0)
    edited = z[:40].copy()
    shift = (z[40:, :2].sum(1) - z[:40, :2].sum(1)) / 2
    edited[:, :2] += shift[:, None]
    ratio = np.linalg.norm(np.minimum(edited, 0), axis=1)
    ratio = ratio / np.linalg.norm(edited, axis=1)
    assert record.below_zero["sum"] == pytest.approx(ratio.mean(), rel=1e-4)
    assert record.zeros == pytest.approx((z[:40] == 0).mean())
    section = SupportAnalysis().section(SupportRecord.of(record.entries()))
    assert section.findings[0].verdict == "in part"
    hardly = dataclasses.replace(record, below_zero={"sum": 0.01})
    assert SupportAnalysis().section(hardly).findings[0].verdict == "holds"


def test_latents_of_either_sign_have_none():
    evidence, _ = evidence_of(lambda images: images)
    assert SupportAnalysis().measure(evidence) is None
