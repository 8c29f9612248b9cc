"""Pairs from labels: a table built once, then pure, jittable draws from a key."""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from iin_jax.concepts.base import Pairing, Pairs
from iin_jax.concepts.columns import Columns, read_columns
from iin_jax.concepts.continuous import graded_similarity
from iin_jax.concepts.rules import (
    GRADED_INSTEAD,
    Others,
    agreeing,
    check_others,
    differing,
)
from iin_jax.data.values import (
    MISSING,
    are_measurements,
    class_codes,
    known_rows,
    label_column,
    label_columns,
    one_word_spelled_apart,
)
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
      eligible: (R, n), the entries that have a partner, then zeros.
      eligible_count: (R,), how many these are.
      alone: (R,), how many entries have the values that the rule needs and no partner.
      codes: (n, K), values as integers 0 .. number of values - 1; -1 where missing.
      concept: (R,), the concept to agree in; -1 for a rule to differ.
      shares_residual: (R,), whether a and b show the same thing but for one concept.
      graded: bool (K,), which concepts are graded.
      scores: (n, K), normal scores in the columns of graded concepts, zeros elsewhere;
        None if no concept is graded.
      image: int (n,), which image each entry shows; None: each one of its own.
    """

    order: Array
    group_start: Array
    group_size: Array
    run_start: Array
    run_size: Array
    eligible: Array
    eligible_count: Array
    alone: Array
    codes: Array
    concept: Array
    shares_residual: Array
    graded: Array
    scores: Array | None
    image: Array | None = None

    def draw(self, key: Key, examples: Array) -> Pairing:
        """Pairs for some examples of the global batch; see ``draw_pairs``."""
        drawn = draw_pairs(self, key, len(examples), examples=examples)
        index_a, index_b, shared = drawn
        # a bound of 1 leaves concepts that are not graded to the training's similarity
        graded = self.scores is not None
        sigma = pair_sigma(self, index_a, index_b, 1.0) if graded else None
        labels = (self.codes[index_a], self.codes[index_b])
        return Pairing(index_a, index_b, shared, sigma, *labels)


def pair_table(
    labels: Mapping[str, np.ndarray],
    *,
    agree: Iterable[str] | None = None,
    differ: Iterable[str] = (),
    identity: np.ndarray | None = None,
    graded: Mapping[str, np.ndarray] | None = None,
    others: Others = "free",
    drop_alone: bool = False,
    image: np.ndarray | None = None,
) -> PairTable:
    """Sorts the entries once, so that pairs can be drawn by index arithmetic.

    A pair that *agrees* in a concept has its value in common; all others are drawn
    without regard to them, or differ in at least one (see ``others``). A pair that
    *differs* in a concept has all other concepts in common and, where ``identity`` is
    given, the thing itself ("the same image in another colour"): then it shares the
    residual too.

    *Graded* concepts are continuous: any two entries with a value can form a pair, how
    similar they are is ``pair_sigma``, and no other concept's pairs have to differ in
    them.

    Labels are a dictionary or data frame, whose columns are lists, arrays, tensors or
    of pandas: numbers, truth values, text, categories or dates. Missing ones are masked
    (``np.ma.MaskedArray``), None, NaN, NA or NaT. An entry without a value for a
    concept is in no pair drawn for it, and never shares it. In pairs drawn for other
    concepts it is as any other entry: two entries that agree in a concept are kept
    apart only if they are *known* to be alike in all others, because a partner drawn
    without regard to an unknown value is independent of it, as a factor that is not
    shared has to be. To differ in one concept alone takes all others' values, but where
    ``identity`` is given: one thing has one value, known or not.

    Args:
      labels: concept -> discrete values, (n,) each.
      agree: concepts to agree in; None: all of them, the graded ones too.
      differ: concepts to differ in.
      identity: (n,), equal for entries that show the same thing (one image in several
        colours, one person in several poses). Pairs that agree in a concept are never
        of one thing; where ``others`` must differ and they are, they share the
        residual.
      graded: concept -> numbers, (n,) each; NaN or masked where missing. Graded
        concepts come after the labels.
      others: the other concepts of pairs that agree in one: "free", drawn without
        regard to them, so that they keep their distribution and unrelated latents have
        correlation 0; "differ", at least one other label is unlike.
      drop_alone: leaves entries without a partner out of a rule's pairs, as if their
        value was missing there; ``PairTable.alone`` counts them. Else they raise.
      image: (n,), equal for entries of one image (its distorted versions), where that
        is not what ``identity`` says; None: as ``identity``.

    Raises:
      ValueError: no labels, no rule, unknown concepts or ``others``, labels that are
        empty, infinite, of several types or of unlike length, a concept without pairs,
        or (without ``drop_alone``) an entry without a possible partner.
    """
    check_others(others)
    columns = read_columns(labels, {} if graded is None else graded)
    _warn_of_values(columns)
    agree = columns.names if agree is None else tuple(agree)
    differ = tuple(differ)
    unknown = [name for name in (*agree, *differ) if name not in columns.names]
    if unknown or not (agree or differ):
        raise ValueError(
            f"pairs agree or differ in some of the concepts {list(columns.names)}; got "
            f"agree={list(agree)}, differ={list(differ)}"
        )
    if identity is not None:
        identity = entry_codes(identity, "identity", len(columns))
    image = identity if image is None else entry_codes(image, "image", len(columns))
    rules = [agreeing(columns, name, others, drop_alone, image) for name in agree]
    rules += [differing(columns, name, identity, drop_alone) for name in differ]
    shares_residual = [False] * len(agree) + [identity is not None] * len(differ)
    concept = [columns.names.index(name) for name in agree] + [-1] * len(differ)
    stacked = (np.stack(parts).astype(np.int32) for parts in zip(*rules, strict=True))
    scores = columns.scores
    return PairTable(
        *map(jnp.asarray, stacked),
        codes=jnp.asarray(columns.codes, jnp.int32),
        concept=jnp.asarray(concept, jnp.int32),
        shares_residual=jnp.asarray(shares_residual),
        graded=jnp.asarray(columns.graded),
        scores=None if scores is None else jnp.asarray(scores, jnp.float32),
        image=None if image is None else jnp.asarray(image, jnp.int32),
    )


def _warn_of_values(columns: Columns) -> None:
    """Warns of labels that are all alike, real numbers, or one word in two cases."""
    for k in np.flatnonzero(~columns.graded):
        name, values = columns.names[k], columns.values[k]
        words = values.tolist() if values.dtype.kind == "U" else []
        apart = one_word_spelled_apart(words)
        if len(values) == 1:
            text = (
                f"has one value in all {(columns.codes[:, k] != MISSING).sum()} "
                "entries that are known, so no pair says anything of it: leave it out"
            )
        elif are_measurements(values):
            text = (
                "has real numbers as labels, each a class of its own: "
                f"{GRADED_INSTEAD.format(name)}"
            )
        elif apart:
            text = f"has classes that differ in upper and lower case alone: {apart[:4]}"
        else:
            continue
        warnings.warn(f"concept {name!r} {text}", stacklevel=4)


def entry_codes(values: Any, name: str, count: int) -> np.ndarray:
    """Which things or images entries are of, as integers from 0, (n,).

    Args:
      values: as in ``data.label_column``, equal for entries of one thing.
      name: of the argument, for messages.
      count: number of entries, n.

    Raises:
      ValueError: another shape, or a missing value.
    """
    column = label_column(values, name)
    if column.shape != (count,):
        raise ValueError(f"{name} has shape {column.shape}, the labels {(count,)}")
    if not known_rows(column).all():
        raise ValueError(
            f"{name} is masked or missing for an entry; give one that is alone its own"
        )
    return class_codes(column)[0]


def draw_pairs(
    table: PairTable, key: Key, batch: int, *, examples: Array | None = None
) -> tuple[Indices, Indices, Shared]:
    """Draws pairs; pure and jittable.

    A rule is drawn first, all alike, then a among the entries that have a partner, then
    b uniformly among a's partners. A factor counts as shared wherever the labels of a
    and b are known and equal, so a pair that agrees in two of three concepts shares
    both; a graded one wherever both values are known (see ``pair_sigma``).

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


