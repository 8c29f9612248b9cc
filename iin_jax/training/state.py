"""What training changes, and the constants that travel with it."""

import dataclasses
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from iin_jax.training.cpu import fuses_outputs
from iin_jax.types import Array, Tree


@flax.struct.dataclass
class TrainState:
    """All that a checkpoint holds.

    Attributes:
      step: number of steps done, int32 scalar.
      params: trained arrays.
      constants: saved, never optimised (permutations).
      stats: batch statistics of networks that have them.
      opt_state: state of the optimiser.
      best: the best state so far, where one is chosen: ``params``, and what
        ``training.loop.Choice`` notes of it; else empty.
    """

    step: Array
    params: Tree
    constants: Tree
    stats: Tree
    opt_state: Any
    best: Tree = dataclasses.field(default_factory=dict)

    @classmethod
    def create(
        cls,
        tx: optax.GradientTransformation,
        params: Tree,
        constants: Tree | None = None,
    ) -> "TrainState":
        """A state at step 0, without batch statistics."""
        return cls(jnp.int32(0), params, constants or {}, {}, tx.init(params))

    def apply_gradients(
        self, tx: optax.GradientTransformation, gradients: Tree
    ) -> "TrainState":
        """The state after one step of the optimiser."""
        params, opt_state = update(tx, self.params, self.opt_state, gradients)
        return dataclasses.replace(
            self, step=self.step + 1, params=params, opt_state=opt_state
        )


def update(
    tx: optax.GradientTransformation, params: Tree, opt_state: Any, gradients: Tree
) -> tuple[Any, Any]:
    """Parameters and the optimiser's state after one step of it."""
    copies = jax.default_backend() == "cpu" and not fuses_outputs()
    return (_update_in_place if copies else _update)(tx, params, opt_state, gradients)


def _update(
    tx: optax.GradientTransformation, params: Tree, opt_state: Any, gradients: Tree
) -> tuple[Any, Any]:
    updates, opt_state = tx.update(gradients, opt_state, params)
    return optax.apply_updates(params, updates), opt_state


def _update_in_place(
    tx: optax.GradientTransformation, params: Tree, opt_state: Any, gradients: Tree
) -> tuple[Tree, Any]:
    """``_update`` in an order in which XLA on CPUs can overwrite the optimiser's state.

    Unless it fuses several outputs (``training.cpu``), it copies both moments first,
    because the parameters' update reads them too. So the state is computed from
    gradients that seem to depend on the new parameters: XLA cannot foresee that what is
    added is zero, unless a parameter is infinite already. (Adam on 26.8 million
    parameters, two cores: 31 ms, not 50; 24 where outputs are fused.)
    """

    def after(gradient: Array, new: Array) -> Array:
        zero = jnp.where(jnp.isinf(new.ravel()[0]), jnp.inf, 0.0)
        return gradient + zero.astype(gradient.dtype)

    new_params, _ = _update(tx, params, opt_state, gradients)
    late = jax.tree.map(after, gradients, new_params)
    return new_params, _update(tx, params, opt_state, late)[1]


def as_leaves(state: TrainState) -> dict[str, Any]:
    """The state as one flat dictionary: path -> array."""
    flat, _ = jax.tree_util.tree_flatten_with_path(state)
    return {jax.tree_util.keystr(path): leaf for path, leaf in flat}


def from_leaves(template: TrainState, leaves: dict[str, Any]) -> TrainState:
    """Inverse of ``as_leaves``, in the structure of ``template``."""
    names = list(as_leaves(template))
    return jax.tree.unflatten(jax.tree.structure(template), [leaves[n] for n in names])
