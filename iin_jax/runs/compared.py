"""Experiments of several runs side by side, which differ in some settings."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from iin_jax.analysis.usage import UsageRecord
from iin_jax.report.side_by_side import SideRecord, write_side_by_side
from iin_jax.runs.run import Run
from iin_jax.runs.settings import Experiment


def check_compared(compared: Any, experiment: Experiment, file: Path) -> None:
    """Raises ValueError unless a config's ``COMPARED`` can be applied.

    Args:
      compared: name of a run -> "section.field" -> value.
      experiment: what it changes.
      file: the config, for messages.
    """
    is_plain = isinstance(compared, Mapping) and all(
        isinstance(name, str) and name.isidentifier() and isinstance(changes, Mapping)
        for name, changes in compared.items()
    )
    if not is_plain or len(compared) == 1:
        raise ValueError(
            f'COMPARED in {file} is a dictionary run -> {{"section.field": value}}, of '
            "at least two runs named by single words"
        )
    for changes in compared.values():
        try:
            changed(experiment, changes)
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(
                f"COMPARED in {file} changes no setting: {error}"
            ) from None


def changed(experiment: Experiment, changes: Mapping[str, Any]) -> Experiment:
    """The experiment with other values of some fields.

    Args:
      experiment: all settings.
      changes: "section.field" -> value.

    Raises:
      AttributeError, TypeError, ValueError: no such section or field.
    """
    for name, value in changes.items():
        section, field = name.split(".")
        part = dataclasses.replace(getattr(experiment, section), **{field: value})
        experiment = dataclasses.replace(experiment, **{section: part})
    return experiment


def write_comparison(
    title: str, runs: Mapping[str, Run], changes: Mapping[str, Mapping[str, Any]]
) -> Path | None:
    """Writes one page on what the networks of several finished runs use.

    Args:
      title: name of the experiment.
      runs: name -> finished run, whose folders lie in one.
      changes: name -> settings in which it differs.

    Returns:
      The page; None where no run has responses of a classifier.
    """
    sides: list[SideRecord] = []
    for name, run in runs.items():
        record = UsageRecord.of(run.folder.read_json("scorecard.json"))
        if record is not None:
            settings = _in_words(changes[name])
            report = (run.folder.path / "report.html").name
            sides.append(SideRecord(name, settings, f"{name}/{report}", record))
    if not sides:
        return None
    folder = next(iter(runs.values())).folder.path.parent
    return write_side_by_side(title, sides, folder / "report.html")


def _in_words(changes: Mapping[str, Any]) -> Sequence[str]:
    return [f"{name} {value}" for name, value in changes.items()]
