"""Trees of arrays as safetensors files, and their digests."""

import hashlib
import os

import numpy as np
from flax import traverse_util
from safetensors import SafetensorError
from safetensors.numpy import load, save_file

from iin_jax.files.digests import array_digest
from iin_jax.files.hints import on_one_line
from iin_jax.files.paths import check_regular, local_path, stand_in, starting_bytes
from iin_jax.files.whole import whole_file
from iin_jax.types import Tree


def flatten(tree: Tree) -> dict[str, np.ndarray]:
    """Nested dictionaries of arrays -> ``"a/b/c"`` -> NumPy array."""
    flat = traverse_util.flatten_dict(dict(tree), sep="/")
    return {name: np.asarray(array, order="C") for name, array in flat.items()}


def save_tree(path: str | os.PathLike, tree: Tree) -> None:
    """Writes a tree of arrays to one safetensors file, whole or not at all.

    Raises:
      OSError: the file cannot be written.
    """
    arrays = flatten(tree)
    with whole_file(path) as unfinished:
        save_file(arrays, unfinished)


def load_tree(path: str | os.PathLike) -> Tree:
    """Reads what ``save_tree`` wrote.

    Raises:
      ValueError: no such file, or not a complete safetensors file.
      OSError: the system cannot read it, whatever its content.
    """
    path = local_path(path)
    check_regular(path)
    if not path.is_file():
        raise ValueError(f"no weights at {path}")
    other = stand_in(starting_bytes(path))
    if other:
        raise ValueError(f"{path} {other}")
    try:
        arrays = load(path.read_bytes())
    except KeyError as error:
        kind = on_one_line(str(error))
        raise ValueError(f"{path} holds an array of type {kind}, not ours") from error
    except SafetensorError as error:
        raise ValueError(
            f"{path} is truncated or no safetensors file: {error}"
        ) from error
    parts = [tuple(name.split("/")) for name in arrays]
    folders = {part[:depth] for part in parts for depth in range(len(part))}
    if folders & set(parts):  # a beside a/b
        raise ValueError(f"{path} holds arrays whose names contradict each other")
    return traverse_util.unflatten_dict(arrays, sep="/")


def load_tree_checked(path: str | os.PathLike, digest: str) -> Tree:
    """``load_tree``, and a ValueError unless ``tree_digest`` of it is the given one."""
    tree = load_tree(path)
    if tree_digest(tree) != digest:
        raise ValueError(f"{path} differs from what was saved: its digest is wrong")
    return tree


def tree_digest(tree: Tree) -> str:
    """SHA-256 of all names and arrays of a tree, in hexadecimal."""
    digest = hashlib.sha256()
    for name, array in sorted(flatten(tree).items()):
        digest.update(f"{name}:{array_digest(array)};".encode())
    return digest.hexdigest()
