"""How the settings of two runs differ."""

import dataclasses
import json
from typing import Any

from iin_jax.runs.settings import Experiment

# settings that say where images are, not which
WHERE_DATA_LIES = ("data.root", "data.attributes", "data.download", "data.max_memory")


def as_json(experiment: Experiment) -> dict[str, Any]:
    """Settings as JSON reads them back."""
    return json.loads(json.dumps(dataclasses.asdict(experiment)))


def completed(recorded: Any, usual: dict[str, Any]) -> Any:
    """Recorded settings, with the usual values of fields that came later."""
    if not isinstance(recorded, dict):
        return recorded
    return usual | {
        name: completed(x, usual[name]) if isinstance(usual.get(name), dict) else x
        for name, x in recorded.items()
    }


def differences(first: Any, second: Any, prefix: str = "") -> list[str]:
    """Fields in which two settings, given as JSON values, differ."""
    if isinstance(first, dict) and isinstance(second, dict):
        return [
            line
            for name in sorted({*first, *second})
            for line in differences(
                first.get(name),
                second.get(name),
                f"{prefix}.{name}" if prefix else name,
            )
        ]
    return [] if first == second else [f"{prefix}: {first} there, {second} now"]


def differences_in_images(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Fields, given as JSON, in which two runs' images or splits differ."""
    lines = []
    for name in ("data", "seed"):
        lines += differences(first[name], second[name], name)
    return [line for line in lines if line.split(":")[0] not in WHERE_DATA_LIES]
