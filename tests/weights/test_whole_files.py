"""Files are written whole or not at all, and what stops them is one line."""

import resource

import numpy as np
import pytest

from iin_jax.weights import save_tree
from iin_jax.weights.torch_files import save_torch_file

TREE = {"w": np.arange(5000, dtype=np.float32)}


@pytest.fixture(params=["safetensors", "torch"])
def save(request):
    if request.param == "torch":
        pytest.importorskip("torch")
    return {"safetensors": save_tree, "torch": save_torch_file}[request.param]


@pytest.fixture
def small_files():
    """No file may grow beyond 4,096 bytes, as on a disk that is nearly full."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, usual[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, usual)


def refused(save, path):
    with pytest.raises(OSError, match=r"^[^\n]* cannot be written: [^\n]+$") as error:
        save(path, TREE)
    assert str(error.value).startswith(str(path))


def test_places_where_nothing_can_be_written(save, tmp_path):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    for place in ("absent/tree", "file/tree", "folder"):
        refused(save, tmp_path / place)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder"}


def test_a_full_disk_leaves_the_old_file_alone(save, tmp_path, small_files):
    path = tmp_path / "tree"
    path.write_text("old")
    refused(save, path)
    assert list(tmp_path.iterdir()) == [path] and path.read_text() == "old"
