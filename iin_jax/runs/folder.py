"""The folder of one run: who may use it, which settings made it, what is complete."""

import contextlib
import dataclasses
import functools
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from iin_jax.files.digests import file_digest
from iin_jax.files.json_files import (
    read_description,
    read_json,
    write_description,
)
from iin_jax.files.locks import locked
from iin_jax.files.whole import write_text
from iin_jax.networks import Network, load_network
from iin_jax.runs.differences import as_json, completed, differences
from iin_jax.runs.settings import Experiment

CONFIG, DATA, STAGES = "config.json", "data.json", "stages.json"
BEGUN = (DATA, STAGES, "metrics.jsonl")  # written only once there are settings
RESULTS = {  # files and folders that each stage writes, in order
    "network": ("network/network.json", "network/network.safetensors"),
    "latents": ("latents",),
    "sizes": ("sizes.json",),
    "flow": ("interpreter", "training.json"),
    "evaluate": ("scorecard.json",),
    "report": ("report.html", "figures"),
}


@dataclasses.dataclass(frozen=True, eq=False)
class RunFolder:
    """What a run has written so far, and writes.

    Attributes:
      path: where the folder is.
    """

    path: Path

    @functools.cached_property
    def network(self) -> Network:
        """The finished network of the run."""
        return load_network(self.path / "network")

    def read_json(self, name: str) -> Any:
        """The value in a result of a stage."""
        return read_json(self.path / name)

    def write_json(self, name: str, value: Any) -> None:
        """Writes a result whole or not at all."""
        write_text(self.path / name, json.dumps(value, indent=2))

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Makes the folder and holds it alone.

        Raises:
          ValueError: the folder cannot be written, or another run holds it.
        """
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(self.path / ".lock"))
            except BlockingIOError as error:
                raise ValueError(
                    f"the workdir {self.path} is in use by another run; wait for it or "
                    "take another folder"
                ) from error
            except OSError as error:
                raise ValueError(f"the workdir cannot be written: {error}") from error
            yield

    @property
    def is_new(self) -> bool:
        """Whether no run has begun here."""
        return not (self.path / CONFIG).is_file()

    def check_settings(self, name: str, experiment: Experiment) -> None:
        """Records the settings of a new run, or compares them with the recorded ones.

        Raises:
          ValueError: the folder was made with other settings; names the fields. Or
            nothing says with which.
        """
        settings = {"name": name, "experiment": as_json(experiment)}
        if self.is_new:
            begun = [file for file in BEGUN if (self.path / file).exists()]
            if begun:
                raise ValueError(
                    f"{self.path / CONFIG} is lost, so nothing says with which "
                    f"settings {begun[0]} beside it was made; nothing was resumed: "
                    "restore it or take another folder"
                )
            write_description(self.path / CONFIG, settings)
            return
        recorded, usual = self._own(CONFIG), as_json(Experiment())
        recorded["experiment"] = completed(recorded.get("experiment", {}), usual)
        lines = differences(recorded, settings)
        if lines:
            shown = "; ".join(line.removeprefix("experiment.") for line in lines)
            raise ValueError(
                f"{self.path} was made with other settings ({shown}); nothing was "
                "resumed: repeat its settings or take another folder"
            )

    def check_data(self, described: Mapping[str, Any]) -> None:
        """Records which images these are, or compares them with the recorded ones.

        Args:
          described: as ``RunImages.describe``.

        Raises:
          ValueError: the images are not those that the run was begun with: its split
            would be another, and images that trained would be tested on. Or nothing
            says which those were.
        """
        if not (self.path / DATA).is_file():
            if self.stages:
                raise ValueError(
                    f"{self.path / DATA} is lost, so nothing says which images "
                    f"{STAGES} beside it is of; nothing was resumed: restore it or "
                    "take another folder"
                )
            write_description(self.path / DATA, described)
        elif self._own(DATA).get("digest") != described["digest"]:
            raise ValueError(
                f"the images or labels have changed since {self.path} was begun; "
                "nothing was resumed: restore them or take another folder"
            )

    @property
    def stages(self) -> dict[str, dict[str, Any]]:
        """stage -> ``complete``, ``seconds``, ``made_with`` and ``results``.

        As far as the run has come. Results are digests of files by their path, as the
        stage last wrote them; there are none before it has been complete.
        """
        return self._own(STAGES) if (self.path / STAGES).is_file() else {}

    def fault(self, stage: str) -> str:
        """Why a stage is to be run: it did not end, or its results are not whole."""
        entry = self.stages.get(stage, {})
        if not entry.get("complete", False):
            return "not complete"
        for name, digest in entry.get("results", {"": ""}).items():
            file = self.path / name
            if not file.is_file():
                return f"{name or 'the list of its results'} is gone"
            if file_digest(file) != digest:
                return f"{name} is not as it was written"
        return ""

    def forget(self, stages: Iterable[str]) -> None:
        """Has some stages as if they had never ended; their files stay.

        What they wrote stays known, for comparison with what they write next, also
        after a kill in between.
        """
        entries = self.stages
        for name in {*stages} & {*entries}:
            entries[name] |= {"complete": False, "seconds": 0.0}
        write_description(self.path / STAGES, entries)

    @contextlib.contextmanager
    def timed_stage(self, stage: str, made_with: Mapping[str, str]) -> Iterator[None]:
        """Adds to a stage's seconds; marks it complete unless it was interrupted.

        Args:
          stage: name of the stage.
          made_with: what results depend on beside the settings, by name.
        """
        entry = self.stages.get(stage, {})
        before = entry.get("seconds", 0.0)
        entry |= {"complete": False, "seconds": before, "made_with": {**made_with}}
        self._record(stage, entry)
        start, complete = time.monotonic(), False
        try:
            yield
            complete = True
        finally:
            entry["seconds"] = round(before + time.monotonic() - start, 2)
            if complete:
                entry |= {"complete": True, "results": self._digests(stage)}
            self._record(stage, entry)

    def _record(self, stage: str, entry: Mapping[str, Any]) -> None:
        write_description(self.path / STAGES, {**self.stages, stage: entry})

    def _digests(self, stage: str) -> dict[str, str]:
        """Path -> digest, of all files that a stage has written."""
        files: list[Path] = []
        for name in RESULTS[stage]:
            path = self.path / name
            files += sorted(path.rglob("*")) if path.is_dir() else [path]
        return {
            file.relative_to(self.path).as_posix(): file_digest(file)
            for file in files
            if file.is_file()
        }

    def _own(self, name: str) -> dict[str, Any]:
        """What the folder records of itself.

        Raises:
          ValueError: it is damaged; says what to do.
        """
        try:
            return read_description(self.path / name)
        except ValueError as error:
            raise ValueError(f"{error}: restore it or take another folder") from error
