"""Networks by name: pretrained ones from weights, and any of ours as files."""

import dataclasses
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from iin_jax.files.hints import nearest
from iin_jax.files.json_files import read_description, write_description
from iin_jax.files.paths import local_path
from iin_jax.networks.backbones import (
    alexnet,
    cifar_densenet,
    cifar_resnet,
    densenet,
    inception,
    resnet,
    squeezenet,
    vgg,
    vit,
)
from iin_jax.networks.base import Network
from iin_jax.networks.pretrained import (
    Architecture,
    PretrainedNetwork,
    build_pretrained,
    from_arrays,
)
from iin_jax.networks.trained.autoencoder import AutoencoderNetwork
from iin_jax.networks.trained.classifier import ClassifierNetwork
from iin_jax.types import Tree
from iin_jax.weights import (
    load_tree_checked,
    locate,
    read_arrays,
    save_tree,
    tree_digest,
    weights_folders,
)
from iin_jax.weights.descriptions import (
    check_levels,
    described_by,
    free_ending,
    remove_others,
    with_ending,
)

DESCRIPTION = "network.json"  # file that says what a network is
SUFFIXES = (  # names of weight files
    *(".safetensors", ".npz", ".caffemodel"),
    *(".pth", ".pth.tar", ".pt", ".th", ".ckpt"),
)

# name -> a pretrained architecture, its releases and their files
ARCHITECTURES: dict[str, Architecture] = {
    **squeezenet.ARCHITECTURES,
    **resnet.ARCHITECTURES,
    **cifar_resnet.ARCHITECTURES,
    **densenet.ARCHITECTURES,
    **cifar_densenet.ARCHITECTURES,
    **vgg.ARCHITECTURES,
    **alexnet.ARCHITECTURES,
    **inception.ARCHITECTURES,
    **vit.ARCHITECTURES,
}

# architecture -> builder from (settings, variables)
NETWORKS: dict[str, Callable[[dict[str, Any], Tree], Network]] = {
    AutoencoderNetwork.architecture: AutoencoderNetwork.build,
    ClassifierNetwork.architecture: ClassifierNetwork.build,
    **{
        name: functools.partial(build_pretrained, name, architecture)
        for name, architecture in ARCHITECTURES.items()
    },
}


