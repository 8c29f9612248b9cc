"""Files in, arrays out; knows no network."""

from iin_jax.weights.fetch import WeightsFile, cache_folder, locate, weights_folders
from iin_jax.weights.readers import read_arrays
from iin_jax.weights.renames import Rename, rename
from iin_jax.weights.tree_files import (
    load_tree,
    load_tree_checked,
    save_tree,
    tree_digest,
)

__all__ = [
    "Rename",
    "WeightsFile",
    "cache_folder",
    "load_tree",
    "load_tree_checked",
    "locate",
    "read_arrays",
    "rename",
    "save_tree",
    "tree_digest",
    "weights_folders",
]
