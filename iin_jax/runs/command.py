"""The command line: one experiment, all its stages, resumable.

``python -m iin_jax.runs NAME|CONFIG.py --workdir DIR [--section.field value ...]``
"""

import dataclasses
import itertools
import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from iin_jax.command_line import EXIT_BAD_INPUT, one_line
from iin_jax.files.hints import near
from iin_jax.files.paths import local_path
from iin_jax.files.programs import keep_programs
from iin_jax.runs.compared import changed, write_comparison
from iin_jax.runs.conditions import check
from iin_jax.runs.configs import FULL, Config, find, names
from iin_jax.runs.folder import CONFIG
from iin_jax.runs.preflight import check_new
from iin_jax.runs.progress import run_to_end
from iin_jax.runs.run import Run
from iin_jax.runs.settings import Experiment, smoke
from iin_jax.runs.stopping import BEFORE, EXIT_STOPPED, import_what_runs_need
from iin_jax.training.cpu import missing_variables

PROGRAM = "iin_jax.runs"  # module behind ``python -m``
EXIT_FAILED = 1


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Everything that the command line sets.

    Attributes:
      workdir: Folder of the run; the same command goes on where it stopped.
      experiment: Settings of the experiment.
      budget: Which schedule: full, or cpu for minutes on two cores.
      compilation_cache: Keep compiled programs in the cache folder for the next start.
      smoke: Schedules of seconds: everything runs, the figures mean nothing.
      traceback: Print whole tracebacks instead of one line.
    """

    workdir: str
    experiment: Annotated[Experiment, tyro.conf.arg(name="")]
    budget: str = FULL
    compilation_cache: tyro.conf.FlagConversionOff[bool] = True
    smoke: bool = False
    traceback: bool = False


def main(arguments: Sequence[str] | None = None, program: str = PROGRAM) -> int:
    """Runs the command line; returns the exit status.

    Args:
      arguments: the experiment, then flags; None: those of the process, which may be
        started over (see ``with_fast_cpu``).
      program: module that the user started.
    """
    of_process = arguments is None
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(arguments, program, of_process)
    except KeyboardInterrupt:
        print(BEFORE, file=sys.stderr)
        return EXIT_STOPPED
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        if "--traceback" in arguments:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        bad_input = isinstance(error, (ValueError, ImportError))
        return EXIT_BAD_INPUT if bad_input else EXIT_FAILED


def _run(arguments: list[str], program: str, of_process: bool) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(
            f"usage: python -m {program} NAME --workdir DIR\n"
            f"NAME: {', '.join(names())}, or the path of your own config file"
        )
        return 0
    config = find(arguments[0])
    options = parse(config, arguments[1:], f"python -m {program} {arguments[0]}")
    check(options.experiment)
    if of_process:
        with_fast_cpu()
        import_what_runs_need()
    command = shlex.join(["python", "-m", program, *arguments])
    runs = _runs(config, options, command)
    if options.smoke:
        print(
            "smoke: schedules of seconds, few images, no LPIPS, no distances; figures "
            "mean nothing"
        )
    if options.compilation_cache:
        keep_programs()
    for name, run in runs.items():
        if len(runs) > 1:
            print(f"-- {name} --")
        status = _one_run(run)
        if status:
            return status
    if config.compared:
        page = write_comparison(config.name, runs, config.compared)
        print(f"Side by side: {page}" if page else "no run has a classifier to compare")
    return 0


def _runs(config: Config, options: RunOptions, command: str) -> dict[str, Run]:
    """Name -> run; one without a name, or those that the config compares."""
    folder = local_path(options.workdir)
    if not config.compared:
        return {"": Run.of(config.name, options.experiment, folder, command)}
    if (folder / CONFIG).exists():
        raise ValueError(
            f"{folder} is the folder of one run, and {config.name} makes several: give "
            "another --workdir"
        )
    runs = {}
    for name, changes in config.compared.items():
        experiment = changed(options.experiment, changes)
        check(experiment)
        runs[name] = Run.of(f"{config.name} {name}", experiment, folder / name, command)
    return runs


def _one_run(run: Run) -> int:
    """All stages of one run that are not complete; returns the exit status."""
    with run.folder.held():
        if run.folder.is_new:
            check_new(run)
        run.folder.check_settings(run.name, run.experiment)
        return run_to_end(run)


def parse(config: Config, flags: Sequence[str], program: str = PROGRAM) -> RunOptions:
    """Command-line flags over an experiment's settings.

    Args:
      config: the experiment.
      flags: what follows its name.
      program: what the help calls the command.

    Raises:
      ValueError: no folder for the run, or an unknown flag; the message offers the
        nearest one.
    """
    asks_for_help = {"-h", "--help"} & set(flags)
    if not asks_for_help and _value_of(flags, "--workdir") is None:
        raise ValueError(
            "--workdir DIR is missing: the folder of the run (--help lists all flags)"
        )
    experiment = config.within(_value_of(flags, "--budget") or FULL)
    if "--smoke" in flags:
        experiment = smoke(experiment)
    options, unknown = one_line(
        lambda: tyro.cli(
            RunOptions,
            prog=program,
            description=config.description,
            args=flags,
            default=RunOptions(tyro.MISSING, experiment),
            return_unknown_args=True,
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    )
    if unknown:
        flag = unknown[0].split("=")[0]
        hint = near(flag, _flags(options), cutoff=0.4)
        raise ValueError(f"unknown argument {flag}{hint} (--help lists all)")
    return options


def _value_of(flags: Sequence[str], name: str) -> str | None:
    for flag, following in itertools.zip_longest(flags, flags[1:], fillvalue=""):
        if flag == name:
            return following
        if flag.startswith(f"{name}="):
            return flag.partition("=")[2]
    return None


def _flags(settings: Any, prefix: str = "--") -> list[str]:
    result = []
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        renamed = {"from_run": "from"}.get(field.name, field.name).replace("_", "-")
        if not dataclasses.is_dataclass(value):
            result.append(f"{prefix}{renamed}")
        elif field.name == "experiment":
            result += _flags(value, prefix)
        else:
            result += _flags(value, f"{prefix}{renamed}.")
    return result


def with_fast_cpu() -> None:
    """Starts this process over, once, with what makes XLA fast on CPUs (Linux).

    glibc reads its setting only when a process starts. Whatever the user has set stays.
    """
    missing = missing_variables(os.environ)
    if sys.platform == "linux" and missing:
        os.environ.update(missing)
        os.execv(sys.executable, sys.orig_argv)
