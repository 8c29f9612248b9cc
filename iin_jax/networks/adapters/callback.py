"""A PyTorch module as a ``Network`` that runs in PyTorch, through a host callback."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from iin_jax.networks.adapters.module import FrozenModule
from iin_jax.networks.adapters.network import CutNetwork
from iin_jax.types import Array, Tree


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class TorchNetwork(CutNetwork):
    """A PyTorch module, cut behind ``layer``; see ``from_torch``.

    The module runs in PyTorch; under ``jax.jit`` as a callback, without gradients. It
    holds its own arrays: ``variables`` names them and tells networks apart, but what
    the pure functions are given in its place is not read.

    To tell its ``layers()``, each is tried once, by a forward pass on two images.

    Attributes:
      module: f.
    """

    module: FrozenModule

    architecture = "torch"

    @property
    def variables(self) -> Tree:
        return self.module.variables

    def outputs_pure(
        self, variables: Tree, x: Array, layers: Iterable[str]
    ) -> dict[str, Array]:
        shapes = {
            layer: self.probe.shapes[layer]
            if layer != self.layer
            else self.latent_shape
            for layer in layers
        }

        def run(x: Array) -> tuple[np.ndarray, ...]:
            calls = self.module.outputs(x, shapes)
            return tuple(np.asarray(calls[layer][0]) for layer in shapes)

        results = tuple(
            jax.ShapeDtypeStruct((len(x), *shape), jnp.float32)
            for shape in shapes.values()
        )
        return dict(zip(shapes, _call(run, results, x), strict=True))

    def resumed_pure(self, variables: Tree, z: Array) -> Array:
        def run(z: Array) -> np.ndarray:
            base = np.repeat(self.probe.base[:1], len(z), axis=0)
            return np.asarray(self.module.resumed(self.layer, z, base))

        shape = jax.ShapeDtypeStruct((len(z), *self.output_shape), jnp.float32)
        return _call(run, shape, z)

    @property
    def _jit_encode(self):
        return self.encode_pure  # straight to PyTorch: a callback would add copies

    @property
    def _jit_decode(self):
        return self.decode_pure

    @property
    def _jit_features(self):
        return self.features_pure


def _call(function: Callable[[Any], Any], shapes: Any, x: Array) -> Any:
    """A function of NumPy arrays; a callback where x is being traced.

    The function must not use JAX: inside a callback that can wait forever.
    """
    if isinstance(x, jax.core.Tracer):
        return jax.pure_callback(function, shapes, x, vmap_method="sequential")
    return jax.tree.map(jnp.asarray, function(np.asarray(x)))
