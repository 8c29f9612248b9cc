"""Checkpoints of the published PyTorch code, both ways."""

from iin_jax.convert.published_flow import load_published_flow, save_published_flow
from iin_jax.convert.published_networks import load_published_network

__all__ = ["load_published_flow", "load_published_network", "save_published_flow"]
