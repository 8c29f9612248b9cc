"""Stop signals do their work wherever they arrive."""

import gc
import os
import signal
import sys
import time

import pytest

from iin_jax.runs.stopping import stopped_by_signals
from iin_jax.training.loop import _deferred_signals

NUMBERS = (signal.SIGTERM, signal.SIGINT)


def send(number: int) -> None:
    """The handler runs before this returns."""
    os.kill(os.getpid(), number)
    for _ in range(1000):
        pass


def in_a_collection(number: int, times: int) -> None:
    """The signal arrives in a callback of the garbage collector, so many times."""
    left = [None] * times

    def callback(phase, info):
        if left:
            left.pop()
            send(number)

    gc.callbacks.append(callback)
    try:
        while left:
            gc.collect()
    finally:
        gc.callbacks.remove(callback)


class Finalised:
    def __init__(self, number):
        self.number = number

    def __del__(self):
        send(self.number)


def wait(seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def handlers():
    before = [signal.getsignal(number) for number in NUMBERS], sys.unraisablehook
    yield
    after = [signal.getsignal(number) for number in NUMBERS], sys.unraisablehook
    assert before == after


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("times", [1, pytest.param(3, marks=pytest.mark.thorough)])
def test_a_signal_in_a_garbage_collection_is_not_lost(number, times):
    with (
        pytest.raises(KeyboardInterrupt, match="complete stages are kept"),
        stopped_by_signals(),
    ):
        in_a_collection(number, times)  # nothing is raised in here
        wait()


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_in_a_finaliser_is_not_lost(number):
    with pytest.raises(KeyboardInterrupt), stopped_by_signals():
        Finalised(number)
        wait()


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_elsewhere_stops_at_once_whatever_is_caught(number):
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), stopped_by_signals():
        try:
            send(number)
        except Exception:
            pytest.fail("it was caught")
        wait()
    assert time.monotonic() - start < 4


def test_other_errors_of_finalisers_are_reported(monkeypatch):
    class Broken:
        def __del__(self):
            raise ValueError("broken")

    reported = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)
    with stopped_by_signals():
        Broken()
    assert [str(entry.exc_value) for entry in reported] == ["broken"]
    monkeypatch.undo()


@pytest.mark.parametrize("number", NUMBERS)
def test_a_training_remembers_a_signal_in_a_garbage_collection(number):
    with _deferred_signals(NUMBERS) as stop_requested:
        assert not stop_requested()
        in_a_collection(number, 1)
        assert stop_requested()


def test_a_signal_that_a_training_does_not_ask_for_is_left_alone():
    before = signal.getsignal(signal.SIGTERM)
    with _deferred_signals((signal.SIGINT,)) as stop_requested:
        assert signal.getsignal(signal.SIGTERM) is before
        send(signal.SIGINT)
        assert stop_requested()
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
