"""Files of PyTorch, read and written without trusting them.

Only tensors, numbers, strings and containers are ever unpickled
(``torch.load(weights_only=True)``), never a module's code. This is the one place in the
package that needs torch to read a file; it is imported when it is called.
"""

import collections
import os
import pickletools
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from iin_jax.files.whole import whole_file

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
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"no weights at {path}")
    torch = _torch()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters is raised
            content = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle fails with whatever it runs into
        reason = str(error).lower()
        if not any(sign in reason for sign in REFUSED) or _is_cut_short(path):
            raise ValueError(f"{path} is truncated or no PyTorch file") from error
        raise ValueError(
            f"{path} holds a pickled module or other objects, not tensors alone, and "
            "is refused; save its state_dict() instead"
        ) from error
    try:
        return _to_numpy(torch, content)
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


def _to_numpy(torch: Any, value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        tensor = value.detach()
        return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    if isinstance(value, Mapping):
        return {name: _to_numpy(torch, entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_numpy(torch, entry) for entry in value]
    return value


def _to_torch(torch: Any, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _to_torch(torch, entry) for name, entry in value.items()}
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.array(value))
    return value
