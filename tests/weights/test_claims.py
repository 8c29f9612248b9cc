"""Small files that claim gigabytes, and files that are something else."""

import json
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file

from iin_jax.weights import load_tree
from iin_jax.weights.readers import read_arrays
from iin_jax.weights.torch_files import load_torch_file


def header(shape: str, kind: str = "<f4") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def refusal(path, reader=read_arrays) -> str:
    with pytest.raises(ValueError) as caught:
        reader(path)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message and len(message) < 1500
    return message


@pytest.mark.parametrize(
    "shape", ["(10000000000000,)", f"({2**64},)", "(-1,)", "(2, 3)", "()", "(" * 150]
)
def test_an_npz_that_claims_another_size(tmp_path, shape):
    path = tmp_path / "w.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", header(shape))
    assert "damaged .npz" in refusal(path)


@pytest.mark.parametrize("member", ["a.npy", "x/data.pkl"])
def test_an_archive_that_unfolds_to_too_much(tmp_path, member):
    path = tmp_path / "w"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(member, "w") as stream,
    ):
        for _ in range(20):
            stream.write(bytes(2**24))
    assert "made to exhaust memory" in refusal(path)


def test_compressed_weights_are_read(tmp_path):
    arrays = {"w": np.arange(1000, dtype=np.float32), "z": np.zeros(10**6, np.float32)}
    np.savez_compressed(tmp_path / "w.npz", **arrays)
    assert set(read_arrays(tmp_path / "w.npz")) == {"w", "z"}


def test_a_tensor_without_values_of_its_own(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "w.pth"
    for legacy in (False, True):
        torch.save(
            {"w": torch.zeros(1).expand(10**10)},
            path,
            _use_new_zipfile_serialization=not legacy,
        )
        assert "made to exhaust memory" in refusal(path)


def test_lists_that_are_many_and_dictionaries_that_hold_themselves(tmp_path):
    pytest.importorskip("torch")
    value, path = {"x": 1}, tmp_path / "w.pth"
    for _ in range(40):
        value = {"a": value, "b": [value, value]}
    loop = {}
    loop["a"] = loop
    contents = [pickle.dumps(value, 2), pickle.dumps(loop, 2)]
    for pickled in (*contents, b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b"."):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x/data.pkl", pickled)
            archive.writestr("x/version", "3\n")
            archive.writestr("x/byteorder", "little")
        assert refusal(path).endswith(("holds no arrays", "nested too deeply"))


@pytest.mark.parametrize("reader", [read_arrays, load_tree])
@pytest.mark.parametrize(
    ("name", "kind"),
    [("a", "F8_E4M3"), ("a\nerror: all is well", "F8_E4M3"), ("a\nb", "F32")],
)
def test_names_and_types_of_a_file_cannot_break_a_line(tmp_path, reader, name, kind):
    size = 4 if kind == "F8_E4M3" else 16
    entry = {"dtype": kind, "shape": [4], "data_offsets": [0, size]}
    header = json.dumps({name: entry}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(size))
    if reader is load_tree and kind == "F32":
        assert list(load_tree(path)) == [name]
        return
    with pytest.raises(ValueError, match=r"^[^\n]{,400}$") as error:
        reader(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("inner", ["a/b", "a/b/c"])
def test_arrays_whose_names_contradict_are_no_tree(tmp_path, inner):
    path = tmp_path / "w.safetensors"
    save_file({"a": np.zeros(1, "f4"), inner: np.zeros(1, "f4")}, path)
    with pytest.raises(ValueError, match="whose names contradict"):
        load_tree(path)


def test_safetensors_whose_header_claims_more_than_the_file(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", 2**31) + b'{"w": ')
    assert "its header claims 2,147,483,648 bytes" in refusal(path)


def test_a_file_larger_than_memory_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "w.bin"
    path.write_bytes(bytes(1000))
    monkeypatch.setattr("iin_jax.files.limits.memory", lambda: 500)
    assert "more than the memory of this machine" in refusal(path)


@pytest.mark.parametrize("reader", [read_arrays, load_tree, load_torch_file])
def test_pointers_pages_and_pipes_are_told(tmp_path, reader):
    pytest.importorskip("torch")
    path = tmp_path / "w.pth"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    assert "Git LFS pointer" in refusal(path, reader)
    path.write_text("<!DOCTYPE html><html><body>quota exceeded</body></html>")
    assert "web page" in refusal(path, reader)
    path.unlink()
    os.mkfifo(path)
    assert "named pipe" in refusal(path, reader)
