"""Random small distortions of images, for small sets of images."""

import dataclasses

import jax
import jax.numpy as jnp

from iin_jax.types import Array, Key


@dataclasses.dataclass(frozen=True)
class Affine:
    """Ranges of a random affine map about the image's centre.

    Every value is drawn uniformly between minus and plus the given one.

    Attributes:
      degrees: largest rotation, in degrees.
      shift: largest shift per axis, as a share of the image's side.
      scale: largest relative change of size.
      shear: largest shear, in pixels per pixel.
    """

    degrees: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    shear: float = 0.0

    @property
    def active(self) -> bool:
        """Whether any of the ranges is not zero."""
        return any(dataclasses.astuple(self))

    def __call__(self, key: Key, image: Array) -> Array:
        """The distorted image (H, W, C), resampled bilinearly with 0 outside of it."""
        height, width, channels = image.shape
        draws = jax.random.uniform(key, (5,), minval=-1.0, maxval=1.0)
        angle = jnp.deg2rad(self.degrees) * draws[0]
        shear = jnp.array([[1.0, self.shear * draws[1]], [0.0, 1.0]])
        rotation = jnp.array(
            [[jnp.cos(angle), -jnp.sin(angle)], [jnp.sin(angle), jnp.cos(angle)]]
        )
        matrix = rotation @ shear / (1.0 + self.scale * draws[2])
        size = jnp.array([height, width], jnp.float32)
        centre = (size - 1.0) / 2.0
        rows, columns = jnp.mgrid[:height, :width]
        grid = jnp.stack([rows.ravel(), columns.ravel()]) - centre[:, None]
        offset = centre + self.shift * draws[3:] * size
        coordinates = matrix @ grid + offset[:, None]
        sampled = [
            jax.scipy.ndimage.map_coordinates(image[..., c], list(coordinates), order=1)
            for c in range(channels)
        ]
        return jnp.stack(sampled, axis=-1).reshape(height, width, channels)
