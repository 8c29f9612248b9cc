"""Concepts from two sketches: stylised images as pairs that differ in one thing."""

from iin_jax.concepts.sketches.entries import SketchedEntries, sketched
from iin_jax.concepts.sketches.neural import Neural
from iin_jax.concepts.sketches.stylisers import STYLISERS, Styliser
from iin_jax.concepts.sketches.transport import Transport

__all__ = [
    "STYLISERS",
    "Neural",
    "SketchedEntries",
    "Styliser",
    "Transport",
    "sketched",
]