def pair_sigma(
    table: PairTable, index_a: Indices, index_b: Indices, sigma: float | Array
) -> Array:
    """How similar given pairs are in each factor; pure and jittable.

    In a graded concept ``clip(1 - (g_a - g_b)^2 / 2, 1e-3, sigma)``, where g are the
    values' normal scores: the correlation at which two standard normals differ by as
    much in the mean square. In every other factor ``sigma``.

    Args:
      table: from ``pair_table``.
      index_a, index_b: (B,), the pairs.
      sigma: similarity of a pair that shares a factor: a number, or (1, K+1) or
        (B, K+1), one per factor.

    Returns:
      (B, K+1), concepts in the table's order, then the residual. It counts only where
      the pair shares the factor.
    """
    count, concepts = len(index_a), table.codes.shape[1]
    sigma = jnp.broadcast_to(jnp.asarray(sigma, jnp.float32), (count, concepts + 1))
    if table.scores is None:
        return sigma
    similarity = graded_similarity(table.scores[index_a], table.scores[index_b])
    return jnp.minimum(sigma, jnp.pad(similarity, ((0, 0), (0, 1)), constant_values=1))


def pairs_from_labels(
    labels: Mapping[str, np.ndarray],
    count: int,
    seed: int = 0,
    *,
    agree: Iterable[str] | None = None,
    differ: Iterable[str] = (),
    identity: np.ndarray | None = None,
    graded: Mapping[str, np.ndarray] | None = None,
    others: Others = "free",
    drop_alone: bool = False,
    image: np.ndarray | None = None,
) -> Pairs:
    """Draws ``count`` pairs from labels; a list for estimates, arrays and tests.

    Args:
      labels, agree, differ, identity, graded, others, drop_alone, image: as in
        ``pair_table``.
      count: number of pairs, >= 1.
      seed: of the draw.

    Raises:
      ValueError: as ``pair_table``, or a count below 1.
    """
    if count < 1:
        raise ValueError(f"count is a number of pairs >= 1; got {count}")
    labels, graded = label_columns(labels), label_columns(graded)
    table = pair_table(
        labels,
        agree=agree,
        differ=differ,
        identity=identity,
        graded=graded,
        others=others,
        drop_alone=drop_alone,
        image=image,
    )
    drawn = _draw(table, jax.random.key(seed), jnp.arange(count))
    rule, a, b, shared = map(np.asarray, drawn)
    return Pairs(a, b, shared, np.asarray(table.concept)[rule], (*labels, *graded))


