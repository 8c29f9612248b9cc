"""The published invertible network: its checkpoints as our flow, and back.

Published, the second coupling leaves the halves swapped, ``(x_1', x_0')``, and the
permutation follows; ours keeps them in place, ``(x_0', x_1')``. The swap is folded into
the permutation: ``permutation = (index + N/2) mod N``, which is its own way back.
"""

import itertools
import os
import re
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from iin_jax.convert.state_dict import (
    LINEAR,
    Entry,
    State,
    act_norm_entries,
    check_arrays,
    check_entries,
    magnitude,
    params_from,
    read_checkpoint,
    signs_from,
    wrong_reader,
)
from iin_jax.files.paths import local_path
from iin_jax.flows import InterpretationFlow, LinearStart, StartedFlow
from iin_jax.flows.base import check_even
from iin_jax.types import Tree
from iin_jax.weights.torch_files import save_torch_file
from iin_jax.weights.tree_files import flatten

OURS = "iin_jax"  # entry of a checkpoint that the published code skips
ONE_ULP = 2.0**-23


def load_published_flow(
    path: str | os.PathLike,
) -> tuple[InterpretationFlow, dict[str, Tree]]:
    """Reads a flow that the published PyTorch code, or ``save_published_flow``, wrote.

    Its sizes follow from the arrays. What was trained on in PyTorch is read as it
    stands there; what came from here and was not, is bit for bit what it was, precision
    included.

    Args:
      path: a checkpoint ``{"model": state_dict, ...}`` or the bare state dictionary;
        names may begin with ``module.``.

    Returns:
      The flow and its variables, ``{"params", "constants"}``. Latents are (B, N), where
      the published code has (B, N, 1, 1); the residual is their last factor.

    Raises:
      ImportError: torch is not installed.
      ValueError: no such file, a damaged one, a network instead of a flow; arrays that
        are missing, unexpected, misshapen, of another type or not finite; no
        permutation; an ActNorm that is singular, not initialised, or scales by more
        than e^20.
    """
    kind, state, content = read_checkpoint(path)
    if kind != "flow":
        raise wrong_reader(path, kind)
    flow = flow_of(state)
    check_entries(path, flow_entries(flow), state)
    constants = flow_constants(state, path)
    params = flow_params(state)
    if isinstance(content.get(OURS), Mapping):
        flow, params = _as_exported(flow, params, state, content[OURS])
    return flow, {"params": params, "constants": constants}


def save_published_flow(
    path: str | os.PathLike,
    flow: InterpretationFlow | StartedFlow | LinearStart,
    variables: Tree,
) -> None:
    """Writes a checkpoint that the published PyTorch code restores.

    ``"model"`` is exactly its state dictionary. Beside it, which it skips, lie the
    logarithms of the ActNorms' scales (their exponentials do not give them back bit for
    bit) and the flow's precision.

    Raises:
      ImportError: torch is not installed.
      ValueError: a flow with a linear start; variables that are not this flow's, not
        float32 or not finite.
    """
    if type(flow) is not InterpretationFlow:
        raise ValueError(
            f"a published checkpoint holds couplings, and no linear start as a "
            f"{type(flow).__name__} has one: train with start='published' to export"
        )
    _check_variables(flow, variables)
    params = flatten(variables["params"])
    entries = flow_entries(flow)
    integers = _integer_buffers(flow, variables["constants"])
    state = {}
    for entry in entries:
        if entry.path:
            array = entry.layout.to_published(params["/".join(entry.path)])
            array = np.ascontiguousarray(array).reshape(entry.shape)
        else:
            array = integers[entry.name]
        state[entry.name] = array
    log_scales = {}
    for index in range(flow.num_blocks):
        name, block = f"realnvp.flow.{index}.flow.0.scale", _block_name(index)
        sign = _sign(variables["constants"], index)
        state[name] = state[name] * sign.reshape(-1, 1, 1)
        log_scales[block] = params[f"{block}/act_norm/log_scale"]
    local_path(path).parent.mkdir(parents=True, exist_ok=True)
    extras = {"precision": flow.precision, "log_scale": log_scales}
    save_torch_file(path, {"model": state, OURS: extras})


