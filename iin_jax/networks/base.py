"""What gets interpreted: a frozen network f, cut into E and G at a latent z."""

import abc
import dataclasses
import functools
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from iin_jax.files.hints import nearest
from iin_jax.linen import apply, module_fields
from iin_jax.types import Array, Images, Latents, Tree


class Network(abc.ABC):
    """A frozen network ``f = G o E``, cut at a latent z.

    A subclass gives the pure functions; the public methods check their input, compile
    once and hold the variables. Nothing here is ever trained.

    Attributes:
      variables: the network's arrays, an argument of every pure function.
      channels: C of the images that E takes.
      image_size: (H, W) that E works at, or None if any size will do.
      latent_shape: shape of one z: (N,), (H, W, C) or (tokens, C).
      output: what G returns: ``"images"`` in [-1, 1] or ``"logits"``.
    """

    architecture: ClassVar[str]
    variables: Tree
    channels: int
    image_size: tuple[int, int] | None
    latent_shape: tuple[int, ...]
    output: str

    def __repr__(self) -> str:
        size = self.image_size or ("any", "any")
        pixels = f"({size[0]}, {size[1]}, {self.channels})"
        return (
            f"{type(self).__name__} {self.architecture!r}: images {pixels}, cut at "
            f"{self.cut!r}, z {self.latent_shape}, output {self.output!r}"
        )

    @abc.abstractmethod
    def encode_pure(self, variables: Tree, images: Images) -> Array:
        """E: images (B, H, W, C) in [-1, 1] -> z (B, *latent_shape)."""

    @abc.abstractmethod
    def decode_pure(self, variables: Tree, z: Array) -> Array:
        """G: z (B, *latent_shape) -> images (B, H, W, C) or logits (B, classes)."""

    def posterior_pure(
        self, variables: Tree, images: Images
    ) -> tuple[Latents, Latents] | None:
        """Mean and log-variance of z, (B, N) each; None if z is deterministic."""
        return None

    def features_pure(
        self, variables: Tree, images: Images, layers: Iterable[str] | None = None
    ) -> dict[str, Array]:
        """images -> the output of layers, (B, ...) each; None: of all ``layers()``."""
        names = ("latent",) if layers is None else tuple(layers)
        return {name: self.encode_pure(variables, images) for name in names}

    def settings(self) -> dict[str, Any]:
        """What rebuilds the network beside its variables, as JSON values.

        Raises:
          ValueError: the network has no description of its own to be saved by.
        """
        raise ValueError(
            f"a network of kind {self.architecture!r} cannot be saved; save the "
            "interpreter without it and attach it again with with_network"
        )

    @property
    def cut(self) -> str:
        """The one of ``layers()`` behind which f is cut."""
        return "latent"

    def layers(self) -> dict[str, tuple[int, ...]]:
        """Layers at which f can be cut, with the shape of one latent there."""
        return {"latent": self.latent_shape}

    def encode(self, images: Images) -> Array:
        """images (B, H, W, C) in [-1, 1] -> z; a posterior's mean.

        Raises:
          ValueError: wrong shape or type, no images, or values outside [-1, 1].
        """
        self.check_images(images)
        return self._jit_encode(self.variables, jnp.asarray(images))

    def posterior(self, images: Images) -> tuple[Latents, Latents] | None:
        """Mean and log-variance of z, (B, N) each; None if z is deterministic."""
        self.check_images(images)
        return self._jit_posterior(self.variables, jnp.asarray(images))

    def features(
        self, images: Images, layers: Sequence[str] | None = None
    ) -> dict[str, Array]:
        """What several layers return, in one pass.

        Args:
          images: (B, H, W, C) in [-1, 1].
          layers: some of ``layers()``; None: all.

        Returns:
          layer -> its output, (B, *shape) with the shape that ``layers()`` gives it, in
          the order asked for.

        Raises:
          ValueError: images that ``encode`` does not take, or no such layer.
        """
        self.check_images(images)
        known = self.layers()
        if isinstance(layers, str):
            raise ValueError(f"layers is a list of names; got {layers!r}")
        names = tuple(known if layers is None else layers)
        for name in names:
            if name not in known:
                raise ValueError(
                    f"the network has no layer {name!r} to be cut at"
                    f"{nearest(name, known)}"
                )
        outputs = self._jit_features(self.variables, jnp.asarray(images), names)
        return {name: outputs[name] for name in names}

    def decode(self, z: Array) -> Array:
        """z (B, *latent_shape) -> f's output.

        Raises:
          ValueError: wrong shape.
        """
        if z.ndim != 1 + len(self.latent_shape) or z.shape[1:] != self.latent_shape:
            raise ValueError(
                f"this network's latents have shape (B, {self._shape()}); got "
                f"{tuple(z.shape)}"
            )
        return self._jit_decode(self.variables, jnp.asarray(z))

    def check_images(self, images: Images) -> None:
        """Raises ValueError unless E can take these images as they are."""
        shape = tuple(np.shape(images))
        size = self.image_size or ("H", "W")
        expected = (size[0], size[1], self.channels)
        fits = len(shape) == 4 and shape[-1] == self.channels
        if self.image_size is not None:
            fits = fits and shape[1:3] == tuple(self.image_size)
        if not fits:
            raise ValueError(
                f"images must have shape (B, {', '.join(map(str, expected))}); "
                f"got {shape}"
            )
        check_image_values(images)

    @functools.cached_property
    def _jit_encode(self):
        return jax.jit(self.encode_pure)

    @functools.cached_property
    def _jit_features(self):
        return jax.jit(self.features_pure, static_argnums=2)

    @functools.cached_property
    def _jit_decode(self):
        return jax.jit(self.decode_pure)

    @functools.cached_property
    def _jit_posterior(self):
        return jax.jit(self.posterior_pure)

    def _shape(self) -> str:
        return ", ".join(map(str, self.latent_shape))


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ModuleNetwork(Network):
    """One of our own Linen modules as a network; it has a vector as its latent.

    Attributes:
      module: with fields ``latent_dim``, ``image_size``, ``channels`` and a method
        ``decode``.
      variables: its arrays.
    """

    module: Any
    variables: Tree

    module_class: ClassVar[Any]

    @property
    def channels(self) -> int:
        return self.module.channels

    @property
    def image_size(self) -> tuple[int, int]:
        return self.module.image_size, self.module.image_size

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.module.latent_dim,)

    def decode_pure(self, variables: Tree, z: Array) -> Array:
        return apply(self.module, variables, z, method="decode")

    def settings(self) -> dict[str, Any]:
        return module_fields(self.module)

    @classmethod
    def build(cls, settings: dict[str, Any], variables: Tree) -> "ModuleNetwork":
        """The network that ``settings`` describes."""
        return cls(cls.module_class(**settings), variables)


