"""The stages of a run, one after the other, and what is said of them."""

import contextlib
import signal
import warnings
from collections.abc import Iterator
from typing import Any

import jax

from iin_jax.runs.conditions import check
from iin_jax.runs.folder import RESULTS
from iin_jax.runs.run import Run
from iin_jax.runs.stages import STAGES
from iin_jax.training.loop import StoppedError

EXIT_STOPPED = 143


def run_to_end(run: Run) -> int:
    """Runs the stages that are not complete; returns the exit status."""
    report = run.folder.path / "report.html"
    if all(run.folder.is_complete(stage) for stage in RESULTS):
        print(f"complete: nothing to do. Report: {report}")
        return 0
    try:
        signal.signal(signal.SIGTERM, _stop)
        _run_stages(run)
    except (StoppedError, KeyboardInterrupt) as stopped:
        print(f"{stopped or 'interrupted'}; go on with:\n  {run.command}")
        return EXIT_STOPPED
    _print_summary(run.folder.read_json("scorecard.json"))
    print(f"Report: {report}")
    return 0


def _run_stages(run: Run) -> None:
    devices = jax.devices()
    check(run.experiment, len(devices))
    run.folder.check_data(run.images.describe())
    print(f"device: {len(devices)} x {devices[0].device_kind} ({devices[0].platform})")
    for number, (name, stage) in enumerate(STAGES.items(), start=1):
        label = f"[{number}/{len(STAGES)}] {name}"
        if run.folder.is_complete(name):
            print(f"{label}: complete")
            continue
        print(f"{label} ...", flush=True)
        with run.folder.timed_stage(name), _warnings_as_notes():
            stage(run)
        print(f"{label}: {run.folder.stages[name]['seconds']:.1f} s", flush=True)


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


def _print_summary(card: dict[str, Any]) -> None:
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
