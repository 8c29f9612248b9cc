"""Stop signals outside of a training, where nothing asks between two steps."""

import contextlib
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

REASONS = {
    signal.SIGTERM: "stopped between two steps; complete stages are kept",
    signal.SIGINT: "interrupted; complete stages are kept",
}
BEFORE = "interrupted before the run began"
EXIT_STOPPED = 143  # as shells report SIGTERM
# modules that a run would import in its middle, where a Ctrl-C may be lost
LATE = (
    "matplotlib.figure",
    "orbax.checkpoint",
    "grain",
    "pandas",
    "scipy.stats",
    "scipy.sparse.linalg",
    "sklearn.svm",
    "sklearn.neural_network",
    "skimage.measure",
    "skimage.morphology",
)
AGAIN = 0.05  # seconds after which a signal that was lost is sent again


class _Stop(KeyboardInterrupt):
    """What a stop signal raises; no ``except Exception`` catches it."""

    def __init__(self, number: int):
        super().__init__(REASONS[signal.Signals(number)])
        self.number = number


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """SIGTERM and Ctrl-C raise ``KeyboardInterrupt`` with a reason in here.

    No exception leaves a garbage collection or a ``__del__``: Python reports it to
    ``sys.unraisablehook`` and goes on. A signal that came just then is sent again.
    """
    usual_hook, timers = sys.unraisablehook, []

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        lost = unraisable.exc_value
        if not isinstance(lost, _Stop):
            usual_hook(unraisable)
            return
        timer = threading.Timer(AGAIN, os.kill, (os.getpid(), lost.number))
        timer.daemon = True
        timers.append(timer)
        timer.start()

    previous = {number: signal.signal(number, _stop) for number in REASONS}
    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = usual_hook
        for timer in timers:
            timer.cancel()
        for number, handler in previous.items():
            signal.signal(number, handler)


def import_what_runs_need() -> None:
    """Imports all that a run imports later; Ctrl-C ends the process at once."""
    previous = signal.signal(signal.SIGINT, _end)
    try:
        for name in LATE:
            importlib.import_module(name)
    finally:
        signal.signal(signal.SIGINT, previous)


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, f"{BEFORE}\n".encode())
    os._exit(EXIT_STOPPED)


def _stop(number: int, frame: FrameType | None) -> None:
    raise _Stop(number)