def load(
    name: str,
    weights: str | os.PathLike | None = None,
    layer: str | None = None,
    *,
    image_size: int | None = None,
    download: bool = False,
) -> PretrainedNetwork:
    """A pretrained network, frozen and cut at a layer.

    Args:
      name: key of ``ARCHITECTURES``.
      weights: the publisher's file, in any format that ``weights.read_arrays`` knows,
        or a folder that ``python -m iin_jax.convert`` wrote. None: looked for in the
        folders of ``$IIN_JAX_WEIGHTS``, then in the cache folder.
      layer: where to cut, one of the network's ``layers()``; None: a late layer.
      image_size: H = W that E works at; images of other sizes are resized. None: the
        size that the weights were trained on.
      download: fetch missing weights from their publisher into the cache folder.

    Raises:
      ValueError: an unknown name or layer; weights that are missing, damaged or of
        another architecture; an image size that does not fit.
      ImportError: the file is PyTorch's and torch is not installed.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"no network {name!r}{nearest(name, ARCHITECTURES)}")
    path = _find(name, download) if weights is None else local_path(weights)
    if not path.is_dir():
        arrays = read_arrays(path)
        return from_arrays(
            name, ARCHITECTURES[name], arrays, layer, image_size, path=path
        )
    network = load_network(path)
    if not isinstance(network, PretrainedNetwork) or network.name != name:
        raise ValueError(f"{path} is of kind {network.architecture}, not {name}")
    if layer is not None or image_size is not None:
        network = dataclasses.replace(
            network, layer=layer or network.layer, size=image_size or network.size
        )
    return network


def save_network(folder: str | os.PathLike, network: Network) -> None:
    """Writes ``network.json`` and ``network.safetensors``.

    Over an older network it is whole or not at all.

    Args:
      folder: made if missing.
      network: one that a description can rebuild.

    Raises:
      ValueError: the network cannot be rebuilt from a description.
      OSError: the folder cannot be written.
    """
    folder = local_path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    ending = free_ending(folder / DESCRIPTION)
    write_network(folder, network, DESCRIPTION, ending)
    remove_others(folder, ending, _arrays_of(DESCRIPTION))


def write_network(
    folder: Path, network: Network, name: str = DESCRIPTION, ending: str = ""
) -> None:
    """Writes a network's arrays, then its description.

    Args:
      folder: where they go.
      network: one that a description can rebuild.
      name: of the description; one that is in use has arrays of another ending.
      ending: of the arrays' file, beside the description's name.

    Raises:
      ValueError, OSError: as ``save_network``.
    """
    arrays = with_ending(_arrays_of(name), ending)
    description = {
        "architecture": network.architecture,
        "settings": network.settings(),
        "digest": tree_digest(network.variables),
        "ending": ending,
    }
    save_tree(folder / arrays, network.variables)
    write_description(folder / name, description)


def load_network(folder: str | os.PathLike, name: str = DESCRIPTION) -> Network:
    """Reads what ``save_network`` wrote.

    Args:
      folder: where it is.
      name: of the description.

    Raises:
      ValueError: no network there, a damaged description, an unknown architecture, or
        weights that are missing or differ from their digest.
    """
    folder = local_path(folder)
    file = folder / name
    if not file.exists():
        raise ValueError(f"no network in {folder}: there is no {name}")
    description = read_description(file)
    with described_by(file):
        architecture, settings = description["architecture"], description["settings"]
        digest = description["digest"]
        arrays = with_ending(_arrays_of(name), description.get("ending", ""))
        if architecture not in NETWORKS:
            raise ValueError(
                f"unknown architecture {architecture!r}"
                f"{nearest(architecture, NETWORKS)}"
            )
    variables = load_tree_checked(folder / arrays, digest)
    variables = jax.tree.map(jnp.asarray, variables)
    with described_by(file):
        check_levels(settings.get("module", settings), len(jax.tree.leaves(variables)))
        return NETWORKS[architecture](settings, variables)


def _arrays_of(name: str) -> str:
    """Name of the arrays' file of a description, without an ending."""
    return f"{os.path.splitext(name)[0]}.safetensors"


def _find(name: str, download: bool) -> Path:
    """The weights of a name: the publisher's file, or one that is called like it."""
    file = ARCHITECTURES[name].file
    for folder in weights_folders():
        if file is not None and (folder / file.name).is_file():
            return locate(file)
        matches = _called_like(name, folder)
        if len(matches) > 1:
            files = ", ".join(path.name for path in matches)
            raise ValueError(
                f"several files in {folder} are called like {name} ({files}); give one "
                "of them as weights"
            )
        if matches:
            return matches[0]
    if file is None:
        raise ValueError(f"no address of weights of {name} is known; give a file")
    return locate(file, download=download)


def _called_like(name: str, folder: Path) -> list[Path]:
    """Weight files and converted folders that are called like this network alone.

    Publishers call them by its name, alone or followed by - or _ and anything else.
    """

    def longest_match(stem: str) -> str:
        known = (
            known
            for known in ARCHITECTURES
            if stem == known or stem.startswith((f"{known}-", f"{known}_"))
        )
        return max(known, key=len, default="")

    if not folder.is_dir():
        return []
    return [
        path for path in sorted(folder.iterdir()) if longest_match(_stem(path)) == name
    ]


def _stem(path: Path) -> str:
    """A converted folder's name, a weight file's less its suffix; else empty."""
    if (path / DESCRIPTION).is_file():
        return path.name
    suffixes = (suffix for suffix in SUFFIXES if path.name.endswith(suffix))
    suffix = next(suffixes, None)
    return path.name.removesuffix(suffix) if suffix and path.is_file() else ""
