"""Metrics of a run: JSON lines for programs, TensorBoard events for people."""

import contextlib
import json
import math
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from iin_jax.files.faults import first_line

FILE = "metrics.jsonl"
FLUSH_SECONDS = 120.0  # longest time that TensorBoard events wait in memory


class MetricsLog:
    """Appends to ``metrics.jsonl`` and TensorBoard events in one folder.

    After an interruption the steps since the last checkpoint are logged a second time;
    ``read`` keeps the later line.

    Args:
      folder: of the run.
      stage: name that every line and every TensorBoard tag carries.

    Raises:
      OSError: they cannot be written, as on a full disk; names the file or folder.
    """

    def __init__(self, folder: str | os.PathLike, stage: str):
        # both import torch where there is one; its writer of summaries, a thread, would
        # wait for ever once a full disk has ended that
        from tensorboardX.event_file_writer import EventsWriter

        self.stage, self.path = stage, Path(folder) / FILE
        events = Path(folder) / "events" / stage
        with _named_errors(events):
            events.mkdir(parents=True, exist_ok=True)
            self._events = EventsWriter(str(events / "events"))
        self._flushed = time.monotonic()
        written = self.path.read_bytes() if self.path.is_file() else b""
        self._lines = self.path.open("a", encoding="utf-8")
        if written and not written.endswith(b"\n"):  # cut short by a kill
            self._lines.write("\n")

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """One line at one step.

        Raises:
          OSError: it cannot be written; names the file or folder.
        """
        line = {"stage": self.stage, "step": step, "time": time.time(), **metrics}
        with _named_errors(self.path):
            self._lines.write(json.dumps(line) + "\n")
            self._lines.flush()
        with _named_errors(self.path.parent / "events"):
            self._write_events(step, metrics)

    def close(self) -> None:
        with _named_errors(self.path.parent), contextlib.ExitStack() as stack:
            stack.callback(self._events.close)
            stack.callback(self._lines.close)

    def _write_events(self, step: int, metrics: dict[str, float]) -> None:
        from tensorboardX.proto.event_pb2 import (
            Event,  # pyright: ignore[reportAttributeAccessIssue] made at run time
        )
        from tensorboardX.summary import scalar

        for name, value in metrics.items():
            summary = scalar(f"{self.stage}/{name}", value)
            event = Event(wall_time=time.time(), step=step, summary=summary)
            self._events.write_event(event)
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._events.flush()
            self._flushed = time.monotonic()

    @staticmethod
    def read(folder: str | os.PathLike, stage: str) -> list[dict[str, float]]:
        """All lines of a stage, by step.

        A line cut short by a kill is left out. A damaged one is left out with a warning
        that names the file and the line; so is a missing file.

        Raises:
          OSError: the file cannot be read.
        """
        path = Path(folder) / FILE
        if not path.exists():
            warnings.warn(f"there are no metrics of training at {path}", stacklevel=2)
            return []
        by_step: dict[int, dict[str, float]] = {}
        damaged: list[str] = []
        for number, text in enumerate(path.read_bytes().split(b"\n"), start=1):
            if not text.strip() or _is_cut_short(text):
                continue
            try:
                line = _parsed(text)
            except (ValueError, RecursionError) as error:
                damaged.append(f"line {number} ({first_line(error)})")
                continue
            if line["stage"] == stage:
                by_step[line["step"]] = line
        if damaged:
            count = f" and {len(damaged) - 1:,} more" if len(damaged) > 1 else ""
            text = f"{path} is damaged and read without {damaged[0]}{count}"
            warnings.warn(text, stacklevel=2)
        return [by_step[step] for step in sorted(by_step)]


def _is_cut_short(text: bytes) -> bool:
    return text.startswith(b"{") and not text.rstrip().endswith(b"}")


def _parsed(text: bytes) -> dict:
    """A line of metrics.

    Raises:
      ValueError: no object in JSON and UTF-8 with a stage, a step and numbers alone.
      RecursionError: nested too deeply.
    """
    line = json.loads(text.decode("utf-8"))
    if not isinstance(line, dict):
        raise ValueError(f"a {type(line).__name__}, no object")
    if not isinstance(line.get("stage"), str) or type(line.get("step")) is not int:
        raise ValueError("without a stage or a step")
    for name, value in line.items():
        if name != "stage" and not _is_number(value):
            raise ValueError(f"{name!r} is no number")
    return line


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value) or isinstance(value, float)
    except OverflowError:  # an integer beyond the range of floats
        return False


@contextlib.contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Names what cannot be written; the system does not, once a file is open."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise OSError(f"{path} cannot be written: {reason}") from error
