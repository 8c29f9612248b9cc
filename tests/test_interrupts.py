"""Ctrl-C: within a step, with what there is so far; while all is imported, one line."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import iin_jax
from iin_jax.training.loop import TrainingInterrupt
from iin_jax.training.parallel import Runner
from tests.conftest import ROOT, normal

LAYOUT = iin_jax.FactorLayout({"shape": 2, "residual": 2})
MANY = {"steps": 200_000, "batch_size": 8, "sigma": 0.9, "progress": False}
HANDLED = (signal.SIGINT, signal.SIGTERM)


def pairs(count=64):
    za, zb = np.array(normal((2, count, 4)))
    zb[:, :2] = za[:, :2]
    return za, zb, np.tile([True, False], (count, 1))


def fit(**changes):
    flow = iin_jax.InterpretationFlow(4, 1, 8, 0)
    return iin_jax.fit(*pairs(), LAYOUT, flow, **{**MANY, **changes})


@pytest.fixture(autouse=True)
def handlers():
    """Are those of before in the end."""
    before = [signal.getsignal(number) for number in HANDLED]
    yield
    after = [signal.getsignal(number) for number in HANDLED]
    for number, handler in zip(HANDLED, before, strict=True):
        signal.signal(number, handler)
    assert before == after


@pytest.fixture
def signalled(monkeypatch):
    """Sends a signal to this process while a step of trainings runs."""
    usual = Runner._data_of

    def prepare(step, number):
        def data_of(self, next_step):
            if next_step == step:
                os.kill(os.getpid(), number)
            return usual(self, next_step)

        monkeypatch.setattr(Runner, "_data_of", data_of)

    return prepare


@pytest.mark.parametrize("start", ["closed_form", "published"])
def test_a_fit_ends_after_the_step_with_the_interpreter_so_far(signalled, start):
    signalled(7, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match=r"^stopped at step 7 of 2") as error:
        fit(start=start)
    assert isinstance(error.value, TrainingInterrupt)
    assert not isinstance(error.value, Exception)  # what catches errors lets it pass
    message = str(error.value)
    assert "this error's result: except KeyboardInterrupt as e" in message
    assert "\n" not in message
    result = error.value.result
    assert isinstance(result, iin_jax.Interpreter) and result.layout == LAYOUT
    z = np.asarray(normal((5, 4), 3))
    parts = result.to_factors(z)
    np.testing.assert_allclose(result.from_factors(parts), z, atol=1e-4)
    assert np.isfinite(result.log_prob(z)).all()
    if start == "closed_form":  # the best state so far is the linear start
        alone = result.without_flow().log_prob(z)
        np.testing.assert_allclose(result.log_prob(z), alone, atol=1e-4)


def test_without_a_choice_the_interpreter_is_of_the_last_step(signalled):
    """After one step more it is another one; after as many it is the same."""
    z, found = np.asarray(normal((5, 4), 3)), []
    for step in (1, 2, 2):
        signalled(step, signal.SIGINT)
        with pytest.raises(KeyboardInterrupt) as error:
            fit(start="published", rate_per_example=1e-3, warmup=0.0)
        found.append(np.asarray(error.value.result.log_prob(z)))
    assert np.abs(found[0] - found[1]).max() > 1e-4
    np.testing.assert_array_equal(found[1], found[2])


@pytest.mark.thorough
def test_interpret_gives_the_network_too(signalled, autoencoder):
    images = np.tanh(np.asarray(normal((40, 8, 8, 3))))
    labels = {"digit": np.arange(40) % 4}
    layout = iin_jax.FactorLayout({"digit": 3, "residual": 5})
    flow = iin_jax.InterpretationFlow(8, 1, 8, 0)
    signalled(2, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt) as error:
        iin_jax.interpret(
            autoencoder, images, labels, flow, layout=layout, start="published", **MANY
        )
    swapped = error.value.result.swap(images[:2], images[2:4], ["digit"])
    assert swapped.shape == (2, 8, 8, 3)


def test_from_another_thread_it_takes_no_longer_than_a_step():
    """As the terminal sends it, at any moment of a running training."""
    sent, usual = [], signal.getsignal(signal.SIGINT)

    def press():
        while signal.getsignal(signal.SIGINT) is usual:
            time.sleep(0.01)
        time.sleep(0.3)
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press, daemon=True)
    thread.start()
    with pytest.raises(KeyboardInterrupt) as error:
        fit(start="published")
    assert time.monotonic() - sent[0] < 5
    assert np.isfinite(error.value.result.translate(np.zeros((2, 4)))).all()
    thread.join()


class Ended(Exception):
    pass


def test_sigterm_is_left_alone(signalled):
    """A fit saves nothing: it is for whoever started it to say what SIGTERM does."""

    def end(number, frame):
        raise Ended

    usual = signal.signal(signal.SIGTERM, end)
    try:
        signalled(3, signal.SIGTERM)
        with pytest.raises((Ended, KeyboardInterrupt)) as error:
            fit(start="published")
        assert isinstance(error.value, Ended)
        assert signal.getsignal(signal.SIGTERM) is end
    finally:
        signal.signal(signal.SIGTERM, usual)


# stands before every import, and waits where JAX would be imported
SLOW_IMPORT = """
import sys, time
class Slow:
    def find_spec(name, path=None, target=None):
        if name == "jax":
            print("importing", flush=True)
            time.sleep(60)
sys.meta_path.insert(0, Slow)
"""


@contextlib.contextmanager
def started(folder, path):
    """The command line, with a module path; it is killed if it has not ended."""
    run = ("digits", "--smoke", "--workdir", folder)
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.run", *map(str, run)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_while_everything_is_imported_it_is_one_line(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(SLOW_IMPORT)
    with started(tmp_path / "run", tmp_path) as process:
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, output) == (143, "")
    assert errors == "interrupted before the run began\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(0.5, marks=pytest.mark.slow),
        pytest.param(1.5, marks=pytest.mark.thorough),
        pytest.param(3.0, marks=pytest.mark.slow),
        pytest.param(6.0, marks=pytest.mark.thorough),
    ],
)
def test_whenever_it_comes_there_is_no_traceback(tmp_path, seconds):
    with started(tmp_path / "run", ROOT) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "Traceback" not in output + errors
