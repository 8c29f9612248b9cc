"""The one loop over batches of a network's inputs."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from iin_jax.types import Array


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

    The last batch is padded with its last entry, so that the function is compiled only
    once; results of the padding are cut off.

    Args:
      function: array (b, ...) -> tree of arrays (b, ...).
      read: slice -> entries, (b, ...).
      count: number of entries; 0 calls ``function`` once, on an empty batch.
      size: most entries per call.
      progress: label of a progress bar; None: no progress bar.

    Yields:
      Slice of a batch, and the function's result on its entries.
    """
    size = max(1, min(size, count))
    batches = tqdm(batch_slices(count, size), desc=progress, disable=progress is None)
    for entries in batches:
        batch = read(entries)
        missing = size - len(batch)
        if missing == 0 or missing == size:
            yield entries, function(batch)
            continue
        batch = np.asarray(batch)
        padded = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
        yield entries, _first(function(padded), len(batch))


def _first(tree: Any, count: int) -> Any:
    """The first ``count`` entries of every array of a tree."""
    return jax.tree.map(lambda x: x[:count], tree)
