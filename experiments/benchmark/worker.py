"""One side of the benchmark, in a process of its own, idle until it is asked.

This module is run, never imported. Its argument is a task as JSON. Requests and replies
are lines of JSON: ``{"call": name, "arguments": [...]}`` on standard input,
``{"result": ...}`` or ``{"error": line}`` on what was standard output; whatever
libraries print goes to standard error.
"""

import contextlib
import functools
import json
import os
import sys
from typing import Any

from experiments.benchmark.cases import Task, task_from
from experiments.benchmark.contract import Side

CALLS = ("describe", "prove", "prepare", "timed", "matmul", "peak_memory")


@functools.cache
def side_of(task: Task) -> Side:
    """The side that a task names; no process imports the other one's framework."""
    if task.side == "jax":
        from experiments.benchmark.jax_side import JaxSide

        return JaxSide(task)
    from experiments.benchmark.torch_side import TorchSide

    return TorchSide(task)


def answer(task: Task, call: str, arguments: list[Any]) -> Any:
    """The result of ``problem.write`` or of a method of the side."""
    if call == "write":
        from experiments.benchmark.problem import write

        return write(task, *arguments)
    if call not in CALLS:
        raise ValueError(f"unknown request {call!r}")
    return getattr(side_of(task), call)(*arguments)


def main() -> None:
    """Answers requests until standard input ends."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    task = task_from(json.loads(sys.argv[1]))
    with contextlib.suppress(Exception):
        side_of(task)  # while others start; the first request meets the same error
    for line in sys.stdin:
        request = json.loads(line)
        try:
            result = answer(task, request["call"], request["arguments"])
            reply = {"result": result}
        except Exception as error:  # the parent reports every error in one line
            first = str(error).strip().splitlines() or [""]
            reply = {"error": f"{type(error).__name__}: {first[0]}"}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
