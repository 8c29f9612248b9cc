"""Starts, asks and ends the worker processes."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from experiments.benchmark.cases import BenchmarkOptions, SideName, Task
from iin_jax.training.cpu import missing_variables

ROOT = Path(__file__).parents[2]


class WorkerError(Exception):
    """A worker process failed or died."""


class Worker:
    """One side in a process of its own; stopped between requests.

    Idle threads may spin: those of torch.compile took a third of the cores while JAX
    was timed.

    Used as a context: leaving it ends the process, whose number is ``pid``.

    Args:
      task: what the process gets to know.
      options: settings; their device decides what the process may see.
    """

    def __init__(self, task: Task, options: BenchmarkOptions):
        self.side = task.side
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed by __exit__
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "experiments.benchmark.worker"),
                json.dumps(dataclasses.asdict(task)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment(options.device, task.folder),
        )

        self.pid = self._process.pid

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *unused: Any) -> None:
        self._process.terminate()
        self._process.send_signal(signal.SIGCONT)
        self._process.communicate()
        self._errors.close()

    def ask(self, call: str, *arguments: Any) -> Any:
        """What the side's method ``call`` returns.

        Raises:
          WorkerError: it raised, or the process died.
        """
        request = json.dumps({"call": call, "arguments": arguments})
        pipes = self._process.stdin, self._process.stdout
        if pipes[0] is None or pipes[1] is None:
            raise WorkerError(f"the {self.side} process has no pipes")
        self._process.send_signal(signal.SIGCONT)
        try:
            print(request, file=pipes[0], flush=True)
            line = pipes[1].readline()
        except BrokenPipeError:  # the process ended before the request
            line = ""
        self._process.send_signal(signal.SIGSTOP)
        if not line:
            raise WorkerError(self._death(call))
        reply = json.loads(line)
        if "error" in reply:
            raise WorkerError(f"{self.side}, {call} {arguments}: {reply['error']}")
        return reply["result"]

    def _death(self, call: str) -> str:
        status = self._process.wait()
        how = signal.Signals(-status).name if status < 0 else f"status {status}"
        return (
            f"the {self.side} process ended during {call} ({how}): "
            f"{_last_line(self._errors)}"
        )


def environment(device: str, folder: str) -> dict[str, str]:
    """Environment of a worker: an empty compilation cache, devices as asked."""
    variables = {
        **os.environ,
        "JAX_ENABLE_COMPILATION_CACHE": "false",
        **missing_variables(os.environ),  # as in a run, for all sides
        "TORCHINDUCTOR_CACHE_DIR": str(Path(folder) / "inductor"),
        "PYTHONPATH": os.pathsep.join(
            [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        ),
    }
    variables.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # sides share a GPU
    if device == "cpu":
        variables |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    return variables


def task(side: SideName, folder: str, options: BenchmarkOptions) -> Task:
    """The task of one worker."""
    return Task(
        side,
        folder,
        options.problem,
        options.precision,
        options.adam,
        options.compile_mode,
    )


def _last_line(file: Any) -> str:
    file.seek(0)
    lines = file.read().strip().splitlines()
    return lines[-1] if lines else "no message"
