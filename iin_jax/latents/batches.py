"""The one loop over batches of a network's inputs; batches have few sizes.

A program is compiled for every size, and may take longer than all it is used for.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from tqdm import tqdm

from iin_jax.types import Array

BATCH = 256  # images per call of a network
GROWTH = 4  # from one size of a batch to the next: few sizes, some entries in vain


def padded_size(count: int, most: int) -> int:
    """Size of the batches that some entries go into: 1, 4, 16, ... or ``most``."""
    size = 1
    while size < min(count, most):
        size *= GROWTH
    return min(size, most) if count else 0


def padded(batch: np.ndarray, size: int) -> np.ndarray:
    """A batch that is filled up to a size with its last entry."""
    missing = size - len(batch)
    if not missing or not len(batch):
        return batch
    return np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])


def batch_slices(count: int, size: int) -> list[slice]:
    """Slices of consecutive entries, one per batch.

    Args:
      count: number of entries; 0 gives one empty slice.
      size: entries per batch, at least 1; the last batch may have fewer.
    """
    starts = range(0, max(count, 1), size)
    return [slice(start, min(start + size, count)) for start in starts]


def in_batches(
    function: Callable[[Any], Any],
    read: Callable[[slice], Array],
    count: int,
    size: int,
    progress: str | None = None,
) -> Iterator[tuple[slice, Any]]:
    """Maps a function over entries, batch by batch, with batches of one shape.

    The last batch is padded, so that the function is compiled only once; results of the
    padding are cut off.

    Args:
      function: array (b, ...) -> tree of arrays (b, ...).
      read: slice -> entries, (b, ...).
      count: number of entries; 0 calls ``function`` once, on an empty batch.
      size: most entries per call.
      progress: label of a progress bar; None: no progress bar.

    Yields:
      Slice of a batch, and the function's result on its entries.
    """
    size = max(1, padded_size(count, size))
    batches = tqdm(batch_slices(count, size), desc=progress, disable=progress is None)
    for entries in batches:
        batch = read(entries)
        if len(batch) in (0, size):
            yield entries, function(batch)
        else:
            results = function(padded(np.asarray(batch), size))
            yield entries, _first(results, len(batch))


def _first(tree: Any, count: int) -> Any:
    """The first ``count`` entries of every array of a tree.

    On the host, since a cut of every length would be compiled too.
    """
    return jax.tree.map(lambda x: np.asarray(x)[:count], tree)


def mapped(
    function: Callable[..., Array], *arrays: Array, most: int = BATCH, axis: int = 0
) -> Array:
    """Maps a function over entries, in batches of few sizes; traced arrays as they are.

    Args:
      function: arrays (b, ...) -> array with the entries on its ``axis``.
      arrays: (B, ...) each.
      most: entries per call.
      axis: of the result.
    """
    count = len(arrays[0])
    size = padded_size(count, most)
    if size == count or any(isinstance(x, Tracer) for x in arrays):
        return jnp.asarray(function(*arrays))
    # on the host, since cuts of every length would be compiled too
    hosts, parts = [np.asarray(x) for x in arrays], []
    for part in batch_slices(count, size):
        result = np.asarray(function(*(padded(x[part], size) for x in hosts)))
        parts.append(np.moveaxis(result, axis, 0)[: part.stop - part.start])
    whole = np.moveaxis(np.concatenate(parts), 0, axis)
    return jax.device_put(np.ascontiguousarray(whole))
