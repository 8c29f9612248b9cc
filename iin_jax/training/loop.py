"""The training loop: dispatches, metrics, checkpoints, and a clean stop."""

import contextlib
import dataclasses
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from iin_jax.training.checkpoints import Checkpoints
from iin_jax.training.log import MetricsLog
from iin_jax.training.parallel import Runner
from iin_jax.training.state import TrainState

Validate = Callable[[TrainState], dict[str, float]]

# metrics in the progress bar, where a step has them
SHOWN = ("loss", "bits_per_dim", "held_out_bits_per_dim", "gaussian_bits_per_dim")
TERM = signal.SIGTERM
SLACK = 1e-4  # relative excess over a limit that counts as rounding


class NonFiniteLossError(FloatingPointError):
    """The loss became NaN or infinite; the last good checkpoint is kept."""


class StoppedError(Exception):
    """Training was asked to stop (SIGTERM, Ctrl-C) and has saved its state."""


class TrainingInterrupt(KeyboardInterrupt):
    """Ctrl-C in a training that saves no states.

    Attributes:
      result: what it had come to, as its caller would have got it: the best state, if
        one is chosen.
    """

    def __init__(self, message: str, result: Any):
        super().__init__(message)
        self.result = result


@dataclasses.dataclass(frozen=True)
class Choice:
    """Which state of a training is kept: the best on held-out data, not the last.

    The state before the first step is a candidate. A state counts only if no metric
    that is ``limited`` exceeds its value there by more than its share.

    Attributes:
      score: metric of ``validate``; lower is better.
      limited: metric that must not rise above where it began -> by how much it may, as
        a share of its size there: its standard error, where it has one.
      patience: validations without a lower score, limits or not, after which the
        training ends.
    """

    score: str = "loss"
    limited: Mapping[str, float] = dataclasses.field(
        default_factory=lambda: {"bits_per_dim": 0.0}
    )
    patience: int = 10

    def first(self, state: TrainState, values: Mapping[str, float]) -> TrainState:
        """The state with itself as the best."""
        limits = np.array([values[name] for name in self.limited], np.float32)
        score = values[self.score]
        low = {"low": np.float32(score), "low_step": np.int32(state.step)}
        return self._with_best(state, score, limits, low)

    def better(self, state: TrainState, values: Mapping[str, float]) -> TrainState:
        """The state, with itself as the best if it is."""
        limits, score = np.asarray(state.best["limits"]), values[self.score]
        low = {name: state.best[name] for name in ("low", "low_step")}
        if score < float(low["low"]):
            low = {"low": np.float32(score), "low_step": np.int32(state.step)}
            best = {**state.best, **low}
            state = dataclasses.replace(state, best=best)
        measured = np.array([values[name] for name in self.limited])
        shares = np.array([*self.limited.values()])
        allowed = SLACK * np.maximum(1.0, np.abs(limits)) + shares * np.abs(limits)
        if not (measured <= limits + allowed).all():
            return state
        if not score < float(state.best["score"]):
            return state
        return self._with_best(state, score, limits, low)

    def ends(self, state: TrainState, every: int) -> bool:
        """Whether patience has run out."""
        waited = int(state.step) - int(state.best["low_step"])
        return waited >= self.patience * every

    @staticmethod
    def _with_best(
        state: TrainState, score: float, limits: np.ndarray, low: Mapping
    ) -> TrainState:
        best = {
            "params": jax.tree.map(np.array, state.params),
            "step": np.int32(state.step),
            "score": np.float32(score),
            "limits": limits,
            **low,
        }
        return dataclasses.replace(state, best=best)


