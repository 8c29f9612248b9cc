"""Two pure JAX functions as a ``Network``."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax

from iin_jax.networks.base import Network
from iin_jax.types import Array, Images, Tree


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class FunctionNetwork(Network):
    """Two pure JAX functions as a network; see ``from_functions``."""

    encoder: Callable[[Tree, Images], Array]
    decoder: Callable[[Tree, Array], Array]
    variables: Tree
    channels: int
    image_size: tuple[int, int] | None
    latent_shape: tuple[int, ...]
    output: str

    architecture = "functions"

    def encode_pure(self, variables: Tree, images: Images) -> Array:
        return self.encoder(variables, images)

    def decode_pure(self, variables: Tree, z: Array) -> Array:
        return self.decoder(variables, z)


def from_functions(
    encode: Callable[[Any, Images], Array],
    decode: Callable[[Any, Array], Array],
    variables: Mapping[str, Any],
    *,
    image_shape: tuple[int, int, int],
    output: str = "images",
) -> FunctionNetwork:
    """Any network written in JAX, given as two pure functions.

    Args:
      encode: E, ``(variables, images (B, H, W, C) in [-1, 1]) -> z (B, ...)``.
      decode: G, ``(variables, z) -> images in [-1, 1] or logits (B, classes)``.
      variables: the arrays that both functions get as their first argument.
      image_shape: (H, W, C) of one image.
      output: ``"images"`` or ``"logits"``, what ``decode`` returns.

    Raises:
      ValueError: an unknown output, or functions that do not fit the image shape.
    """
    if output not in ("images", "logits"):
        raise ValueError(f"output is 'images' or 'logits'; got {output!r}")
    image = jax.ShapeDtypeStruct((2, *image_shape), "float32")
    z = jax.eval_shape(encode, variables, image)
    decoded = jax.eval_shape(decode, variables, z)
    expected = (2, *image_shape) if output == "images" else (2, decoded.shape[-1])
    if z.shape[:1] != (2,) or decoded.shape != expected:
        raise ValueError(
            f"for 2 images {(2, *image_shape)} the functions give z {z.shape} and "
            f"{output} {decoded.shape}; expected z (2, ...) and {output} {expected}"
        )
    height, width, channels = image_shape
    return FunctionNetwork(
        encode,
        decode,
        variables,
        channels,
        (height, width),
        tuple(z.shape[1:]),
        output,
    )
