"""The stages of a run, one after the other, and what is said of them."""

import contextlib
import shutil
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from iin_jax.files.machine import code_digest, versions
from iin_jax.runs.conditions import check
from iin_jax.runs.differences import differences
from iin_jax.runs.folder import RESULTS
from iin_jax.runs.run import Run
from iin_jax.runs.stages import STAGES
from iin_jax.runs.stopping import EXIT_STOPPED, stopped_by_signals
from iin_jax.training.loop import StoppedError

TIMED = ("origin.json",)  # results that hold seconds, so never come out the same


def run_to_end(run: Run) -> int:
    """Runs the stages that are not complete; returns the exit status."""
    report = run.folder.path / "report.html"
    faults = {stage: run.folder.fault(stage) for stage in RESULTS}
    if not any(faults.values()):
        print(f"complete: nothing to do. Report: {report}")
        return 0
    try:
        with stopped_by_signals():
            _run_stages(run, faults)
    except (StoppedError, KeyboardInterrupt) as stopped:
        reason = str(stopped) or "interrupted; complete stages are kept"
        print(f"{reason}; go on with:\n  {run.command}")
        return EXIT_STOPPED
    _print_summary(run.folder.read_json("scorecard.json"))
    print(f"Report: {report}")
    return 0


def _run_stages(run: Run, faults: Mapping[str, str]) -> None:
    """Runs all stages from the first that has a fault."""
    devices = jax.devices()
    check(run.experiment, len(devices))
    run.folder.check_data(run.images.describe())
    device = f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})"
    print(f"device: {device}")
    made_with = {"devices": device, "code": code_digest()[:12], **versions()}
    earlier, names = run.folder.stages, list(STAGES)
    _say_what_changed(earlier, made_with)
    if not earlier:
        _begin_anew_if_lost(run)
    first = next(number for number, name in enumerate(names) if faults[name])
    redone = [name for name in names[first:] if _has_ended(earlier.get(name, {}))]
    run.folder.forget(redone)
    for number, (name, stage) in enumerate(STAGES.items()):
        label = f"[{number + 1}/{len(STAGES)}] {name}"
        if number < first:
            print(f"{label}: complete")
            continue
        if name in redone:
            print(f"{label}: {faults[name] or 'stands on that'}; done again")
        print(f"{label} ...", flush=True)
        with run.folder.timed_stage(name, made_with), _warnings_as_notes():
            stage(run)
        if name in redone and number < names.index("flow"):
            _begin_anew_if_other(run, name, earlier[name].get("results", {}))
        print(f"{label}: {run.folder.stages[name]['seconds']:.1f} s", flush=True)


def _has_ended(entry: Mapping[str, Any]) -> bool:
    """Whether a stage has ever been complete; its results are known since."""
    return entry.get("complete", False) or "results" in entry


def _say_what_changed(
    stages: Mapping[str, Mapping[str, Any]], made_with: Mapping[str, str]
) -> None:
    """One line for every stage that was made with something else than is there now."""
    for name, entry in stages.items():
        before = entry.get("made_with", {})
        lines = differences({k: before.get(k) for k in made_with}, {**made_with})
        if lines:
            print(f"note: {name} was begun with other {'; '.join(lines)}")


def _begin_anew_if_lost(run: Run) -> None:
    """Removes T's unfinished training where nothing records what it stands on."""
    training = run.folder.path / "flow"
    if training.is_dir():
        print("note: stages.json is lost, so all is done again and T trained anew")
        shutil.rmtree(training)


def _begin_anew_if_other(run: Run, stage: str, before: Mapping[str, str]) -> None:
    """Removes T's unfinished training where what it stands on came out otherwise."""
    now = run.folder.stages[stage]["results"]
    arrays = [name for name in {**before, **now} if not name.endswith(TIMED)]
    training = run.folder.path / "flow"
    if training.is_dir() and any(before.get(name) != now.get(name) for name in arrays):
        print(f"note: {stage} came out otherwise than before, so T is trained anew")
        shutil.rmtree(training)


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
