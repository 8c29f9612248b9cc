"""Trees of arrays as files: what goes in comes out, and damage is named."""

import chex
import numpy as np
import pytest

from iin_jax.weights import load_tree, load_tree_checked, save_tree, tree_digest

TREE = {
    "params": {"w": np.arange(6, dtype=np.float32).reshape(2, 3).T, "b": np.float32(2)},
    "constants": {"index": np.arange(4, dtype=np.int32)},
}


def test_trees_survive_with_names_shapes_and_types(tmp_path):
    save_tree(tmp_path / "tree.safetensors", TREE)
    loaded = load_tree(tmp_path / "tree.safetensors")
    chex.assert_trees_all_equal(loaded, TREE)
    chex.assert_trees_all_equal_shapes_and_dtypes(loaded, TREE)
    assert [path.name for path in tmp_path.iterdir()] == ["tree.safetensors"]


def test_a_digest_sees_names_values_types_and_shapes():
    digest = tree_digest(TREE)
    assert digest == tree_digest({"constants": TREE["constants"], **TREE})
    index = TREE["constants"]["index"]
    for other in (index + 1, index.astype(np.int64), index.reshape(2, 2)):
        assert tree_digest({**TREE, "constants": {"index": other}}) != digest
    assert tree_digest({**TREE, "constants": {"indices": index}}) != digest


def test_damage_is_one_clear_line(tmp_path):
    file = tmp_path / "tree.safetensors"
    with pytest.raises(ValueError, match="no weights at"):
        load_tree(file)
    save_tree(file, TREE)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="digest is wrong"):
        load_tree_checked(file, tree_digest(TREE))
    file.write_bytes(bytes(content[:40]))
    with pytest.raises(ValueError, match="truncated or no safetensors file"):
        load_tree(file)
