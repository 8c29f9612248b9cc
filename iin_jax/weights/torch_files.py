"""Files of PyTorch, read and written without trusting them.

Only tensors, numbers, strings, containers and a few types of NumPy and the standard
library are ever unpickled (``torch.load(weights_only=True)``), never a module's code.
This is the one place in the package that needs torch to read a file; it is imported
when it is called.
"""

import argparse
import codecs
import collections
import os
import pathlib
import pickletools
import re
import types
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from iin_jax.files.faults import raise_system_fault
from iin_jax.files.hints import short
from iin_jax.files.limits import check_claim
from iin_jax.files.paths import check_regular, local_path, stand_in, starting_bytes
from iin_jax.files.whole import whole_file
from iin_jax.weights.npz import zip_members
from iin_jax.weights.state_dicts import PickledArray

NEEDS_TORCH = (
    "PyTorch files need torch, which is not installed: pip install 'iin_jax[torch]', "
    "or convert the file once where it is (python -m iin_jax.convert)"
)

REFUSED = (  # phrases of torch's refusal to run code
    "unsupported global",
    "unsupported class",  # older versions of torch
    "cannot use ``weights_only=true``",
)
LEGACY_PICKLES = 4  # magic number, protocol, machine, content; storages follow


def load_torch_file(path: str | os.PathLike) -> Any:
    """Reads a ``.pth``, ``.pt``, ``.th`` or ``.ckpt`` file, zip or legacy format.

    Returns:
      What was saved, with NumPy arrays in place of tensors; floating-point arrays are
      float32, whatever their precision in the file.

    Raises:
      ImportError: torch is not installed.
      ValueError: no such file, a truncated or foreign one, a pickle that holds more
        than tensors, numbers and containers (a whole module), or a tensor that is no
        plain array (sparse, quantised).
    """
    path = local_path(path)
    check_regular(path)
    if not path.is_file():
        raise ValueError(f"no weights at {path}")
    torch = _torch()
    other = stand_in(starting_bytes(path))
    if other:
        raise ValueError(f"{path} is truncated or no PyTorch file: it {other}")
    if zipfile.is_zipfile(path):
        zip_members(path)
    content = _loaded(torch, path)
    try:
        check_claim(path, _claimed(torch, content, {}))
        return _to_numpy(torch, content, {})
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deeply") from error
    except (TypeError, RuntimeError, NotImplementedError) as error:
        raise ValueError(
            f"{path} holds a tensor that is no plain array (sparse, quantised or "
            "without values); save it dense"
        ) from error


def save_torch_file(path: str | os.PathLike, content: Mapping[str, Any]) -> None:
    """Writes nested dictionaries of NumPy arrays as tensors, whole or not at all.

    Raises:
      ImportError: torch is not installed.
      OSError: the file cannot be written.
    """
    torch = _torch()
    tensors = _to_torch(torch, content)
    with whole_file(path) as unfinished:
        torch.save(tensors, unfinished)


def _loaded(torch: Any, path: Path) -> Any:
    """What was saved; a ValueError for damage, and for objects that would be code."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters is raised
            with torch.serialization.safe_globals(_harmless()):
                return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError as error:
        raise ValueError(f"there is not enough memory to read {path}") from error
    except Exception as error:  # a damaged pickle fails with whatever it runs into
        raise_system_fault(error, path)
        reason = str(error).lower()
        if not any(sign in reason for sign in REFUSED) or _is_cut_short(path):
            raise ValueError(f"{path} is truncated or no PyTorch file") from error
        kind = re.search(r"GLOBAL ([\w.]+)", str(error))
        named = f" ({short(kind[1], 100)})" if kind else ""
        raise ValueError(
            f"{path} holds a pickled module or other objects{named}, not tensors "
            "alone, and is refused; save its state_dict() instead"
        ) from error


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError(NEEDS_TORCH) from error
    return torch


def _is_cut_short(path: Path) -> bool:
    """Whether a legacy file ends inside its pickles; walks them, executes nothing.

    A name cut in the middle looks to torch like the name of an unknown class.
    """
    with path.open("rb") as stream:
        if stream.read(2) == b"PK":  # zip: torch itself notices a missing end
            return False
        stream.seek(0)
        try:
            for _ in range(LEGACY_PICKLES):
                collections.deque(pickletools.genops(stream), maxlen=0)
        except Exception:  # a damaged pickle fails with whatever it runs into
            return True
    return False


def _harmless() -> list[Any]:
    """Types that hold values alone: torch may rebuild them, too.

    NumPy's functions moved to ``numpy._core``; files know both names.
    """
    functions = {
        "scalar": np.float64(0.0).__reduce__()[0],
        "_reconstruct": np.zeros(1).__reduce__()[0],
    }
    dtypes = {type(np.dtype(code)) for code in np.typecodes["All"]}
    return [
        *(
            (function, f"numpy.{folder}.multiarray.{name}")
            for name, function in functions.items()
            for folder in ("core", "_core")
        ),
        *(np.ndarray, np.dtype, *dtypes, (codecs.encode, "_codecs.encode")),
        *(argparse.Namespace, types.SimpleNamespace, pathlib.PosixPath),
    ]


def _parts(value: Any) -> Iterable[Any]:
    """What a container holds; nothing of anything else."""
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, (list, tuple)) else ()


def _claimed(torch: Any, value: Any, seen: dict[int, Any]) -> int:
    """Bytes of all tensors, each container counted once; a stride of 0 claims more."""
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if id(value) in seen:
        return 0
    seen[id(value)] = value
    return sum(_claimed(torch, part, seen) for part in _parts(value))


def _to_numpy(torch: Any, value: Any, done: dict[int, Any]) -> Any:
    """The same with arrays; containers that stand in several places stay one.

    Args:
      torch: the module.
      value: what was loaded.
      done: identity of a container -> its copy, so that 2^32 lists of one kB end.
    """
    if isinstance(value, torch.Tensor):
        tensor = value.detach()
        return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    if isinstance(value, np.ndarray):
        return value.view(PickledArray)
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, Mapping):
        copy = done[id(value)] = {}
        copy.update({k: _to_numpy(torch, part, done) for k, part in value.items()})
        return copy
    if isinstance(value, (list, tuple)):
        parts = done[id(value)] = []
        parts.extend(_to_numpy(torch, part, done) for part in value)
        return parts
    return value


def _to_torch(torch: Any, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _to_torch(torch, entry) for name, entry in value.items()}
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.array(value))
    return value