def train(
    runner: Runner,
    state: TrainState,
    steps: int,
    *,
    every: int = 50,
    checkpoint_every: int = 500,
    checkpoints: Checkpoints | None = None,
    log: MetricsLog | None = None,
    validate: Validate | None = None,
    progress: str | None = None,
    whole: int | None = None,
    beside: Mapping[str, float] | None = None,
    choice: Choice | None = None,
) -> TrainState:
    """Trains from ``state`` (or the newest checkpoint) to ``steps``.

    Data order is a function of (seed, step), so a resumed run takes the same batches.

    Args:
      runner: step, draws and devices.
      state: where to begin if there is no checkpoint.
      steps: total number of steps.
      every: steps between two lines of metrics.
      checkpoint_every: steps between two checkpoints; the last step is always saved.
      checkpoints: where states are kept; None: nowhere.
      log: where metrics go; None: nowhere.
      validate: called at every checkpoint; its metrics are logged as ``validation_*``.
      progress: label of a progress bar; None: none.
      whole: steps that the bar counts to, where these are a part of a training.
      beside: figures to read the loss by, on every line of metrics.
      choice: which state is returned, by what ``validate`` measures every
        ``checkpoint_every`` steps; None: the last.

    Raises:
      NonFiniteLossError: with step and batch.
      StoppedError: after a signal, with the state saved.
      TrainingInterrupt: after Ctrl-C, without checkpoints.
    """
    _check_numbers(steps, every, checkpoint_every)
    if choice is not None:
        if validate is None:
            raise ValueError("a state can only be chosen by a validation")
        state = choice.first(state, validate(state))
    if checkpoints is not None:
        state = checkpoints.restore(state) or state
    step, held_out = int(state.step), {}
    placed = runner.place(state)
    shown = {"total": whole or steps, "initial": step, "desc": progress}
    bar = tqdm(**shown, disable=progress is None)
    bar.set_postfix_str("compiling")
    numbers = (signal.SIGINT,) if checkpoints is None else (signal.SIGINT, TERM)
    with bar, _deferred_signals(numbers) as stop_requested:
        while step < steps and not (choice and choice.ends(state, checkpoint_every)):
            marks = (every, checkpoint_every)
            count = min(steps - step, *(mark - step % mark for mark in marks))
            placed, metrics, first_bad = runner.run(placed, count, stop_requested)
            if first_bad is not None:
                raise NonFiniteLossError(_describe_failure(runner, first_bad))
            before, step = step, int(np.asarray(runner.fetch(placed.step)))
            bar.update(step - before)
            metrics |= beside or {}
            due = step == steps or step % checkpoint_every == 0
            save = due or stop_requested()
            if save:
                state = jax.device_get(runner.fetch(placed))
                _check_finite(state)
            if save and validate is not None:
                values = validate(state)
                metrics |= {f"validation_{name}": x for name, x in values.items()}
                held_out = {f"held_out_{name}": x for name, x in values.items()}
                if due and choice is not None:
                    better = choice.better(state, values)
                    if better is not state:
                        state, placed = better, runner.place(better)
            bar.set_postfix(_shown({**metrics, **held_out}))
            if log is not None:
                log.write(step, metrics)
            if save and checkpoints is not None:
                checkpoints.save(state)
            if stop_requested():
                stopped = f"stopped at step {step} of {steps}"
                if checkpoints is None:
                    raise TrainingInterrupt(stopped, _kept(state, choice))
                raise StoppedError(stopped)
    return _kept(state, choice)


def _kept(state: TrainState, choice: Choice | None) -> TrainState:
    """The state that a training is for: the last, or the best."""
    if choice is None:
        return state
    return dataclasses.replace(state, params=state.best["params"])


def _check_numbers(steps: int, every: int, checkpoint_every: int) -> None:
    if steps < 1 or every < 1 or checkpoint_every < 1:
        raise ValueError(
            "steps, every and checkpoint_every must be at least 1; got "
            f"{steps}, {every} and {checkpoint_every}"
        )


def _shown(metrics: Mapping[str, float]) -> dict[str, str]:
    """What stands beside the bar."""
    return {name: f"{metrics[name]:.4g}" for name in SHOWN if name in metrics}


def _check_finite(state: TrainState) -> None:
    """A finite loss may have had a gradient that was not."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(state.params)[0]:
        if not np.isfinite(leaf).all():
            name = jax.tree_util.keystr(path)
            raise NonFiniteLossError(
                f"the parameters {name} are not finite after {int(state.step)} steps, "
                "though the loss was: a gradient was not; the last good checkpoint is "
                "kept"
            )


def _describe_failure(runner: Runner, step: int) -> str:
    batch = jax.device_get(runner.batch(step))
    rows = [
        np.flatnonzero(~np.isfinite(leaf.reshape(len(leaf), -1)).all(axis=1))
        for leaf in jax.tree.leaves(batch)
        if leaf.dtype.kind == "f"
    ]
    bad = np.unique(np.concatenate(rows)).tolist()
    inputs = (
        f"examples {bad[:8]} of the batch hold NaN or infinite values"
        if bad
        else "its inputs are finite, so the training diverged: lower its learning rate"
    )
    return (
        f"the loss is not finite at step {step} (batch of {runner.batch_size}): "
        f"{inputs}; the last good checkpoint is kept"
    )


@contextlib.contextmanager
def _deferred_signals(
    numbers: Sequence[signal.Signals],
) -> Iterator[Callable[[], bool]]:
    """Signals set a flag in here; a second Ctrl-C interrupts at once."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def remember(number, frame):
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    previous = {number: signal.signal(number, remember) for number in numbers}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
