"""A module of another framework, cut at one of its layers, as a ``Network``."""

import abc
import dataclasses
from collections.abc import Iterable
from typing import Self

import jax.numpy as jnp
import numpy as np

from iin_jax.networks.adapters.cutting import Probe
from iin_jax.networks.base import Network, check_image_values
from iin_jax.networks.pretrained import Preprocessing
from iin_jax.types import Array, Images, Tree


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class CutNetwork(Network):
    """A module of another framework, cut behind ``layer``.

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

    @abc.abstractmethod
    def outputs_pure(
        self, variables: Tree, x: Array, layers: Iterable[str]
    ) -> dict[str, Array]:
        """x (B, H, W, C) as the module takes it -> what layers return, (B, ...)."""

    @abc.abstractmethod
    def resumed_pure(self, variables: Tree, z: Array) -> Array:
        """z (B, *latent_shape) in place of what the layer returns -> f's output."""

    @property
    def channels(self) -> int:
        return self.image_shape[2]

    @property
    def image_size(self) -> tuple[int, int]:
        return self.image_shape[:2]

    def layers(self) -> dict[str, tuple[int, ...]]:
        """Layers at which f can be cut, in the order of a forward pass."""
        return dict(self.probe.shapes)

    @property
    def cut(self) -> str:
        return self.layer

    def cut_at(self, layer: str) -> Self:
        """The same network, cut elsewhere.

        Raises:
          ValueError: no such layer, or f cannot be cut there; the message says why.
        """
        layer = self.probe.named(layer)
        shape = self.probe.shape_at(layer)
        return dataclasses.replace(self, layer=layer, latent_shape=shape)

    def encode_pure(self, variables: Tree, images: Images) -> Array:
        return self.features_pure(variables, images, [self.layer])[self.layer]

    def features_pure(
        self, variables: Tree, images: Images, layers: Iterable[str] | None = None
    ) -> dict[str, Array]:
        x = prepared(self.preprocessing, images, self.image_shape)
        layers = tuple(self.probe.shapes) if layers is None else tuple(layers)
        return self.outputs_pure(variables, x, layers)

    def decode_pure(self, variables: Tree, z: Array) -> Array:
        decoded = self.resumed_pure(variables, z)
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
                f"{shape}: cut the module for the image_shape=(H, W, C) of these "
                "images, or resize them"
            )
        check_image_values(images)


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
