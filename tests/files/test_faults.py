"""Faults of the system are told from damage, whoever reports them."""

import errno
import os
import zipfile

import numpy as np
import pytest

from iin_jax.data.decoded import load_array, load_json
from iin_jax.data.tables import read_cells
from iin_jax.files.faults import system_fault
from iin_jax.latents import StaleLatentsError, load_latents, save_latents
from iin_jax.latents.cache import LatentCache
from iin_jax.weights import load_tree, read_arrays, save_tree
from iin_jax.weights.fetch import WeightsFile, check_file
from iin_jax.weights.torch_files import load_torch_file, save_torch_file
from tests.files.shortages import no_handles

TREE = {"w": np.ones(3, np.float32)}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.EMFILE, "x"), "Too many open files"),
        (OSError(errno.EIO, "x"), "Input/output error"),
        (PermissionError(errno.EACCES, "x"), "Permission denied"),
        (ValueError("Error reading x [os_error_code='23']"), "Too many open files in"),
        (RuntimeError("I/O error: (os error 5)"), "Input/output error"),
        (MemoryError(), "Cannot allocate memory"),
        (FileNotFoundError(errno.ENOENT, "x"), None),
        (OSError(errno.EINVAL, "x"), None),
        (OSError("12 requested and 3 written"), None),
        (ValueError("digest differs"), None),
    ],
)
def test_reasons(error, reason):
    found = system_fault(error)
    assert found is None if reason is None else found.startswith(reason)


def test_the_cause_of_an_error_counts():
    try:
        try:
            raise OSError(errno.EIO, "x")
        except OSError as cause:
            raise ValueError("damaged") from cause
    except ValueError as error:
        assert system_fault(error) == "Input/output error"


def refused(call, *arguments) -> None:
    """Without file handles it is an OSError of one line; with them it works."""
    with no_handles(), pytest.raises(OSError, match=r"^[^\n]*Too many open files"):
        call(*arguments)
    call(*arguments)


def test_weights_are_not_called_damaged(tmp_path):
    pytest.importorskip("torch")
    save_tree(tmp_path / "w.safetensors", TREE)
    np.savez(tmp_path / "w.npz", **TREE)
    save_torch_file(tmp_path / "w.pth", TREE)
    for name in ("w.safetensors", "w.npz", "w.pth"):
        refused(read_arrays, tmp_path / name)
    refused(load_tree, tmp_path / "w.safetensors")
    refused(load_torch_file, tmp_path / "w.pth")
    file = WeightsFile("w.npz", "http://localhost/w.npz", "0" * 64)
    with no_handles(), pytest.raises(OSError, match=r"w\.npz cannot be read: Too many"):
        check_file(tmp_path / "w.npz", file)


@pytest.mark.parametrize("name", ["w.npz", "w.pth"])
def test_a_read_that_fails_within_a_file_is_no_damage(tmp_path, monkeypatch, name):
    torch = pytest.importorskip("torch")
    np.savez(tmp_path / "w.npz", **TREE)
    save_torch_file(tmp_path / "w.pth", TREE)

    def fail(*arguments, **options):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(zipfile, "ZipFile" if name == "w.npz" else "is_zipfile", fail)
    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(OSError, match="Input/output error"):
        read_arrays(tmp_path / name)


def test_caches_are_not_called_stale(autoencoder, tmp_path):
    latents = LatentCache(np.zeros((3, 8), np.float32), np.zeros((3, 8), np.float32))
    save_latents(tmp_path / "kept", latents, autoencoder)
    refused(load_latents, tmp_path / "kept", autoencoder)
    (tmp_path / "kept" / "mean.npy").unlink()
    with pytest.raises(StaleLatentsError):
        load_latents(tmp_path / "kept", autoencoder)
    refused(load_array, tmp_path / "kept", "log_var", (3, 8), np.float32)
    fields = ("network", "layer", "data", "entries", "digests", "checksum")
    refused(load_json, tmp_path / "kept", "origin", fields)


def test_a_table_is_not_called_missing(tmp_path):
    (tmp_path / "table.csv").write_text("image,x\na.png,1\n")
    refused(read_cells, tmp_path / "table.csv", "image")
