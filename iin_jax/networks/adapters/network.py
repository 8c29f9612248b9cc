"""A PyTorch module, cut at a layer by hooks, as a ``Network``."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from iin_jax.networks.adapters.module import Probe
from iin_jax.networks.base import Network, check_image_values
from iin_jax.networks.pretrained import Preprocessing
from iin_jax.types import Array, Images, Tree


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class TorchNetwork(Network):
    """A PyTorch module, cut behind ``layer``; see ``from_torch``.

    The module runs in PyTorch; under ``jax.jit`` as a callback, without gradients. It
    holds its own arrays: ``variables`` names them and tells networks apart, but what
    the pure functions are given in its place is not read.

    Attributes:
      probe: the module, and where it can be cut.
      layer: one of ``layers()``.
      image_shape: (H, W, C) that the module gets.
      output_shape: shape of what it returns for one image.
      preprocessing: from images in [-1, 1] to what the module takes; None: as they are.
    """

    probe: Probe
    layer: str
    latent_shape: tuple[int, ...]
    image_shape: tuple[int, int, int]
    output_shape: tuple[int, ...]
    output: str
    preprocessing: Preprocessing | None

    architecture = "torch"

    @property
    def variables(self) -> Tree:
        return self.probe.module.variables

    @property
    def channels(self) -> int:
        return self.image_shape[2]

    @property
    def image_size(self) -> tuple[int, int]:
        return self.image_shape[:2]

    def layers(self) -> dict[str, tuple[int, ...]]:
        """Layers at which f can be cut, in the order of a forward pass.

        Each is tried once, by a forward pass on two images.
        """
        return dict(self.probe.shapes)

    @property
    def cut(self) -> str:
        return self.layer

    def cut_at(self, layer: str) -> "TorchNetwork":
        """The same network, cut elsewhere.

        Raises:
          ValueError: no such layer, or f cannot be cut there; the message says why.
        """
        shape = self.probe.shape_at(layer)
        return dataclasses.replace(self, layer=layer, latent_shape=shape)

    def encode_pure(self, variables: Tree, images: Images) -> Array:
        return self._outputs(images, {self.layer: self.latent_shape})[self.layer]

    def features_pure(self, variables: Tree, images: Images) -> dict[str, Array]:
        """images -> the output of every one of ``layers()``, (B, ...) each."""
        return self._outputs(images, self.probe.shapes)

    def decode_pure(self, variables: Tree, z: Array) -> Array:
        def run(z: Array) -> np.ndarray:
            base = np.repeat(self.probe.base[:1], len(z), axis=0)
            return np.asarray(self.probe.module.resumed(self.layer, z, base))

        shape = jax.ShapeDtypeStruct((len(z), *self.output_shape), jnp.float32)
        decoded = _call(run, shape, z)
        if self.output == "images" and self.preprocessing is not None:
            return undone(self.preprocessing, decoded)
        return decoded

    def check_images(self, images: Images) -> None:
        shape = tuple(np.shape(images))
        expected = self.image_shape
        if self.preprocessing is not None and len(shape) == 4:  # it resizes
            expected = (shape[1], shape[1], self.channels)
        if shape[1:] != expected:
            raise ValueError(
                f"images must have shape (B, {', '.join(map(str, expected))}); got "
                f"{shape}: give from_torch the image_shape=(H, W, C) of these images, "
                "or resize them"
            )
        check_image_values(images)

    @property
    def _jit_encode(self):
        return self.encode_pure  # straight to PyTorch: a callback would add copies

    @property
    def _jit_decode(self):
        return self.decode_pure

    def _outputs(
        self, images: Images, shapes: Mapping[str, tuple[int, ...]]
    ) -> dict[str, Array]:
        def run(x: Array) -> tuple[np.ndarray, ...]:
            calls = self.probe.module.outputs(x, shapes)
            return tuple(np.asarray(calls[layer][0]) for layer in shapes)

        x = prepared(self.preprocessing, images, self.image_shape)
        results = tuple(
            jax.ShapeDtypeStruct((len(x), *shape), jnp.float32)
            for shape in shapes.values()
        )
        return dict(zip(shapes, _call(run, results, x), strict=True))


def prepared(
    preprocessing: Preprocessing | None, images: Images, shape: tuple[int, ...]
) -> Array:
    """images (B, H, W, C) in [-1, 1] -> what a module of this image shape takes."""
    if preprocessing is None:
        return images
    return preprocessing(jnp.asarray(images), shape[0])


def undone(preprocessing: Preprocessing, x: Array) -> Images:
    """The inverse of a preprocessing, but for the resizing."""
    x = x * jnp.asarray(preprocessing.std) + jnp.asarray(preprocessing.mean)
    if preprocessing.channel_order == "BGR":
        x = x[..., ::-1]
    return x * (2.0 / preprocessing.maximum) - 1.0


def _call(function: Callable[[Any], Any], shapes: Any, x: Array) -> Any:
    """A function of NumPy arrays; a callback where x is being traced.

    The function must not use JAX: inside a callback that can wait forever.
    """
    if isinstance(x, jax.core.Tracer):
        return jax.pure_callback(function, shapes, x, vmap_method="sequential")
    return jax.tree.map(jnp.asarray, function(np.asarray(x)))