def flow_of(state: State) -> InterpretationFlow:
    """The flow of the sizes that (most of) a published flow's arrays have.

    Raises:
      ValueError: N is odd.
    """
    blocks, dims, widths = [0], [], []
    last_layer: dict[str, int] = {}
    for name, array in state.items():
        match = re.fullmatch(r"realnvp\.flow\.(\d+)\.flow\.(.+)", name)
        if match is None:
            continue
        blocks.append(int(match[1]))
        if match[2] in ("0.loc", "0.scale"):
            dims.append(int(np.size(array)))
        layer = re.fullmatch(r"(1\.[st]\.[01])\.main\.(\d+)\.bias", match[2])
        if layer is not None:
            net = f"{match[1]}.{layer[1]}"
            last_layer[net] = max(int(layer[2]), last_layer.get(net, 0))
            widths += [int(np.size(array))] if layer[2] == "0" else []
    dim = statistics.mode(dims or [InterpretationFlow.dim])
    check_even(dim)
    hidden_dim = statistics.mode(widths or [InterpretationFlow.hidden_dim])
    depth = statistics.mode(list(last_layer.values()) or [6]) // 2 - 1
    return InterpretationFlow(dim, max(blocks) + 1, hidden_dim, max(depth, 0))


def flow_entries(flow: InterpretationFlow) -> list[Entry]:
    """Every array of the published flow of these sizes, in the published order."""
    entries = []
    for index in range(flow.num_blocks):
        name, block = f"realnvp.flow.{index}.flow", _block_name(index)
        entries += act_norm_entries(f"{name}.0", (block, "act_norm"), flow.dim)
        for net, role in (("s", "log_scale"), ("t", "shift")):
            for half, coupling in enumerate(("coupling", "coupling_flipped")):
                path = (block, coupling, role)
                entries += _net_entries(flow, f"{name}.1.{net}.{half}.main", path)
        entries += [
            Entry(f"{name}.2.{direction}_shuffle_idx", (flow.dim,))
            for direction in ("forward", "backward")
        ]
    return entries


def flow_params(state: State) -> Tree:
    """Our ``params`` of a published state dictionary's arrays, nothing checked.

    Pure and differentiable, so it may stand inside ``jax.grad`` with respect to the
    published parameters. Signs and permutations are in ``flow_constants``.
    """
    return params_from(flow_entries(flow_of(state)), state)


def flow_constants(state: State, where: Any = "the checkpoint") -> Tree:
    """Our ``constants``: permutations, and signs where a published scale is negative.

    Raises:
      ValueError: shuffle indices that are no permutation, or whose stored inverse is
        that of another.
    """
    flow = flow_of(state)
    constants: dict[tuple[str, ...], Any] = {}
    broken = []
    for index in range(flow.num_blocks):
        name = f"realnvp.flow.{index}.flow.2"
        forward = np.asarray(state[f"{name}.forward_shuffle_idx"])
        backward = np.asarray(state[f"{name}.backward_shuffle_idx"])
        if not _is_permutation(forward):
            broken.append(f"{name}.forward_shuffle_idx is no permutation")
        elif (np.argsort(forward) != backward).any():
            broken.append(f"{name}.backward_shuffle_idx does not undo the forward one")
        constants[_block_name(index), "shuffle", "permutation"] = jnp.asarray(
            _swapped(forward)
        )
    if broken:
        raise ValueError(f"{where} cannot be used: {'; '.join(broken)}")
    constants |= signs_from(flow_entries(flow), state)
    return traverse_util.unflatten_dict(constants)