@jax.jit
def _draw(table: PairTable, key: Key, examples: Array):
    rules = table.order.shape[0]

    def draw_one(example: Array):
        # the remainder of 32 bits favours no index by more than n / 2^32
        bits = jax.random.bits(jax.random.fold_in(key, example), (3,))
        rule = bits[0] % rules
        a = table.eligible[rule, bits[1] % _unsigned(table.eligible_count[rule])]
        run_size = table.run_size[rule, a]
        partners = table.group_size[rule, a] - run_size
        position = table.group_start[rule, a]
        position += (bits[2] % _unsigned(partners)).astype(position.dtype)
        position += jnp.where(position >= table.run_start[rule, a], run_size, 0)
        return rule, a, table.order[rule, position]

    rule, a, b = jax.vmap(draw_one)(examples)
    code_a, code_b = table.codes[a], table.codes[b]
    known = (code_a >= 0) & (code_b >= 0)
    one_thing = table.shares_residual[rule][:, None]
    if table.image is not None:
        one_thing |= (table.image[a] == table.image[b])[:, None]
    equal = (code_a == code_b) & (known | one_thing)
    shared = jnp.concatenate([equal | (table.graded & known), one_thing], axis=1)
    return rule, a, b, shared


def _unsigned(count: Array) -> Array:
    return count.astype(jnp.uint32)
