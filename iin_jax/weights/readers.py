"""One reader for weight files of several formats, told apart by what is in them."""

import os
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, deserialize

from iin_jax.files.faults import raise_system_fault
from iin_jax.files.hints import on_one_line
from iin_jax.files.limits import check_claim
from iin_jax.files.paths import check_regular, local_path, stand_in, starting_bytes
from iin_jax.weights.caffe import read_caffemodel
from iin_jax.weights.npz import read_npz, zip_members
from iin_jax.weights.state_dicts import state_dict_in, without_wrappers
from iin_jax.weights.torch_files import load_torch_file

FORMATS = "safetensors, .npz, .caffemodel and PyTorch files"
TORCH_MAGIC = bytes.fromhex("6cfc9c46f9206aa85019")  # near the start of legacy files
MOST_ARRAYS = 10_000  # largest networks here have hundreds
NUMBERS = "fiub"  # NumPy's kinds of type that weights may have

# safetensors type -> NumPy's; bfloat16 is read as its bits
SAFETENSORS_TYPES = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "BOOL": "?"},
    **{"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1"},
    **{"U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "<u1"},
}


def read_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads every array of a weight file; its name's suffix plays no role.

    safetensors, NumPy's ``.npz``, Caffe's ``.caffemodel`` (see ``read_caffemodel``) and
    PyTorch files, zip or legacy (these need torch). Nothing of the file is executed.

    A checkpoint of PyTorch that holds numbers and dictionaries around the weights is
    opened: what stands under ``state_dict``, ``model``, ``net`` or the like, or in the
    only dictionary with weights, is read, the rest is not. What compiled, data-parallel
    and averaged modules put into all names is dropped, from files of any format.

    Returns:
      name -> array. Floating-point arrays are float32, whatever their precision in the
      file; integers and booleans stay.

    Raises:
      ImportError: a PyTorch file, and torch is not installed.
      ValueError: no such file, a folder, an empty, truncated or foreign file, one
        without arrays, with more than ``MOST_ARRAYS``, or of other than numbers.
      OSError: the system cannot read it, whatever its content.
    """
    path = local_path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give the file with the weights")
    check_regular(path)
    if not path.is_file():
        raise ValueError(f"no weights at {path}")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty; fetch or copy it again")
    try:
        check_claim(path, path.stat().st_size)
        entries = _read(path)
        arrays = {name: _as_number(array, name, path) for name, array in entries}
    except OSError as error:
        raise_system_fault(error, path)
        raise ValueError(f"{path} cannot be read: {error}") from error
    except MemoryError as error:
        raise ValueError(f"there is not enough memory to read {path}") from error
    if not arrays:
        raise ValueError(f"{path} holds no arrays")
    _check_count(path, len(arrays))
    for name in arrays:
        if not name.isprintable():
            shown = on_one_line(name)
            raise ValueError(f"{path} has an array named {shown}, which is no text")
    return without_wrappers(arrays)


def _read(path: Path) -> list[tuple[str, np.ndarray]]:
    start = starting_bytes(path)
    other = stand_in(start)
    if other:
        raise ValueError(f"{path} {other}; what is read: {FORMATS}")
    if start.startswith(b"PK"):
        return _read_zip(path)
    if TORCH_MAGIC in start[:64]:
        return _torch_arrays(path)
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 2**32:
        return _read_safetensors(path)
    if start.startswith(b"\x80"):
        raise ValueError(
            f"{path} is truncated, or a pickle that torch.save did not write, and is "
            "refused; save the arrays as safetensors or .npz"
        )
    try:  # a .caffemodel has no mark of its own
        return list(read_caffemodel(path).items())
    except ValueError as error:
        raise ValueError(f"{error}; what is read: {FORMATS}") from error


def _read_zip(path: Path) -> list[tuple[str, np.ndarray]]:
    """An ``.npz`` or PyTorch's newer format; both are zip archives."""
    members = zip_members(path)
    _check_count(path, len(members))
    if any(member.endswith("/data.pkl") for member in members):
        return _torch_arrays(path)
    if not all(member.endswith(".npy") for member in members):
        raise ValueError(f"{path} is a zip archive, but of none of {FORMATS}")
    return read_npz(path)


def _torch_arrays(path: Path) -> list[tuple[str, np.ndarray]]:
    return list(state_dict_in(load_torch_file(path), path).items())


def _read_safetensors(path: Path) -> list[tuple[str, np.ndarray]]:
    header = int.from_bytes(starting_bytes(path)[:8], "little")
    if header > path.stat().st_size - 8:
        raise ValueError(
            f"{path} is truncated or no safetensors file: its header claims "
            f"{header:,} bytes"
        )
    content = path.read_bytes()
    _check_count(path, content.count(b'"data_offsets"', 8, 8 + header))
    try:
        entries = deserialize(content)
    except SafetensorError as error:
        raise ValueError(
            f"{path} is truncated or no safetensors file: {error}"
        ) from error
    arrays = []
    for name, entry in entries:
        kind = entry["dtype"]
        if kind not in SAFETENSORS_TYPES:
            raise ValueError(_other_type(path, name, kind))
        array = np.frombuffer(entry["data"], SAFETENSORS_TYPES[kind])
        if kind == "BF16":  # the upper half of a float32
            array = (array.astype("<u4") << 16).view("<f4")
        arrays.append((name, array.reshape(entry["shape"])))
    return arrays


def _check_count(path: Path, count: int) -> None:
    if count > MOST_ARRAYS:
        raise ValueError(
            f"{path} holds {count:,} arrays, more than the {MOST_ARRAYS:,} that are "
            "read; save those of one network alone"
        )


def _as_number(array: np.ndarray, name: str, path: Path) -> np.ndarray:
    """A floating-point array as float32, others in the machine's byte order."""
    array = np.asarray(array)
    if array.dtype.kind not in NUMBERS:
        raise ValueError(_other_type(path, name, str(array.dtype)))
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    return array.astype(array.dtype.newbyteorder("="))


def _other_type(path: Path, name: str, kind: str) -> str:
    return (
        f"{path}: the array {on_one_line(name)} is of type {kind}; what is read: "
        "floating-point numbers of 16 to 64 bits, integers and booleans"
    )
