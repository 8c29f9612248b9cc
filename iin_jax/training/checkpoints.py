"""Checkpoints: Orbax, plus a digest per array and a fallback that says what it did."""

import contextlib
import logging
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np

from iin_jax.files.digests import array_digest
from iin_jax.files.faults import first_line, raise_system_fault, system_fault
from iin_jax.files.hints import short
from iin_jax.training.state import TrainState, as_leaves, from_leaves

DAMAGED = "damaged"  # suffix of checkpoints that are set aside
# what Orbax raises for damage, and for faults of the system
FAULTS = (ValueError, KeyError, OSError, TypeError, RuntimeError, MemoryError)
UNFINISHED = "*.orbax-checkpoint-tmp"  # Orbax's name of one that is being written
# seconds without a new file after which a failed checkpoint counts as ended, and the
# longest that a training waits for that
NOTHING_NEW, LONGEST_WAIT = 0.5, 10.0


class Checkpoints:
    """Saved states of one training run, in one folder.

    Args:
      folder: made if missing.
      keep: number of newest checkpoints that stay.
      say: gets one line for every checkpoint that had to be passed over.

    Raises:
      OSError: the folder cannot be made or read.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        keep: int = 2,
        say: Callable[[str], None] = print,
    ):
        import orbax.checkpoint as ocp

        self.folder = Path(os.path.abspath(folder))
        self.say = say
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, enable_async_checkpointing=False
        )
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    def save(self, state: TrainState) -> None:
        """Writes a state under its step; one of the same step is replaced.

        Raises:
          OSError: it cannot be written, as on a full disk; those before it stay.
        """
        import orbax.checkpoint as ocp

        leaves = jax.device_get(as_leaves(state))
        step = int(state.step)
        digests = {name: array_digest(leaf) for name, leaf in leaves.items()}
        arguments = ocp.args.Composite(
            state=ocp.args.StandardSave(leaves), digests=ocp.args.JsonSave(digests)
        )
        try:
            with self._replaced(step), _quiet_orbax():
                written = self._manager.save(step, args=arguments)
        except (OSError, ValueError, RuntimeError) as error:
            self._remove_unfinished()
            reason = system_fault(error) or short(first_line(error))
            raise OSError(
                f"{self.folder / str(step)} cannot be written: {reason}; the "
                "checkpoints before it are kept"
            ) from error
        if not written:
            raise OSError(f"no checkpoint of step {step} was written to {self.folder}")

    def restore(self, template: TrainState) -> TrainState | None:
        """The newest intact state, or None if there is no checkpoint at all.

        Damaged checkpoints newer than it are renamed, and that is said.

        Args:
          template: a state of the same structure and shapes.

        Raises:
          ValueError: checkpoints are there, but none can be used; says why for each.
          OSError: the system cannot read one, damaged or not; nothing was given up.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        damaged: dict[int, str] = {}
        for step in steps:
            try:
                state = self._restore_step(step, template)
            except FAULTS as error:
                raise_system_fault(error, self.folder / str(step))
                damaged[step] = f"checkpoint {step} is damaged ({first_line(error)})"
                continue
            for passed_over, reason in damaged.items():
                kept = self._set_aside(passed_over)
                self.say(f"{reason} and kept as {kept}; going back to step {step}")
            return state
        if damaged:
            reasons = "; ".join(damaged.values())
            raise ValueError(
                f"no usable checkpoint in {self.folder}: {reasons}. Remove the folder "
                "to train anew"
            )
        return None

    def close(self) -> None:
        self._manager.close()

    def _restore_step(self, step: int, template: TrainState) -> TrainState:
        import orbax.checkpoint as ocp

        shapes = {
            name: np.zeros(np.shape(leaf), leaf.dtype)
            for name, leaf in as_leaves(template).items()
        }
        arguments = ocp.args.Composite(
            state=ocp.args.StandardRestore(shapes), digests=ocp.args.JsonRestore()
        )
        with _quiet_orbax():
            restored = self._manager.restore(step, args=arguments)
        leaves, digests = restored["state"], restored["digests"]
        if not isinstance(digests, dict) or set(digests) != set(leaves):
            raise ValueError("its digests are not those of its arrays")
        wrong = [
            name
            for name, leaf in leaves.items()
            if array_digest(np.asarray(leaf)) != digests[name]
        ]
        if wrong:
            raise ValueError(f"digest differs for {wrong[0]} and {len(wrong) - 1} more")
        return from_leaves(template, leaves)

    def _set_aside(self, step: int) -> str:
        """Renames a checkpoint, since Orbax saves newer steps only; its new name."""
        name, number = f"{step}.{DAMAGED}", 1
        while (self.folder / name).exists():
            number += 1
            name = f"{step}.{DAMAGED}{number}"
        os.rename(self.folder / str(step), self.folder / name)
        self._manager.reload()
        return name

    @contextlib.contextmanager
    def _replaced(self, step: int) -> Iterator[None]:
        """Removes an older checkpoint of a step once its successor is there."""
        if step not in self._manager.all_steps():
            yield
            return
        older, place = self.folder / f"{step}.replaced", self.folder / str(step)
        shutil.rmtree(older, ignore_errors=True)
        os.rename(place, older)
        self._manager.reload()
        try:
            yield
        finally:
            if not place.exists():
                os.rename(older, place)
                self._manager.reload()
            shutil.rmtree(older, ignore_errors=True)

    def _remove_unfinished(self) -> None:
        """Frees the space that a checkpoint took which could not be completed.

        The error of one write ends none of those beside it: they go on for a moment,
        and make anew the folders that were removed under them.
        """
        now = time.monotonic()
        ended, longest = now + NOTHING_NEW, now + LONGEST_WAIT
        while now < min(ended, longest):
            for path in self.folder.glob(UNFINISHED):
                shutil.rmtree(path, ignore_errors=True)
                ended = now + NOTHING_NEW
            time.sleep(0.02)
            now = time.monotonic()


@contextlib.contextmanager
def _quiet_orbax() -> Iterator[None]:
    """Silences the tracebacks of Orbax's threads; the error itself is raised.

    After an error it stays quiet: writes that were under way then end one by one, each
    of them without the event loop that waited for it.
    """
    logger, usual = logging.getLogger("absl"), sys.unraisablehook
    level, loops = logger.level, logging.getLogger("asyncio")

    def of_no_checkpoint(record: logging.LogRecord) -> bool:
        return "orbax-checkpoint-tmp" not in record.getMessage()

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        of_loop = "EventLoop" in repr(unraisable.object)
        if not of_loop and "Event loop is closed" not in str(unraisable.exc_value):
            usual(unraisable)

    warnings.filterwarnings("ignore", "coroutine .* never awaited", RuntimeWarning)
    logger.setLevel(logging.CRITICAL)
    loops.addFilter(of_no_checkpoint)
    sys.unraisablehook = hook
    yield
    logger.setLevel(level)
    loops.removeFilter(of_no_checkpoint)
    sys.unraisablehook = usual
