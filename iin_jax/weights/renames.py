"""From another framework's names and layouts to ours; every array is accounted for."""

import dataclasses
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from iin_jax.files.hints import short
from iin_jax.types import Tree

NAMED = 20  # most arrays of one kind that a message names
MESSAGE = 1200  # most characters of a message about arrays

LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "same": lambda array: array,
    "conv": lambda array: np.transpose(array, (2, 3, 1, 0)),  # OIHW -> HWIO
    "dense": lambda array: np.transpose(array),  # (out, in) -> (in, out)
}
BACK: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "same": lambda array: array,
    "conv": lambda array: np.transpose(array, (3, 2, 0, 1)),
    "dense": lambda array: np.transpose(array),
}
RANKS = {"conv": 4, "dense": 2}  # dimensions that a layout needs


@dataclasses.dataclass(frozen=True)
class Rename:
    """One row of a rename table.

    Attributes:
      source: regular expression of whole names in the file.
      target: our name, a path with ``/``, in which ``\\1`` stands for the first group;
        None: the array is known, and not needed.
      layout: key of ``LAYOUTS``, from theirs to ours.
    """

    source: str
    target: str | None
    layout: str = "same"


Table = tuple[Rename, ...]


def conv(names: str, target: str = r"\1") -> Table:
    """Rows for convolutions: ``weight`` OIHW and ``bias``; one group in ``names``."""
    return (
        Rename(rf"({names})\.weight", rf"params/{target}/kernel", "conv"),
        Rename(rf"({names})\.bias", rf"params/{target}/bias"),
    )


def dense(names: str, target: str = r"\1") -> Table:
    """Rows for linear layers: ``weight`` (out, in) and ``bias``."""
    return (
        Rename(rf"({names})\.weight", rf"params/{target}/kernel", "dense"),
        Rename(rf"({names})\.bias", rf"params/{target}/bias"),
    )


def norm(names: str, target: str = r"\1") -> Table:
    """Rows for PyTorch's batch and layer normalisation, running statistics included."""
    return (
        Rename(rf"({names})\.weight", rf"params/{target}/scale"),
        Rename(rf"({names})\.bias", rf"params/{target}/bias"),
        Rename(rf"({names})\.running_mean", rf"batch_stats/{target}/mean"),
        Rename(rf"({names})\.running_var", rf"batch_stats/{target}/var"),
        Rename(rf"({names})\.num_batches_tracked", None),
    )


def matched(names: Iterable[str], table: Table) -> int:
    """How many names a table knows."""
    return sum(_row(name, table) is not None for name in names)


def rename(
    arrays: Mapping[str, np.ndarray],
    table: Table,
    template: Tree,
    what: str,
    *,
    path: str | os.PathLike | None = None,
) -> Tree:
    """Brings arrays into our names and layouts.

    Args:
      arrays: name in the file -> array.
      table: the first row that matches a name counts.
      template: tree of arrays or ``jax.ShapeDtypeStruct``: all that is expected.
      what: whose weights they should be, for the message.
      path: the file they come from, for the message too.

    Returns:
      A tree like ``template``, of NumPy arrays.

    Raises:
      ValueError: arrays that no row knows (unused), that nothing expects (extra), that
        are missing, misshapen or no floating-point numbers: all in one message.
    """
    expected: dict[str, Any] = traverse_util.flatten_dict(dict(template), sep="/")
    renamed: dict[str, np.ndarray] = {}
    wrong: dict[str, list[str]] = {}

    def complain(kind: str, text: str) -> None:
        wrong.setdefault(kind, []).append(text)

    for name, array in arrays.items():
        row = _row(name, table)
        if row is None:
            complain("unused", f"{name} {array.shape}")
            continue
        target, layout = row
        if target is None:
            continue
        if target not in expected:
            complain("extra", f"{name} {array.shape}")
        elif target in renamed:
            complain("given twice", name)
        elif array.dtype.kind != "f":
            complain("no floating-point numbers", f"{name} ({array.dtype})")
            renamed[target] = array
        else:
            renamed[target] = _laid_out(array, layout)
            if renamed[target].shape != tuple(expected[target].shape):
                shapes = f"{renamed[target].shape}, not {tuple(expected[target].shape)}"
                complain("misshapen", f"{name} (in our layout {shapes})")
    for target in expected.keys() - renamed.keys():
        complain("missing", target)
    if wrong:
        listed = "; ".join(f"{kind}: {_some(names)}" for kind, names in wrong.items())
        listed = short(listed, MESSAGE)
        where = "the arrays" if path is None else f"{path}: the arrays"
        raise ValueError(f"{where} are not the weights of {what}: {listed}")
    typed = {name: renamed[name].astype(expected[name].dtype) for name in expected}
    return traverse_util.unflatten_dict(typed, sep="/")


def shapes_in(
    arrays: Mapping[str, np.ndarray], table: Table
) -> dict[str, tuple[int, ...]]:
    """Our name -> shape in our layout, of every array that a table knows and needs."""
    rows = {name: _row(name, table) for name in arrays}
    return {
        row[0]: _laid_out(arrays[name], row[1]).shape
        for name, row in rows.items()
        if row is not None and row[0] is not None
    }


def rename_back(
    tree: Tree, table: Table, names: Iterable[str]
) -> dict[str, np.ndarray]:
    """The inverse of ``rename``: our arrays under another framework's names.

    Args:
      tree: our arrays.
      table: as for ``rename``.
      names: names to fill; those that a table knows and does not need are left out.

    Raises:
      ValueError: names that no row knows, or for which we have no array.
    """
    ours = traverse_util.flatten_dict(dict(tree), sep="/")
    arrays, unknown = {}, []
    for name in names:
        row = _row(name, table)
        if row is None or (row[0] is not None and row[0] not in ours):
            unknown.append(name)
        elif row[0] is not None:
            arrays[name] = np.asarray(BACK[row[1]](np.asarray(ours[row[0]])), order="C")
    if unknown:
        raise ValueError(f"our arrays have nothing for: {_some(unknown)}")
    return arrays


def _row(name: str, table: Table) -> tuple[str | None, str] | None:
    for row in table:
        match = re.fullmatch(row.source, name)
        if match:
            return row.target and match.expand(row.target), row.layout
    return None


def _laid_out(array: np.ndarray, layout: str) -> np.ndarray:
    fits = array.ndim == RANKS.get(layout, array.ndim)
    return LAYOUTS[layout](array) if fits else array


def _some(names: list[Any]) -> str:
    shown = ", ".join(sorted(names)[:NAMED])
    more = len(names) - NAMED
    return f"{shown} and {more} more" if more > 0 else shown
