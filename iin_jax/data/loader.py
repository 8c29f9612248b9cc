"""Indices of the images of every step, and a stream that reads ahead, by Grain."""

from collections.abc import Callable
from typing import Any

import numpy as np

LAST_STEP = 2**62  # end of a stream, beyond any training


def epoch_indices(
    count: int, batch_size: int, seed: int
) -> Callable[[int], np.ndarray]:
    """Batches that contain every image once per epoch, in a new order each epoch.

    Args:
      count: number of images, at least 1.
      batch_size: B, at least 1; a batch may span the end of an epoch.
      seed: seed of all orders.

    Returns:
      Function of the step that returns indices (B,), int64; a pure function of (seed,
      step).

    Raises:
      ValueError: no images, or an empty batch.
    """
    if count < 1 or batch_size < 1:
        raise ValueError(
            f"batches need images and a size of at least 1; got {count} images and "
            f"batches of {batch_size}"
        )
    import grain

    order = grain.MapDataset.range(count).seed(seed).shuffle().repeat()
    batches = order.batch(batch_size)
    return lambda step: np.asarray(batches[step], np.int64)


class StepStream:
    """Reads the data of coming steps in threads while the present step computes.

    ``stream(step)`` equals ``read(step)`` for steps in any order. Consecutive steps are
    read ahead; a step out of order discards what was read ahead.

    Attributes:
      read: step -> its data; a pure function that is called in several threads.
      threads: number of reading threads, at least 1.
      prefetch: number of steps to read ahead, at least 1.

    Raises:
      ValueError: no thread, or no step to read ahead.
    """

    def __init__(
        self, read: Callable[[int], Any], threads: int = 4, prefetch: int = 8
    ) -> None:
        if threads < 1 or prefetch < 1:
            raise ValueError(
                "a stream needs at least one thread and one step to be ahead; got "
                f"{threads} and {prefetch}"
            )
        self.read, self.threads, self.prefetch = read, threads, prefetch
        self._iterator: Any = None
        self._next_step: int | None = None

    def __call__(self, step: int) -> Any:
        """The data of a step; raises the error of ``read`` if there is one."""
        if step != self._next_step:
            self._start(step)
        self._next_step = None  # after a failed read, the next call starts anew
        value = next(self._iterator)
        self._next_step = step + 1
        return value

    def close(self) -> None:
        """Stops reading ahead; a later call starts again."""
        if self._iterator is not None:
            self._iterator.close()
        self._iterator, self._next_step = None, None

    def _start(self, step: int) -> None:
        """Starts to read ahead from a step."""
        import grain

        self.close()
        options = grain.ReadOptions(
            num_threads=self.threads, prefetch_buffer_size=self.prefetch
        )
        steps = grain.MapDataset.range(step, LAST_STEP).map(self.read)
        self._iterator = iter(steps.to_iter_dataset(options))
