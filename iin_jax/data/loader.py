"""Which images a step takes, and reading ahead of it, by Grain."""

from collections.abc import Callable
from typing import Any

import grain
import numpy as np

LAST_STEP = 2**62  # a stream never comes so far


def epoch_indices(
    count: int, batch_size: int, seed: int
) -> Callable[[int], np.ndarray]:
    """Batches that go through all images once per epoch, in a new order each time.

    Args:
      count: number of images, at least 1.
      batch_size: B; a batch may end one epoch and begin the next.
      seed: of all orders.

    Returns:
      step -> indices (B,), int64: a function of (seed, step) alone.

    Raises:
      ValueError: no images, or an empty batch.
    """
    if count < 1 or batch_size < 1:
        raise ValueError(
            f"batches need images and a size of at least 1; got {count} images and "
            f"batches of {batch_size}"
        )
    order = grain.MapDataset.range(count).seed(seed).shuffle().repeat()
    batches = order.batch(batch_size)
    return lambda step: np.asarray(batches[step], np.int64)


class StepStream:
    """Reads what the coming steps need while the present one computes.

    ``stream(step)`` is ``read(step)``, in any order of steps; consecutive ones are
    read ahead in threads. Any other step throws away what was read ahead.

    Attributes:
      read: step -> whatever it needs; pure, called in several threads.
      threads: reads at a time.
      prefetch: steps to be ahead.
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
        """What ``read`` gives for a step, or the error that it raises."""
        if step != self._next_step:
            self._start(step)
        self._next_step = None  # if the read fails, a new try starts anew
        value = next(self._iterator)
        self._next_step = step + 1
        return value

    def close(self) -> None:
        """Stops reading ahead; a later call starts again."""
        if self._iterator is not None:
            self._iterator.close()
        self._iterator, self._next_step = None, None

    def _start(self, step: int) -> None:
        self.close()
        options = grain.ReadOptions(
            num_threads=self.threads, prefetch_buffer_size=self.prefetch
        )
        steps = grain.MapDataset.range(step, LAST_STEP).map(self.read)
        self._iterator = iter(steps.to_iter_dataset(options))
