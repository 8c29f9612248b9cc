"""State dictionaries of the published code: read, told apart, accounted for."""

import dataclasses
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from iin_jax.flows.act_norm import MAX_LOG_SCALE
from iin_jax.types import Array, Tree
from iin_jax.weights.state_dicts import without_wrappers
from iin_jax.weights.torch_files import load_torch_file

State = Mapping[str, Any]  # published name -> array

READERS = {
    "flow": "load_published_flow",
    "autoencoder": "load_published_network",
    "classifier": "load_published_network",
}
NAMES_SHOWN = 8


@dataclasses.dataclass(frozen=True)
class Layout:
    """How an array is laid out in ours and in the published code.

    Attributes:
      to_ours: takes the published array, NumPy or under tracing.
      to_published: takes our array; the shape is set afterwards.
    """

    to_ours: Callable[[Any], Array]
    to_published: Callable[[np.ndarray], np.ndarray] = lambda ours: ours


def log_magnitude(scale: Array) -> Array:
    """log|scale| of any shape, flat; of a NumPy array the nearest float32."""
    if isinstance(scale, np.ndarray):
        return np.log(np.abs(scale.reshape(-1)), dtype=np.float64).astype(np.float32)
    return jnp.log(jnp.abs(scale.reshape(-1)))


def magnitude(log_scale: np.ndarray) -> np.ndarray:
    """The factor by which ``ActNorm`` multiplies, without its sign, in float32."""
    clipped = np.clip(log_scale, -MAX_LOG_SCALE, MAX_LOG_SCALE)
    return np.exp(clipped, dtype=np.float64).astype(np.float32)


VECTOR = Layout(lambda array: array.reshape(-1))
LOG_SCALE = Layout(log_magnitude, magnitude)
LINEAR = Layout(np.transpose, np.transpose)
CONV = Layout(lambda oihw: oihw.transpose(2, 3, 1, 0))
# the published layer stamps the kernel, Flax's correlates with it: turned by half
CONV_TRANSPOSE = Layout(lambda iohw: iohw[:, :, ::-1, ::-1].transpose(2, 3, 0, 1))


@dataclasses.dataclass(frozen=True)
class Entry:
    """One array of a published state dictionary.

    Attributes:
      name, shape: those of the published array.
      path: path of our parameter; empty for buffers of integers.
      layout: how both hold the same values.
    """

    name: str
    shape: tuple[int, ...]
    path: tuple[str, ...] = ()
    layout: Layout = VECTOR


def act_norm_entries(name: str, path: tuple[str, ...], channels: int) -> list[Entry]:
    """A published ActNorm's three arrays."""
    shape = (1, channels, 1, 1)
    return [
        Entry(f"{name}.loc", shape, (*path, "loc")),
        Entry(f"{name}.scale", shape, (*path, "log_scale"), LOG_SCALE),
        Entry(f"{name}.initialized", ()),
    ]


def read_checkpoint(path: str | os.PathLike) -> tuple[str, State, Mapping]:
    """Reads a published checkpoint, or a bare state dictionary.

    Returns:
      What it holds (a key of ``READERS``), its state dictionary without what wrapped
      modules put into all names, and the whole content.

    Raises:
      ValueError: no such file, a damaged one, or names of nothing that is known.
    """
    content = load_torch_file(path)
    if not isinstance(content, Mapping):
        raise ValueError(
            f'{path} holds a {type(content).__name__}; expected {{"model": state_dict}}'
        )
    state = content.get("model", content)
    if isinstance(state, Mapping):
        state = without_wrappers(state)
        kind = _kind(state)
        if kind is not None:
            return kind, state, content
    if "model" not in content:
        raise ValueError(
            f'{path} has no entry "model" and is no state dictionary of a published '
            f"flow, autoencoder or classifier; found {_listed(content)}"
        )
    listing = _listed(state) if isinstance(state, Mapping) else type(state).__name__
    raise ValueError(
        f'"model" in {path} is no published flow, autoencoder or classifier; found '
        f"{listing}"
    )


def wrong_reader(path: str | os.PathLike, kind: str) -> ValueError:
    """The error for a file that another function reads."""
    article = "an" if kind == "autoencoder" else "a"
    return ValueError(
        f"{path} holds {article} {kind}: read it with iin_jax.convert.{READERS[kind]}"
    )


