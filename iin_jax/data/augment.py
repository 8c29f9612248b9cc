"""Random small distortions of images, for sets of few images."""

import dataclasses

import jax
import jax.numpy as jnp

from iin_jax.types import Array, Key


@dataclasses.dataclass(frozen=True)
class Affine:
    """Ranges of a random affine map; every value is drawn uniformly and centred.

    Attributes:
      degrees: largest rotation, in degrees.
      shift: largest shift per axis, as a share of the image's side.
      scale: largest change of size, as a share.
      shear: largest shear, as a share.
    """

    degrees: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    shear: float = 0.0

    @property
    def active(self) -> bool:
        """Whether anything is distorted at all."""
        return any(dataclasses.astuple(self))

    def __call__(self, key: Key, image: Array) -> Array:
        """One image (H, W, C), distorted bilinearly; outside of it lies 0."""
        height, width, channels = image.shape
        draws = jax.random.uniform(key, (5,), minval=-1.0, maxval=1.0)
        angle = jnp.deg2rad(self.degrees) * draws[0]
        shear = jnp.array([[1.0, self.shear * draws[1]], [0.0, 1.0]])
        turn = jnp.array(
            [[jnp.cos(angle), -jnp.sin(angle)], [jnp.sin(angle), jnp.cos(angle)]]
        )
        matrix = turn @ shear / (1.0 + self.scale * draws[2])
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
