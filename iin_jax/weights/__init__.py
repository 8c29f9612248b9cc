"""Files in, arrays out; knows no network."""

from iin_jax.weights.tree_files import (
    array_digest,
    load_tree,
    load_tree_checked,
    save_tree,
    tree_digest,
)

__all__ = [
    "array_digest",
    "load_tree",
    "load_tree_checked",
    "save_tree",
    "tree_digest",
]
