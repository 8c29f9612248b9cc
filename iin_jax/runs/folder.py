"""The folder of one run: who may use it, which settings made it, what is complete."""

import contextlib
import dataclasses
import functools
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from iin_jax.files.json_files import read_json
from iin_jax.files.locks import locked
from iin_jax.files.whole import write_text
from iin_jax.networks import Network, load_network
from iin_jax.runs.differences import as_json, differences
from iin_jax.runs.settings import Experiment

RESULTS = {  # result file of each stage, in order
    "network": "network/network.json",
    "latents": "latents/validation/origin.json",
    "sizes": "sizes.json",
    "flow": "interpreter/interpreter.json",
    "evaluate": "scorecard.json",
    "report": "report.html",
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
        return read_json(self.path / name)

    def write_json(self, name: str, value: Any) -> None:
        """Writes a file whole or not at all."""
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
        return not (self.path / "config.json").is_file()

    def check_settings(self, name: str, experiment: Experiment) -> None:
        """Records the settings of a new run, or compares them with the recorded ones.

        Raises:
          ValueError: the folder was made with other settings; names the fields.
        """
        settings = {"name": name, "experiment": as_json(experiment)}
        if self.is_new:
            self.write_json("config.json", settings)
            return
        lines = differences(self.read_json("config.json"), settings)
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
            would be another, and images that trained would be tested on.
        """
        if not (self.path / "data.json").is_file():
            self.write_json("data.json", described)
        elif self.read_json("data.json")["digest"] != described["digest"]:
            raise ValueError(
                f"the images or labels have changed since {self.path} was begun; "
                "nothing was resumed: restore them or take another folder"
            )

    @property
    def stages(self) -> dict[str, dict[str, Any]]:
        """stage -> ``complete``, ``seconds``, as far as the run has come."""
        exists = (self.path / "stages.json").is_file()
        return self.read_json("stages.json") if exists else {}

    def is_complete(self, stage: str) -> bool:
        """Whether a stage has run to its end and its result is still there."""
        done = self.stages.get(stage, {}).get("complete", False)
        return done and (self.path / RESULTS[stage]).is_file()

    @contextlib.contextmanager
    def timed_stage(self, stage: str) -> Iterator[None]:
        """Adds to a stage's seconds; marks it complete unless it was interrupted."""
        before = self.stages.get(stage, {}).get("seconds", 0.0)
        start, complete = time.monotonic(), False
        try:
            yield
            complete = True
        finally:
            seconds = before + time.monotonic() - start
            entry = {"complete": complete, "seconds": round(seconds, 2)}
            self.write_json("stages.json", {**self.stages, stage: entry})
