"""Architectures by name, and networks as files."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from iin_jax.networks.autoencoder import AutoencoderNetwork
from iin_jax.networks.base import Network
from iin_jax.networks.classifier import ClassifierNetwork
from iin_jax.types import Tree
from iin_jax.weights import load_tree_checked, save_tree, tree_digest

# architecture -> builder from (settings, variables)
NETWORKS: dict[str, Callable[[dict[str, Any], Tree], Network]] = {
    AutoencoderNetwork.architecture: AutoencoderNetwork.build,
    ClassifierNetwork.architecture: ClassifierNetwork.build,
}


def save_network(folder: str | os.PathLike, network: Network) -> None:
    """Writes ``network.json`` and ``network.safetensors``.

    Raises:
      ValueError: the network cannot be rebuilt from a description.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    description = {
        "architecture": network.architecture,
        "settings": network.settings(),
        "digest": tree_digest(network.variables),
    }
    save_tree(folder / "network.safetensors", network.variables)
    (folder / "network.json").write_text(json.dumps(description, indent=2))


def load_network(folder: str | os.PathLike) -> Network:
    """Reads what ``save_network`` wrote.

    Raises:
      ValueError: no network there, an unknown architecture, or weights that are missing
        or differ from their digest.
    """
    folder = Path(folder)
    file = folder / "network.json"
    if not file.is_file():
        raise ValueError(f"no network in {folder}: there is no network.json")
    description = json.loads(file.read_text())
    architecture = description["architecture"]
    if architecture not in NETWORKS:
        raise ValueError(
            f"unknown architecture {architecture!r}; known: {sorted(NETWORKS)}"
        )
    variables = load_tree_checked(folder / "network.safetensors", description["digest"])
    variables = jax.tree.map(jnp.asarray, variables)
    return NETWORKS[architecture](description["settings"], variables)
