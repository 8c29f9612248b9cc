"""Checkpoints: Orbax, plus a digest per array and a fallback that says what it did."""

import os
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from iin_jax.files.digests import array_digest
from iin_jax.training.state import TrainState, as_leaves, from_leaves


class Checkpoints:
    """Saved states of one training run, in one folder.

    Args:
      folder: made if missing.
      keep: number of newest checkpoints that stay.
      say: gets one line for every checkpoint that had to be passed over.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        keep: int = 2,
        say: Callable[[str], None] = print,
    ):
        self.folder = Path(os.path.abspath(folder))
        self.say = say
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, enable_async_checkpointing=False
        )
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    def save(self, state: TrainState) -> None:
        """Writes a state under its step; one of the same step is replaced.

        Raises:
          OSError: the folder cannot be written.
        """
        leaves = jax.device_get(as_leaves(state))
        step = int(state.step)
        if step in self._manager.all_steps():
            self._manager.delete(step)
        digests = {name: array_digest(leaf) for name, leaf in leaves.items()}
        arguments = ocp.args.Composite(
            state=ocp.args.StandardSave(leaves), digests=ocp.args.JsonSave(digests)
        )
        if not self._manager.save(step, args=arguments):
            raise OSError(f"no checkpoint of step {step} was written to {self.folder}")

    def restore(self, template: TrainState) -> TrainState | None:
        """The newest intact state, or None if there is no checkpoint at all.

        Damaged checkpoints newer than it are named and removed.

        Args:
          template: a state of the same structure and shapes.

        Raises:
          ValueError: checkpoints are there, but none can be used; says why for each.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        damaged: dict[int, str] = {}
        for step in steps:
            try:
                state = self._restore_step(step, template)
            except (ValueError, KeyError, OSError, TypeError) as error:
                reason = str(error).strip().splitlines()[0]
                damaged[step] = f"checkpoint {step} is damaged ({reason})"
                continue
            for passed_over, reason in damaged.items():
                self.say(f"{reason}; going back to step {step}")
                self._manager.delete(passed_over)  # Orbax saves newer steps only
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
        shapes = {
            name: np.zeros(np.shape(leaf), leaf.dtype)
            for name, leaf in as_leaves(template).items()
        }
        arguments = ocp.args.Composite(
            state=ocp.args.StandardRestore(shapes), digests=ocp.args.JsonRestore()
        )
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
