"""The command line: one named experiment, all its stages, resumable.

``python -m experiments.run NAME --workdir DIR [--section.field value ...]``
"""

import contextlib
import dataclasses
import os
import shlex
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import tyro

from experiments import configs
from experiments.checks import check
from experiments.run_folder import RESULTS, Run, check_settings, locked
from experiments.settings import Experiment, smoke
from iin_jax.command_line import one_line
from iin_jax.files.hints import near
from iin_jax.training.cpu import missing_variables
from iin_jax.training.loop import StoppedError

EXIT_BAD_INPUT = 2
EXIT_FAILED = 1
EXIT_STOPPED = 143


@dataclasses.dataclass(frozen=True)
class Options:
    """Everything that the command line sets.

    Attributes:
      workdir: Folder of the run; the same command goes on where it stopped.
      experiment: Settings of the experiment.
      budget: Which schedule: full, or cpu for minutes on two cores.
      smoke: Schedules of seconds: everything runs, the figures mean nothing.
      traceback: Print whole tracebacks instead of one line.
    """

    workdir: str
    experiment: Annotated[Experiment, tyro.conf.arg(name="")]
    budget: Literal["full", "cpu"] = "full"
    smoke: bool = False
    traceback: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        print("interrupted before the run began", file=sys.stderr)
        return EXIT_STOPPED
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        if "--traceback" in arguments:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        bad_input = isinstance(error, (ValueError, ImportError))
        return EXIT_BAD_INPUT if bad_input else EXIT_FAILED


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        known = ", ".join(configs.names())
        print(f"usage: python -m experiments.run NAME --workdir DIR\nNAME: {known}")
        return 0
    name, *flags = arguments
    options = parse(configs.find(name), name, flags)
    check(options.experiment)
    command = shlex.join(["python", "-m", "experiments.run", *arguments])
    run = Run(name, options.experiment, Path(options.workdir), command)
    if options.smoke:
        print(
            "smoke: schedules of seconds, few images, no LPIPS, no distances; figures "
            "mean nothing"
        )
    with locked(run.folder):
        if not (run.folder / "config.json").is_file():
            _check_new(run)
        check_settings(run)
        return _all_stages(run)


def parse(config: ModuleType, name: str, flags: Sequence[str]) -> Options:
    """Command-line flags over an experiment's settings.

    Raises:
      ValueError: an unknown flag; the message offers the nearest one.
    """
    budget = _value_of(flags, "--budget")
    experiment = config.BUDGETS.get(budget, config.EXPERIMENT)
    if "--smoke" in flags:
        experiment = smoke(experiment)
    options, unknown = one_line(
        lambda: tyro.cli(
            Options,
            prog=f"python -m experiments.run {name}",
            description=config.__doc__,
            args=flags,
            default=Options(tyro.MISSING, experiment),
            return_unknown_args=True,
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    )
    if unknown:
        flag = unknown[0].split("=")[0]
        hint = near(flag, _flags(options), cutoff=0.4)
        raise ValueError(f"unknown argument {flag}{hint} (--help lists all)")
    return options


def _check_new(run: Run) -> None:
    """What can fail at once must do so before the settings are recorded."""
    import jax

    from experiments.network_training import load_perceptual
    from iin_jax import networks

    check(run.experiment, len(jax.devices()))
    settings, distance = run.experiment.network, run.experiment.evaluate.distance
    if settings.from_run is not None:
        reused = run.reused_network(Path(settings.from_run))
        if distance != "none" and reused.output != "images":
            raise ValueError(
                f"evaluate.distance compares pictures; the {reused.architecture} of "
                f"{settings.from_run} makes none: set --evaluate.distance none"
            )
    elif settings.kind == "pretrained":
        run.pretrained_network()
    elif settings.kind == "autoencoder":
        load_perceptual(settings)
    if distance != "none":
        networks.load(distance, download=settings.download)
    run.check_images()


def _all_stages(run: Run) -> int:
    report = run.folder / "report.html"
    if all(run.is_complete(stage) for stage in RESULTS):
        print(f"complete: nothing to do. Report: {report}")
        return 0
    try:
        signal.signal(signal.SIGTERM, _stop)
        _run_stages(run)
    except (StoppedError, KeyboardInterrupt) as stopped:
        print(f"{stopped or 'interrupted'}; go on with:\n  {run.command}")
        return EXIT_STOPPED
    _print_summary(run)
    print(f"Report: {report}")
    return 0


def _run_stages(run: Run) -> None:
    import jax

    from experiments.stages import STAGES

    devices = jax.devices()
    check(run.experiment, len(devices))
    run.check_data()
    print(f"device: {len(devices)} x {devices[0].device_kind} ({devices[0].platform})")
    for number, (name, stage) in enumerate(STAGES.items(), start=1):
        label = f"[{number}/{len(STAGES)}] {name}"
        if run.is_complete(name):
            print(f"{label}: complete")
            continue
        print(f"{label} ...", flush=True)
        with run.timed_stage(name), _warnings_as_notes():
            stage(run)
        print(f"{label}: {run.stages[name]['seconds']:.1f} s", flush=True)


@contextlib.contextmanager
def _warnings_as_notes() -> Iterator[None]:
    """Our warnings as lines of the run, without the place in the code."""

    def show(message, category, filename, *where, **more):
        if category is UserWarning:
            print(f"note: {message}", flush=True)
        else:
            shown(message, category, filename, *where, **more)

    with warnings.catch_warnings():
        shown, warnings.showwarning = warnings.showwarning, show
        yield


def _print_summary(run: Run) -> None:
    card = run.read_json("scorecard.json")
    print(f"sizes: {card['sizes']}")
    for line in card.get("unbeaten", ()):
        print(f"note: {line}")
    for name, found in card.get("distances", {}).items():
        frechet = found["frechet"]
        print(f"{name.replace('_', ' ')}: {frechet['name']} {frechet['value']:.3f}")
    for concept, result in card.get("swap", {}).items():
        judged = {concept: result["transferred"], **result["others_kept"]}
        for attribute, figure in judged.items():
            if figure is None:
                continue
            verb = "transferred" if attribute == concept else "kept"
            floor = card["floor"][attribute]
            measure = card["measure"][attribute].replace("_", " ")
            print(
                f"swap {concept}: {attribute} {verb} {figure:.3f} ({measure}; "
                f"on plain reconstructions {floor:.3f})"
            )


def _stop(number: int, frame: Any) -> None:
    raise StoppedError("stopped between two steps; complete stages are kept")


def _value_of(flags: Sequence[str], name: str) -> str | None:
    for flag, following in zip(flags, [*flags[1:], ""], strict=True):
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


if __name__ == "__main__":
    with_fast_cpu()
    sys.exit(main())
