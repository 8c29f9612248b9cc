"""The command line: ``python -m experiments.benchmark [--batches 25 256 ...]``."""

import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import tyro

from experiments.benchmark import measure, tables
from experiments.benchmark.cases import BenchmarkOptions, check
from experiments.benchmark.equality import UnequalError
from experiments.benchmark.processes import WorkerError
from iin_jax.command_line import one_line

EXIT_BAD_INPUT = 2
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    try:
        options = parse(list(sys.argv[1:] if arguments is None else arguments))
        check(options)
        if importlib.util.find_spec("torch") is None:
            raise ValueError(
                "the comparison needs PyTorch, which is not installed: "
                "pip install 'iin_jax[torch]'"
            )
        print(tables.markdown(measure.run(options, _keeper(options.out))))
        return 0
    except KeyboardInterrupt:
        print("interrupted; finished cases are in --out, if given", file=sys.stderr)
        return EXIT_INTERRUPTED
    except (ValueError, OSError, UnequalError, WorkerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT if isinstance(error, ValueError) else EXIT_FAILED


def _keeper(out: Path | None) -> Callable[[dict], None] | None:
    """A function that writes the results so far to ``out``, if a file is named."""
    if out is None:
        return None

    def keep(results: dict) -> None:
        out.write_text(json.dumps(results, indent=2))

    return keep


def parse(flags: Sequence[str]) -> BenchmarkOptions:
    """Command-line flags.

    Raises:
      ValueError: an unknown flag or a value that it cannot take.
    """
    return one_line(
        lambda: tyro.cli(
            BenchmarkOptions,
            prog="python -m experiments.benchmark",
            description=__doc__,
            args=flags,
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    )