def check_image_values(images: Images) -> None:
    """Raises ValueError unless images are finite floats in [-1, 1], at least one.

    Warns of images without a negative value, which are likely in [0, 1]. Values under
    tracing cannot be seen and are not checked.
    """
    if isinstance(images, jax.core.Tracer):
        return
    images = np.asarray(images)
    if images.size == 0:
        raise ValueError(f"there are no images: the array has shape {images.shape}")
    if images.dtype.kind != "f":
        raise ValueError(
            f"images must be floats in [-1, 1]; got {images.dtype}: for 0..255 use "
            "images / 127.5 - 1"
        )
    low, high = float(images.min()), float(images.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError("the images contain NaN or infinite values")
    if low < -1.0 - 1e-4 or high > 1.0 + 1e-4:
        hint = "images / 127.5 - 1" if high > 2.0 else "2 * images - 1 for [0, 1]"
        raise ValueError(
            f"images must lie in [-1, 1]; got [{low:.4g}, {high:.4g}]: try {hint}"
        )
    if low >= 0.0 and low < high:  # a constant says nothing
        warnings.warn(
            f"the images lie in [{low:.4g}, {high:.4g}], without one negative value, "
            "but count as images in [-1, 1]: give 2 * images - 1 if they are in [0, 1]",
            stacklevel=3,
        )
