"""Rules of pairing: which entries may be the partner of which, as sorted ranges."""

from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from iin_jax.concepts.columns import Columns
from iin_jax.data.values import MISSING
from iin_jax.files.hints import near

Others = Literal["differ", "free"]
GRADED_INSTEAD = (
    "give quantities as graded={{{!r}: ...}}, or cut them by concepts.quantile_classes"
)


class Rule(NamedTuple):
    """One rule's rows of a ``PairTable``, which says what they mean."""

    order: np.ndarray
    group_start: np.ndarray
    group_size: np.ndarray
    run_start: np.ndarray
    run_size: np.ndarray
    eligible: np.ndarray
    eligible_count: int
    alone: int


def check_others(others: Any) -> None:
    """Raises ValueError for what is no rule for the other concepts of a pair."""
    known = get_args(Others)
    if others not in known:
        hint = near(str(others), known, repr)
        raise ValueError(f"others is one of {list(known)}; got {others!r}{hint}")


def agreeing(
    columns: Columns,
    name: str,
    others: Others,
    drop_alone: bool,
    image: np.ndarray | None = None,
) -> Rule:
    """Pairs that agree in a concept; arguments and errors as in ``pair_table``.

    Where others are free, no pair is of one image. Where others must differ it may be:
    ``draw_pairs`` then says that it shares the residual.
    """
    k, entries = columns.names.index(name), len(columns)
    apart = np.arange(entries) if image is None else image
    known = columns.codes[:, k] != MISSING
    if columns.graded[k]:
        reason = "no other entry has a value"
        group = np.where(known, 0, MISSING)
        return _rule(columns, k, group, apart, known, reason, drop_alone)
    group, unlike = columns.codes[:, k], apart
    if others == "free":
        what = "entry" if image is None else "image"
        reason = f"no other {what} has it"
        return _rule(columns, k, group, unlike, known, reason, drop_alone)
    reason = "no other entry has it together with another value of the other concepts"
    others_labels = ~columns.graded & (np.arange(len(columns.names)) != k)
    labels = columns.codes[:, others_labels]
    if labels.size and (labels == labels[0]).all() and MISSING not in labels:
        constant = [columns.names[j] for j in np.flatnonzero(others_labels)]
        raise ValueError(
            f"pairs that agree in {name!r} have to differ in one of {constant}, which "
            "have one value everywhere: leave these out, or set others='free'"
        )
    if labels.size:
        unlike = _combine(list(labels.T))
        # entries whose other labels are not all known are never known to be alike
        incomplete = (labels == MISSING).any(axis=1)
        unlike[incomplete] = entries + np.flatnonzero(incomplete)
    return _rule(columns, k, group, unlike, known, reason, drop_alone)


def differing(
    columns: Columns, name: str, identity: np.ndarray | None, drop_alone: bool
) -> Rule:
    """Pairs that differ in a concept alone; arguments as in ``pair_table``."""
    k, entries = columns.names.index(name), len(columns)
    known = columns.codes[:, k] != MISSING
    alike = [columns.codes[:, j] for j in range(len(columns.names)) if j != k]
    if identity is None:
        known &= (columns.codes != MISSING).all(axis=1)
    else:
        alike.append(np.unique(identity, return_inverse=True)[1])
    group = _combine(alike) if alike else np.zeros(entries, int)
    group = np.where(known, group, MISSING)
    reason = "no other entry is equal in all else and differs in it"
    return _rule(columns, k, group, columns.codes[:, k], known, reason, drop_alone)


def _rule(
    columns: Columns,
    k: int,
    group: np.ndarray,
    unlike: np.ndarray,
    known: np.ndarray,
    reason: str,
    drop_alone: bool,
) -> Rule:
    """Sorts entries into groups, and finds those that have a partner.

    Args:
      columns: all concepts.
      k: the rule's concept.
      group: (n,), equal for entries of one group.
      unlike: (n,), equal for entries of a group that must not form a pair.
      known: bool (n,), entries that the rule is about; all others are in groups
        without any of these.
      reason: why an entry has no partner.
      drop_alone: whether such entries are left out.
    """
    order = np.lexsort((unlike, group))
    group_start, group_size = _spans(order, group)
    run_start, run_size = _spans(order, _combine([group, unlike]))
    paired = known & (group_size > run_size)
    unpaired = np.flatnonzero(known & ~paired)
    values, hint = columns.values[k], ""
    if values.dtype.kind in "iuf" and len(values) == known.sum():
        hint = f"; {GRADED_INSTEAD.format(columns.names[k])}"
    if unpaired.size and not drop_alone:
        value = values[columns.codes[unpaired[0], k]].item()
        raise ValueError(
            f"concept {columns.names[k]!r}, value {value!r} (entry {unpaired[0]}): "
            f"{reason}, so it can form no pair ({unpaired.size} of {len(columns)} "
            f"entries are in this case; drop_alone=True leaves them out{hint})"
        )
    if not paired.any():
        raise ValueError(
            f"concept {columns.names[k]!r} has no pairs: of each of the {known.sum()} "
            f"entries with the values that they take, {reason}, so it can form no pair"
            f"{hint}"
        )
    eligible = np.zeros(len(columns), int)
    eligible[: paired.sum()] = np.flatnonzero(paired)
    spans = (group_start, group_size, run_start, run_size)
    return Rule(order, *spans, eligible, int(paired.sum()), unpaired.size)


def _combine(columns: list[np.ndarray]) -> np.ndarray:
    """One integer per entry, equal where all columns are, in the columns' order."""
    combined = np.zeros(len(columns[0]), np.int64)
    for column in columns:  # each a code far below the square root of 2^63
        code = column - column.min()
        pairs = combined * (int(code.max()) + 1) + code
        combined = np.unique(pairs, return_inverse=True)[1].reshape(-1)
    return combined


def _spans(order: np.ndarray, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the block of every entry starts in a sorted order, and its size, (n,)."""
    sorted_block = block[order]
    first = np.flatnonzero(np.r_[True, sorted_block[1:] != sorted_block[:-1]])
    size = np.diff(np.r_[first, len(order)])
    start, count = np.empty_like(order), np.empty_like(order)
    start[order], count[order] = np.repeat(first, size), np.repeat(size, size)
    return start, count
