"""What the benchmark asks of both frameworks, and what their sides share."""

import abc
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmark.arrays import write_arrays
from experiments.benchmark.cases import Case, Task

# Gradients of three parameters in four steps of the optimiser.
ADAM_GRADIENTS = np.array(
    [[1e-3, -2.0, 1e-7], [3e-3, 1.0, -1e-7], [-5e-3, 0.5, 0.0], [1e-3, 0.1, 2e-7]],
    np.float32,
)

RATE = 1e-4  # learning rate; the time of a step does not depend on it

Run = Callable[[int], None]  # makes n calls and waits for the last of them


class Side(abc.ABC):
    """What both frameworks are asked for, mostly in requests.

    A subclass builds the calls of its framework from the files of a task.
    """

    def __init__(self, task: Task):
        self.task = task
        self._run: Run | None = None

    @abc.abstractmethod
    def describe(self) -> dict[str, Any]:
        """``versions``, ``platform`` (cpu or gpu), ``device`` in words."""

    @abc.abstractmethod
    def results(self) -> dict[str, np.ndarray]:
        """What the sides must agree in, on the first pairs of the data.

        ``loss`` of the pairs with given noise, its gradients as ``gradient/NAME`` under
        the published names, ``unsupervised_loss`` of the same latents, ``forward``,
        ``log_det``, ``inverse``, ``encode`` (mean beside log-variance), and ``adam``:
        where steps with ``ADAM_GRADIENTS`` bring zeros, in units of the learning rate.
        """

    @abc.abstractmethod
    def build(self, case: Case, batch: int) -> Run:
        """Prepares a case up to its first call, with the weights of the files."""

    @abc.abstractmethod
    def matmul(self, threads: int) -> float:
        """Measured peak of a square matrix product, in FLOP/s."""

    def set_threads(self, count: int) -> None:
        """Sets the number of threads if the framework can change it while it runs."""
        return

    @abc.abstractmethod
    def peak_memory(self) -> int:
        """Most bytes that the process ever held, on the device if it is a GPU."""

    def prove(self) -> str:
        """Writes ``results`` to the task's folder; returns their file's name."""
        name = f"{self.task.side}_results"
        write_arrays(Path(self.task.folder) / f"{name}.safetensors", self.results())
        return name

    def prepare(self, case: Case, batch: int, threads: int) -> float:
        """Makes a case ready to be timed; returns seconds of its first call."""
        self._run = None  # frees what the last case held
        self.set_threads(threads)
        self._run = self.build(case, batch)
        first = self.timed(1)
        self.timed(1)
        return first

    def timed(self, calls: int) -> float:
        """Seconds of ``calls`` calls of the prepared case, waited for."""
        if self._run is None:
            raise ValueError("nothing is prepared to be timed")
        start = time.perf_counter()
        self._run(calls)
        return time.perf_counter() - start


def peak_rss() -> int:
    """Most bytes of resident memory that this process ever held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def best_rate(multiply: Callable[[], Any], size: int, repetitions: int = 5) -> float:
    """FLOP/s of the fastest of several products of ``size`` x ``size`` matrices."""
    multiply()
    seconds = []
    for _ in range(repetitions):
        start = time.perf_counter()
        multiply()
        seconds.append(time.perf_counter() - start)
    return 2.0 * size**3 / min(seconds)
