"""Pairs from labels: a table built once, then pure, jittable draws from a key."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from iin_jax.types import Array, Indices, Key, Shared


class PairTable(NamedTuple):
    """Everything ``draw_pairs`` needs, as arrays: R rules, n entries, K concepts.

    A rule says which entries may be the partner b of an entry a: those of a's group
    (equal in what the pair has to agree in) but not of a's run (equal, on top of that,
    in what it has to differ in; a itself is one of these). Entries are sorted such that
    groups, and runs in groups, are contiguous, so a draw is one integer in a range.

    Attributes:
      order: (R, n), entries in the rule's sorted order.
      group_start, group_size, run_start, run_size: (R, n), by entry, positions in
        ``order``.
      codes: (n, K), labels as integers 0 .. number of values - 1.
      concept: (R,), the concept to agree in; -1 for a rule to differ.
      shares_residual: (R,), whether a and b show the same thing but for one concept.
    """

    order: Array
    group_start: Array
    group_size: Array
    run_start: Array
    run_size: Array
    codes: Array
    concept: Array
    shares_residual: Array


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Pairs of entries.

    Attributes:
      a, b: (count,), indices of the two halves, never equal.
      shared: bool (count, K+1): concepts in the order of the labels, then the residual.
      concept: (count,), index of the concept that the pair was drawn to agree in; -1
        where it was drawn to differ in one concept alone.
      names: the concepts, in order.
    """

    a: np.ndarray
    b: np.ndarray
    shared: np.ndarray
    concept: np.ndarray
    names: tuple[str, ...]


def pair_table(
    labels: Mapping[str, np.ndarray],
    *,
    agree: Iterable[str] | None = None,
    differ: Iterable[str] = (),
    identity: np.ndarray | None = None,
) -> PairTable:
    """Sorts the entries once, so that pairs can be drawn by index arithmetic.

    A pair that *agrees* in a concept has its value in common and differs in at least
    one other concept ("same colour, different digit"). A pair that *differs* in a
    concept has all other concepts in common and, where ``identity`` is given, the thing
    itself ("the same image in another colour"): then it shares the residual too.

    Args:
      labels: concept -> discrete values, (n,) each.
      agree: concepts to agree in; None: all of them.
      differ: concepts to differ in.
      identity: (n,), equal for entries that show the same thing (one image in several
        colours, one person in several poses).

    Raises:
      ValueError: no labels, no rule, unknown concepts, labels that are empty, missing
        or of unlike length, or an entry without a possible partner.
    """
    names, codes, values = _codes(labels)
    entries = len(codes)
    agree = names if agree is None else tuple(agree)
    differ = tuple(differ)
    unknown = [name for name in (*agree, *differ) if name not in names]
    if unknown or not (agree or differ):
        raise ValueError(
            f"pairs agree or differ in some of the concepts {list(names)}; got "
            f"agree={list(agree)}, differ={list(differ)}"
        )
    if identity is not None and np.shape(identity) != (entries,):
        raise ValueError(
            f"identity has shape {np.shape(identity)}, the labels {(entries,)}"
        )
    rules = []
    for name in agree:
        k = names.index(name)
        others = _combine([codes[:, j] for j in range(len(names)) if j != k])
        unlike = np.arange(entries) if len(names) == 1 else others
        rules.append(_rule(codes[:, k], unlike))
        _check_partners(rules[-1], name, values[k][codes[:, k]], "agree")
    for name in differ:
        k = names.index(name)
        alike = [codes[:, j] for j in range(len(names)) if j != k]
        if identity is not None:
            alike.append(np.unique(identity, return_inverse=True)[1])
        group = _combine(alike) if alike else np.zeros(entries, int)
        rules.append(_rule(group, codes[:, k]))
        _check_partners(rules[-1], name, values[k][codes[:, k]], "differ")
    shares_residual = [False] * len(agree) + [identity is not None] * len(differ)
    concept = [names.index(name) for name in agree] + [-1] * len(differ)
    columns = [np.stack(column).astype(np.int32) for column in zip(*rules, strict=True)]
    return PairTable(
        *map(jnp.asarray, columns),
        codes=jnp.asarray(codes, jnp.int32),
        concept=jnp.asarray(concept, jnp.int32),
        shares_residual=jnp.asarray(shares_residual),
    )


def draw_pairs(
    table: PairTable, key: Key, batch: int, *, examples: Array | None = None
) -> tuple[Indices, Indices, Shared]:
    """Draws pairs; pure and jittable.

    A rule is drawn first, all alike, then a, then b uniformly among a's partners. A
    factor counts as shared wherever the labels of a and b are equal, so a pair that
    agrees in two of three concepts shares both.

    Args:
      table: from ``pair_table``.
      key: of this batch; example ``i`` uses ``fold_in(key, i)`` alone, so a batch does
        not depend on how devices divide it.
      batch: number of pairs B.
      examples: (B,), indices in the global batch; None: 0 .. B-1.

    Returns:
      index_a (B,), index_b (B,), shared (B, K+1).
    """
    examples = jnp.arange(batch) if examples is None else examples
    _, index_a, index_b, shared = _draw(table, key, examples)
    return index_a, index_b, shared


