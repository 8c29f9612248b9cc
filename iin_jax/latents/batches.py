"""The one loop over batches of what a network is shown."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from iin_jax.types import Array


def batch_slices(count: int, size: int) -> list[slice]:
    """Which entries each batch has; one empty batch if there are none."""
    starts = range(0, max(count, 1), size)
    return [slice(start, min(start + size, count)) for start in starts]


def in_batches(
    function: Callable[[Any], Any],
    read: Callable[[slice], Array],
    count: int,
    size: int,
    progress: str | None = None,
) -> Iterator[tuple[slice, Any]]:
    """Maps a function over entries, batch by batch, all batches of one shape.

    The last one is filled up with its last entry, so that nothing is compiled twice;
    what comes of these is cut off.

    Args:
      function: (b, ...) -> a tree of arrays (b, ...).
      read: slice -> those entries, (b, ...).
      count: number of entries.
      size: entries per call, at most.
      progress: label of a progress bar; None: none.

    Yields:
      The entries of a batch, and what the function makes of them.
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
        filled = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
        yield entries, _first(function(filled), len(batch))


def _first(tree: Any, count: int) -> Any:
    return jax.tree.map(lambda x: x[:count], tree)
