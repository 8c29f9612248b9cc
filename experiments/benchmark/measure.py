"""The whole benchmark: proof, then times in turns."""

import contextlib
import dataclasses
import functools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

from experiments.benchmark import equality
from experiments.benchmark.arrays import read_arrays
from experiments.benchmark.cases import BenchmarkOptions, Case, SideName, flops
from experiments.benchmark.processes import Worker, task
from iin_jax.files.machine import cores

MAX_CALLS = 20_000  # most calls in one measurement
TRIAL = 0.2  # length of a trial of threads, as a share of a measurement

Workers = dict[SideName, Worker]


def run(
    options: BenchmarkOptions, keep: Callable[[dict[str, Any]], None] | None = None
) -> dict[str, Any]:
    """Proves that the sides compute the same and times them.

    Args:
      options: what is timed.
      keep: called after each case with the results so far, so that a failure or an
        interrupt later on costs none of them.

    Returns:
      JSON values: ``options``, ``problem``, ``equality`` (errors of each PyTorch side),
      ``sides`` (versions, device, peak of a matrix product in FLOP/s, memory at the
      start and at its peak in bytes, seconds of compilation) and ``measurements``: for
      each case, batch and side the threads, seconds of the first call, calls per
      repetition, seconds per call of every repetition, their median, FLOPs, and the
      peak memory so far.

    Raises:
      equality.UnequalError: the sides do not compute the same.
      WorkerError: a process failed.
      ValueError: the frameworks see different kinds of devices.
    """
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        results: dict[str, Any] = {
            "options": {**dataclasses.asdict(options), "out": str(options.out or "")},
            "problem": dataclasses.asdict(options.problem),
            "cores": cores(),
            "equality": prove(folder, options),
            "measurements": [],
        }
        with _workers(folder, options) as workers:
            results["sides"] = {
                side: {
                    **worker.ask("describe"),
                    "memory_at_start_bytes": worker.ask("peak_memory"),
                    "matmul_flops": worker.ask("matmul", cores()),
                }
                for side, worker in workers.items()
            }
            for case, batch in _cases(options):
                results["measurements"] += _measure(workers, case, batch, options)
                _sum_up(results, workers)
                results["seconds"] = time.perf_counter() - started
                if keep is not None:
                    keep(results)
    return results


def _cases(options: BenchmarkOptions) -> Iterator[tuple[Case, int]]:
    """Cases with each batch size; the optimiser alone has none, so it comes once."""
    for batch in sorted(set(options.batches)):
        for case in options.cases:
            if case != "update" or batch == min(options.batches):
                yield case, batch


def _sum_up(results: dict[str, Any], workers: Workers) -> None:
    """Brings the figures of whole sides up to date."""
    for side, worker in workers.items():
        rows = [row for row in results["measurements"] if row["side"] == side]
        results["sides"][side] |= {
            "peak_memory_bytes": worker.ask("peak_memory"),
            "compile_seconds": sum(row["compile_seconds"] for row in rows),
        }


def prove(folder: str, options: BenchmarkOptions) -> dict[str, dict[str, float]]:
    """Errors of each PyTorch side against JAX, in processes that end afterwards.

    The first of them writes the weights and data of all workers, so that none of it
    counts as memory or compilation of what is timed.

    Raises:
      equality.UnequalError: they do not compute the same.
      ValueError: the frameworks see different kinds of devices.
    """
    say("writing weights and data")
    with Worker(task("jax", folder, options), options) as worker:
        worker.ask("write", options.batches)
        platform = worker.ask("describe")["platform"]
        ours = read_arrays(folder, worker.ask("prove"))
    proof = {}
    for side in options.sides[1:]:
        say(f"proving that jax and {side} compute the same")
        with Worker(task(side, folder, options), options) as worker:
            other_platform = worker.ask("describe")["platform"]
            if other_platform != platform:
                raise ValueError(
                    f"jax runs on {platform}, {side} on {other_platform}: --device cpu "
                    "compares them there"
                )
            theirs = read_arrays(folder, worker.ask("prove"))
        proof[side] = equality.check(side, ours, theirs)
    return proof


@contextlib.contextmanager
def _workers(folder: str, options: BenchmarkOptions) -> Iterator[Workers]:
    with contextlib.ExitStack() as stack:
        yield {
            side: stack.enter_context(Worker(task(side, folder, options), options))
            for side in options.sides
        }


def _measure(
    workers: Workers, case: Case, batch: int, options: BenchmarkOptions
) -> list[dict[str, Any]]:
    """One case at one batch size: prepares all sides, then times them in turns."""
    rows: dict[SideName, dict[str, Any]] = {}
    threads = cores()
    for side, worker in workers.items():
        if side == "torch_eager":
            threads = _best_threads(worker, case, batch, options)
        first = worker.ask("prepare", case, batch, threads)
        once = worker.ask("timed", 1)
        calls = min(max(round(options.seconds / once), 1), MAX_CALLS)
        rows[side] = {
            "case": case,
            "batch": batch,
            "side": side,
            "threads": cores() if side == "jax" else threads,
            "first_seconds": first,
            "compile_seconds": max(first - once, 0.0),
            "calls": calls,
            "seconds": [],
        }
    for _ in range(options.repetitions):
        for side, worker in workers.items():
            calls = rows[side]["calls"]
            rows[side]["seconds"].append(worker.ask("timed", calls) / calls)
    for side, row in rows.items():
        row["median_seconds"] = median(row["seconds"])
        row["flops"] = flops(case, batch, options.problem)
        row["peak_memory_bytes"] = workers[side].ask("peak_memory")
    times = (f"{side} {row['median_seconds'] * 1e3:.4g}" for side, row in rows.items())
    say(f"{case}, batch {batch}: {', '.join(times)} ms")
    return list(rows.values())


def _best_threads(
    worker: Worker, case: Case, batch: int, options: BenchmarkOptions
) -> int:
    """The number of threads at which PyTorch's eager mode is fastest."""

    def seconds(count: int) -> float:
        worker.ask("prepare", case, batch, count)
        once = worker.ask("timed", 1)
        calls = min(max(round(TRIAL * options.seconds / once), 1), MAX_CALLS)
        return min(once, worker.ask("timed", calls) / calls)

    return min(sorted({1, max(cores() // 2, 1), cores()}), key=functools.cache(seconds))


def say(line: str) -> None:
    """Progress, on standard error."""
    print(line, file=sys.stderr, flush=True)
