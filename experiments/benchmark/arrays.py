"""Files through which the processes exchange arrays, without either framework."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes named arrays to one safetensors file."""
    save_file({name: np.asarray(x, order="C") for name, x in arrays.items()}, path)


def read_arrays(folder: str | Path, name: str) -> dict[str, np.ndarray]:
    """What ``write_arrays`` wrote to ``NAME.safetensors`` in a task's folder."""
    return load_file(Path(folder) / f"{name}.safetensors")
