"""The one state dictionary in what trainers and wrapped modules save."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from iin_jax.files.hints import short

# names under which trainers save weights, the first of which counts
WRAPPERS = (
    *("state_dict", "model", "params", "model_state_dict", "net", "network", "weights"),
)
# beginnings of names under which they save arrays that are no weights
STATES = ("optim", "sched", "lr_sched", "scaler", "amp", "rng", "random")
# what data-parallel and compiled modules put before every name, the latter within too
PREFIXES = ("module.", "_orig_mod.")
WITHIN = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
COUNTER = "n_averaged"  # what an averaged module counts in


class PickledArray(np.ndarray):
    """An array that was NumPy's in a file of tensors: a record rather than weights."""


def state_dict_in(content: Any, path: Path) -> dict[str, np.ndarray]:
    """The dictionary of arrays in what a PyTorch file holds.

    Args:
      content: with NumPy arrays in place of tensors.
      path: the file, for messages.

    Raises:
      ValueError: no dictionary, or several that hold arrays.
    """
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{path} holds a {type(content).__name__}, no dictionary of arrays; save a "
            "state_dict()"
        )
    inner = {
        name: value for name, value in content.items() if _holds_arrays(value, set())
    }
    arrays = {
        name: value for name, value in content.items() if isinstance(value, np.ndarray)
    }
    if not inner:
        return {str(name): array for name, array in arrays.items()}
    beside = [
        array
        for array in arrays.values()
        if array.ndim and not isinstance(array, PickledArray)
    ]
    models = [name for name in inner if not str(name).lower().startswith(STATES)]
    known = [name for name in WRAPPERS if name in inner]
    chosen = known[:1] or (models if len(models) == 1 else [])
    if chosen and not beside:
        return state_dict_in(inner[chosen[0]], path)
    raise ValueError(
        f"{path} holds several sets of arrays, in the dictionaries "
        f"{short(', '.join(sorted(map(repr, inner))))}"
        f"{' and beside them' if arrays else ''}; "
        f"save one alone, or under one of {', '.join(WRAPPERS)}"
    )


def without_wrappers(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The same arrays under their names in the plain module.

    Drops what data-parallel, compiled, sharded and averaged modules add. A prefix goes
    only if all names have it.
    """
    names = {str(name): name for name in arrays}
    averaged = [name for name in names if name != COUNTER]
    if averaged and all(name.startswith(PREFIXES) for name in averaged):
        names.pop(COUNTER, None)
    plain = {_without_within(name): names[name] for name in names}
    if len(plain) < len(names):
        plain = names
    while plain and any(_all_begin(plain, prefix) for prefix in PREFIXES):
        plain = {name.partition(".")[2]: key for name, key in plain.items()}
    return {name: arrays[key] for name, key in plain.items()}


def without_prefix(
    arrays: Mapping[str, np.ndarray], matched: Callable[[Mapping[str, Any]], int]
) -> Mapping[str, np.ndarray]:
    """The arrays without the part before all their names that a trainer has put there.

    Args:
      arrays: name -> array.
      matched: how many names of a dictionary are known; what knows most is returned.
    """
    best, current = arrays, arrays
    while True:
        heads = {name.partition(".")[0] for name in current}
        if len(heads) != 1 or not all("." in name for name in current):
            return best
        current = {name.partition(".")[2]: array for name, array in current.items()}
        if matched(current) > matched(best):
            best = current


def _without_within(name: str) -> str:
    for part in WITHIN:
        name = name.replace(part, "")
    return name


def _all_begin(names: Mapping[str, Any], prefix: str) -> bool:
    return all(name.startswith(prefix) for name in names)


def _holds_arrays(value: Any, seen: set[int]) -> bool:
    """Whether it is a dictionary with arrays in it, at any depth.

    Args:
      value: anything that was pickled, in which parts may stand several times.
      seen: identities of dictionaries that are known to hold none.
    """
    if not isinstance(value, Mapping) or id(value) in seen:
        return False
    seen.add(id(value))
    return any(
        isinstance(entry, np.ndarray) or _holds_arrays(entry, seen)
        for entry in value.values()
    )