def _net_entries(
    flow: InterpretationFlow, name: str, path: tuple[str, ...]
) -> Iterable[Entry]:
    half, hidden = flow.dim // 2, flow.hidden_dim
    widths = [half, *[hidden] * (flow.hidden_depth + 1), half]
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
        dense = (*path, f"Dense_{layer}")
        weight = f"{name}.{2 * layer}.weight"  # activations take the odd numbers
        yield Entry(weight, (fan_out, fan_in), (*dense, "kernel"), LINEAR)
        yield Entry(f"{name}.{2 * layer}.bias", (fan_out,), (*dense, "bias"))


def _block_name(index: int) -> str:
    return f"blocks_{index}"


def _is_permutation(index: np.ndarray) -> bool:
    return bool((np.sort(index) == np.arange(len(index))).all())


def _swapped(index: np.ndarray) -> np.ndarray:
    half = len(index) // 2
    return (index.astype(np.int64) + half) % (2 * half)


def _as_exported(
    flow: InterpretationFlow, params: Tree, state: State, ours: Mapping
) -> tuple[InterpretationFlow, Tree]:
    """Puts back what our own export lays beside the model, where it still holds."""
    precision, log_scales = ours.get("precision"), ours.get("log_scale")
    if isinstance(precision, str):
        flow = flow.clone(precision=precision)
    if not isinstance(log_scales, Mapping):
        return flow, params
    for index in range(flow.num_blocks):
        log_scale = log_scales.get(_block_name(index))
        act_norm = params[_block_name(index)]["act_norm"]
        if not isinstance(log_scale, np.ndarray) or log_scale.shape != (flow.dim,):
            continue
        stored = np.abs(state[f"realnvp.flow.{index}.flow.0.scale"].reshape(-1))
        agrees = np.isclose(magnitude(log_scale), stored, rtol=ONE_ULP, atol=0.0)
        act_norm["log_scale"] = jnp.where(agrees, log_scale, act_norm["log_scale"])
    return flow, params


def _integer_buffers(
    flow: InterpretationFlow, constants: Tree
) -> dict[str, np.ndarray]:
    buffers = {}
    for index in range(flow.num_blocks):
        name = f"realnvp.flow.{index}.flow"
        permutation = constants[_block_name(index)]["shuffle"]["permutation"]
        forward = _swapped(np.asarray(permutation))
        buffers[f"{name}.0.initialized"] = np.array(1, np.uint8)
        buffers[f"{name}.2.forward_shuffle_idx"] = forward
        buffers[f"{name}.2.backward_shuffle_idx"] = np.argsort(forward)
    return buffers


def _sign(constants: Tree, index: int) -> np.ndarray:
    sign = constants[_block_name(index)].get("act_norm", {}).get("sign", 1.0)
    return np.asarray(sign, np.float32)


def _check_variables(flow: InterpretationFlow, variables: Tree) -> None:
    if not isinstance(flow.precision, str):
        raise ValueError(
            f"a flow's precision must be a string to be saved; got {flow.precision!r}"
        )
    example = jax.ShapeDtypeStruct((2, flow.dim), jnp.float32)
    expected = jax.eval_shape(flow.init, jax.random.key(0), example)
    flat: dict[str, Any] = dict(traverse_util.flatten_dict(dict(expected), sep="/"))
    shapes = {name: array.shape for name, array in flat.items()}
    arrays = flatten(variables)
    permutations = {name for name in shapes if name.endswith("/permutation")}
    blocks = range(flow.num_blocks)
    signs = {f"constants/{_block_name(index)}/act_norm/sign" for index in blocks}
    signs &= set(arrays)
    shapes |= dict.fromkeys(signs, (flow.dim,))
    check_arrays("what was given for this flow", arrays, shapes, permutations)
    broken = [
        f"{name} is no permutation"
        for name in sorted(permutations)
        if not _is_permutation(arrays[name])
    ]
    broken += [
        f"{name} must hold 1 and -1 alone"
        for name in sorted(signs)
        if not np.isin(arrays[name], (-1.0, 1.0)).all()
    ]
    if broken:
        raise ValueError(f"the flow's constants are damaged: {'; '.join(broken)}")
