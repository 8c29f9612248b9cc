"""Metrics of a run: JSON lines for programs, TensorBoard events for people."""

import json
import os
import time
from pathlib import Path


class MetricsLog:
    """Appends to ``metrics.jsonl`` and TensorBoard events in one folder.

    After an interruption the steps since the last checkpoint are logged a second time;
    ``read`` keeps the later line.

    Args:
      folder: of the run.
      stage: name that every line and every TensorBoard tag carries.
    """

    def __init__(self, folder: str | os.PathLike, stage: str):
        from tensorboardX import SummaryWriter  # imports torch where there is one

        self.stage = stage
        path = Path(folder) / "metrics.jsonl"
        written = path.read_bytes() if path.is_file() else b""
        cut_short = written and not written.endswith(b"\n")
        self._lines = path.open("a", encoding="utf-8")
        if cut_short:
            self._lines.write("\n")
        self._events = SummaryWriter(str(Path(folder) / "events" / stage))

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """One line at one step."""
        line = {"stage": self.stage, "step": step, "time": time.time(), **metrics}
        self._lines.write(json.dumps(line) + "\n")
        self._lines.flush()
        for name, value in metrics.items():
            self._events.add_scalar(f"{self.stage}/{name}", value, step)

    def close(self) -> None:
        self._lines.close()
        self._events.close()

    @staticmethod
    def read(folder: str | os.PathLike, stage: str) -> list[dict[str, float]]:
        """All lines of a stage, by step; a line cut short by a kill is left out."""
        path = Path(folder) / "metrics.jsonl"
        by_step: dict[int, dict[str, float]] = {}
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                line = json.loads(text)
            except json.JSONDecodeError:
                continue
            if line["stage"] == stage:
                by_step[line["step"]] = line
        return [by_step[step] for step in sorted(by_step)]