def pairs_from_labels(
    labels: Mapping[str, np.ndarray],
    count: int,
    seed: int = 0,
    *,
    agree: Iterable[str] | None = None,
    differ: Iterable[str] = (),
    identity: np.ndarray | None = None,
) -> Pairs:
    """Draws ``count`` pairs from labels; a list for estimates, arrays and tests.

    Args:
      labels, agree, differ, identity: as in ``pair_table``.
      count: number of pairs, >= 1.
      seed: of the draw.

    Raises:
      ValueError: as ``pair_table``, or a count below 1.
    """
    if count < 1:
        raise ValueError(f"count is a number of pairs >= 1; got {count}")
    table = pair_table(labels, agree=agree, differ=differ, identity=identity)
    drawn = _draw(table, jax.random.key(seed), jnp.arange(count))
    rule, a, b, shared = map(np.asarray, drawn)
    return Pairs(a, b, shared, np.asarray(table.concept)[rule], tuple(labels))


@jax.jit
def _draw(table: PairTable, key: Key, examples: Array):
    rules, entries = table.order.shape

    def one(example: Array):
        # the remainder of 32 bits favours no index by more than n / 2^32
        bits = jax.random.bits(jax.random.fold_in(key, example), (3,))
        rule, a = bits[0] % rules, bits[1] % entries
        run_size = table.run_size[rule, a]
        partners = table.group_size[rule, a] - run_size
        position = table.group_start[rule, a]
        position += (bits[2] % partners.astype(bits.dtype)).astype(position.dtype)
        position += jnp.where(position >= table.run_start[rule, a], run_size, 0)
        return rule, a, table.order[rule, position]

    rule, a, b = jax.vmap(one)(examples)
    equal = table.codes[a] == table.codes[b]
    shared = jnp.concatenate([equal, table.shares_residual[rule][:, None]], axis=1)
    return rule, a, b, shared


def _codes(labels: Mapping[str, np.ndarray]):
    if not labels:
        raise ValueError("pairs need labels: a dictionary concept -> values")
    arrays = {name: np.asarray(column) for name, column in labels.items()}
    shapes = {name: column.shape for name, column in arrays.items()}
    if (
        any(len(shape) != 1 for shape in shapes.values())
        or len(set(shapes.values())) > 1
    ):
        raise ValueError(f"labels must be (n,) each, all of one length; got {shapes}")
    for name, column in arrays.items():
        if column.size == 0:
            raise ValueError(f"concept {name!r} has no labels: the array is empty")
        if column.dtype.kind == "f" and not np.isfinite(column).all():
            raise ValueError(f"concept {name!r} has missing or infinite labels")
    unique = [np.unique(column, return_inverse=True) for column in arrays.values()]
    codes = np.stack([inverse for _, inverse in unique], axis=1)
    return tuple(arrays), codes, [values for values, _ in unique]


def _combine(columns: list[np.ndarray]) -> np.ndarray:
    if not columns:
        return np.zeros(0, int)
    stacked = np.stack(columns, axis=1)
    return np.unique(stacked, axis=0, return_inverse=True)[1].reshape(-1)


def _rule(group: np.ndarray, unlike: np.ndarray) -> tuple[np.ndarray, ...]:
    """order, group_start, group_size, run_start, run_size; see ``PairTable``."""
    order = np.lexsort((unlike, group))
    position = np.empty(len(order), int)
    position[order] = np.arange(len(order))
    columns = [order]
    for keys in ([group], [group, unlike]):
        code = _combine(keys)[order]
        starts = np.flatnonzero(np.r_[True, code[1:] != code[:-1]])
        sizes = np.diff(np.r_[starts, len(order)])
        block = np.repeat(np.arange(len(starts)), sizes)[position]
        columns += [starts[block], sizes[block]]
    return tuple(columns)


def _check_partners(rule, name: str, values: np.ndarray, kind: str) -> None:
    _, _, group_size, _, run_size = rule
    alone = np.flatnonzero(group_size == run_size)
    if alone.size:
        value = values[alone[0]]
        reason = (
            "no other entry has it together with another value of the other concepts"
            if kind == "agree"
            else "no other entry is equal in all else and differs in it"
        )
        raise ValueError(
            f"concept {name!r}, value {value!r} (entry {alone[0]}): {reason}, so it "
            f"can form no pair ({alone.size} of {len(values)} entries are in this case)"
        )
