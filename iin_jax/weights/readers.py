"""One reader for weight files of several formats, told apart by what is in them."""

import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize

from iin_jax.weights.caffe import read_caffemodel
from iin_jax.weights.torch_files import load_torch_file

FORMATS = "safetensors, .npz, .caffemodel and PyTorch files"
TORCH_MAGIC = bytes.fromhex("6cfc9c46f9206aa85019")  # near the start of legacy files
WRAPPERS = ("state_dict", "model", "params", "model_state_dict")
PARALLEL = "module."  # what torch's DataParallel puts before every name
ZIP_ERRORS = (  # what zipfile and NumPy raise for damage
    *(zipfile.BadZipFile, zlib.error, EOFError, OSError),
    *(ValueError, KeyError, TypeError, RuntimeError, SyntaxError),
)
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
    opened: what stands under ``state_dict``, ``model``, ``params`` or
    ``model_state_dict`` is read, the rest is not. A ``module.`` before all names is
    dropped, from files of any format.

    Returns:
      name -> array. Floating-point arrays are float32, whatever their precision in the
      file; integers and booleans stay.

    Raises:
      ImportError: a PyTorch file, and torch is not installed.
      ValueError: no such file, a folder, an empty, truncated or foreign file, one
        without arrays, or with arrays of other than numbers.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give the file with the weights")
    if not path.is_file():
        raise ValueError(f"no weights at {path}")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty; fetch or copy it again")
    try:
        entries = _read(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    arrays = {name: _as_number(array, name, path) for name, array in entries}
    if not arrays:
        raise ValueError(f"{path} holds no arrays")
    if all(name.startswith(PARALLEL) for name in arrays):
        arrays = {name.removeprefix(PARALLEL): array for name, array in arrays.items()}
    return arrays


def _read(path: Path) -> list[tuple[str, np.ndarray]]:
    with path.open("rb") as stream:
        start = stream.read(64)
    if start.startswith(b"PK"):
        return _read_zip(path)
    if TORCH_MAGIC in start:
        return _state_dict(load_torch_file(path), path)
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
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except ZIP_ERRORS as error:
        raise ValueError(
            f"{path} is truncated or damaged: it starts as an .npz or PyTorch file, "
            "but does not end as one; fetch or copy it again"
        ) from error
    if any(member.endswith("/data.pkl") for member in members):
        return _state_dict(load_torch_file(path), path)
    if not all(member.endswith(".npy") for member in members):
        raise ValueError(f"{path} is a zip archive, but of none of {FORMATS}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return [(name, archive[name]) for name in archive.files]
    except ZIP_ERRORS as error:
        if "allow_pickle" in str(error):
            raise ValueError(
                f"{path} holds an array of Python objects, which is a pickle and is "
                "refused; save arrays of numbers alone"
            ) from error
        raise ValueError(f"{path} is a damaged .npz file: {error}") from error


def _read_safetensors(path: Path) -> list[tuple[str, np.ndarray]]:
    try:
        entries = deserialize(path.read_bytes())
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


def _state_dict(content: Any, path: Path) -> list[tuple[str, np.ndarray]]:
    """The dictionary of arrays in what a PyTorch file holds."""
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{path} holds a {type(content).__name__}, no dictionary of arrays; save a "
            "state_dict()"
        )
    inner = {name: value for name, value in content.items() if _holds_arrays(value)}
    arrays = {
        name: value for name, value in content.items() if isinstance(value, np.ndarray)
    }
    if not inner:
        return [(str(name), array) for name, array in arrays.items()]
    for wrapper in WRAPPERS:
        if wrapper in inner and all(array.ndim == 0 for array in arrays.values()):
            return _state_dict(inner[wrapper], path)
    raise ValueError(
        f"{path} holds several sets of arrays, in the dictionaries "
        f"{', '.join(sorted(map(repr, inner)))}{' and beside them' if arrays else ''}; "
        f"save one alone, or under one of {', '.join(WRAPPERS)}"
    )


def _holds_arrays(value: Any) -> bool:
    """Whether it is a dictionary with arrays in it, at any depth."""
    return isinstance(value, Mapping) and any(
        isinstance(entry, np.ndarray) or _holds_arrays(entry)
        for entry in value.values()
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
        f"{path}: the array {name} is of type {kind}; what is read: floating-point "
        "numbers of 16 to 64 bits, integers and booleans"
    )
