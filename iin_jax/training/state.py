"""What training changes, and the constants that travel with it."""

import dataclasses
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from iin_jax.types import Array, Tree


@flax.struct.dataclass
class TrainState:
    """All that a checkpoint holds.

    Attributes:
      step: number of steps done, int32 scalar.
      params: trained arrays.
      constants: saved, never optimised (permutations).
      stats: batch statistics of networks that have them.
      opt_state: the optimiser's.
    """

    step: Array
    params: Tree
    constants: Tree
    stats: Tree
    opt_state: Any

    @classmethod
    def create(
        cls,
        tx: optax.GradientTransformation,
        params: Tree,
        constants: Tree | None = None,
    ) -> "TrainState":
        """A state at step 0."""
        return cls(jnp.int32(0), params, constants or {}, {}, tx.init(params))

    def apply_gradients(
        self, tx: optax.GradientTransformation, gradients: Tree
    ) -> "TrainState":
        """The state after one step of the optimiser."""
        updates, opt_state = tx.update(gradients, self.opt_state, self.params)
        params = optax.apply_updates(self.params, updates)
        return dataclasses.replace(
            self, step=self.step + 1, params=params, opt_state=opt_state
        )


def as_leaves(state: TrainState) -> dict[str, Any]:
    """The state as one flat dictionary: path -> array."""
    flat, _ = jax.tree_util.tree_flatten_with_path(state)
    return {jax.tree_util.keystr(path): leaf for path, leaf in flat}


def from_leaves(template: TrainState, leaves: dict[str, Any]) -> TrainState:
    """Inverse of ``as_leaves``, in the structure of ``template``."""
    names = list(as_leaves(template))
    return jax.tree.unflatten(jax.tree.structure(template), [leaves[n] for n in names])