def check_arrays(
    where: Any,
    arrays: State,
    shapes: Mapping[str, tuple[int, ...]],
    integers: Collection[str] = (),
) -> None:
    """Raises one ValueError that names every array that is not as expected.

    Args:
      where: what holds the arrays, for the message.
      arrays: name -> array.
      shapes: name -> shape; all of these, and no others, must be there.
      integers: names of arrays of integers; all others are finite float32.
    """
    problems = [f"missing {name}" for name in shapes if name not in arrays]
    problems += [f"unexpected {name}" for name in arrays if name not in shapes]
    for name in [name for name in shapes if name in arrays]:
        problem = _problem(arrays[name], shapes[name], name in integers)
        problems += [f"{name} {problem}"] if problem else []
    if problems:
        raise ValueError(f"{where} does not fit: {'; '.join(problems)}")


def check_entries(where: Any, entries: Iterable[Entry], state: State) -> None:
    """Raises ValueError unless the state dictionary is complete and can be computed.

    One message names all arrays that are missing, unexpected, misshapen or of another
    type; one more all ActNorms that are singular, out of range or uninitialised.
    """
    entries = list(entries)
    shapes = {entry.name: entry.shape for entry in entries}
    check_arrays(where, state, shapes, {e.name for e in entries if not e.path})
    problems = []
    for entry in entries:
        if entry.name.endswith(".initialized") and not state[entry.name]:
            problems.append(
                f"{entry.name} is 0, so the published code would still set loc and "
                "scale from its next batch: run one there and save again"
            )
        if entry.layout is LOG_SCALE:
            problems += _scale_problems(entry.name, state[entry.name])
    if problems:
        raise ValueError(f"{where} cannot be used: {'; '.join(problems)}")


def params_from(entries: Iterable[Entry], state: State) -> Tree:
    """Our parameters of published ones; differentiable in the published ones."""
    flat = {
        entry.path: jnp.asarray(entry.layout.to_ours(state[entry.name]))
        for entry in entries
        if entry.path
    }
    return traverse_util.unflatten_dict(flat)


def signs_from(entries: Iterable[Entry], state: State) -> dict[tuple[str, ...], Array]:
    """path of the constant -> signs (C,), for ActNorms with a negative scale."""
    return {
        (*entry.path[:-1], "sign"): jnp.asarray(np.sign(state[entry.name]).reshape(-1))
        for entry in entries
        if entry.layout is LOG_SCALE and (state[entry.name] < 0).any()
    }


def _kind(state: State) -> str | None:
    parts = {name.split(".")[0] for name in state}
    if "realnvp" in parts:
        return "flow"
    if "classifier" in parts:
        return "classifier"
    published = {"feature_layers", "dense_encode", "dense_decode", "decoder_layers"}
    return "autoencoder" if parts & published else None


def _problem(array: Any, shape: tuple[int, ...], integers: bool) -> str | None:
    if not hasattr(array, "dtype"):
        return f"is a {type(array).__name__}, not an array"
    kind = np.dtype(array.dtype).kind
    if tuple(array.shape) != tuple(shape):
        return f"has shape {tuple(array.shape)}, expected {tuple(shape)}"
    if integers and kind not in "iub":
        return f"has type {array.dtype}, expected integers"
    if not integers and array.dtype != np.float32:
        return f"has type {array.dtype}, expected float32"
    if not integers and not np.isfinite(array).all():
        return "holds NaN or infinite values"
    return None


def _scale_problems(name: str, scale: np.ndarray) -> list[str]:
    if not scale.all():
        return [f"{name} is zero in {int((scale == 0).sum())} channels: singular"]
    largest = float(np.abs(log_magnitude(scale)).max())
    if largest > MAX_LOG_SCALE * (1.0 + 1e-6):
        return [
            f"{name} reaches |log scale| = {largest:.4g}; ActNorm goes to "
            f"{MAX_LOG_SCALE:g}"
        ]
    return []


def _listed(mapping: Mapping) -> str:
    names = [repr(name) for name in mapping]
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return (", ".join(names[:NAMES_SHOWN]) or "nothing") + more
