"""Regions of a feature map that an edit is confined to."""

import numpy as np

from iin_jax.types import Array


def inside(region: Array | None, latent_shape: tuple[int, ...]) -> np.ndarray | None:
    """Which numbers of a flattened map lie in a region, bool (N,); None: no region.

    Args:
      region: bool, one value per position of the map: (H, W), or (tokens,).
      latent_shape: of one latent, channels last.

    Raises:
      ValueError: a vector has no positions, or the region is not of this shape.
    """
    if region is None:
        return None
    region = np.asarray(region)
    sides = tuple(latent_shape[:-1])
    if not sides:
        raise ValueError(
            f"a region is one of a map's positions; z is a vector {latent_shape}: cut "
            "the network where z is a map, or edit without a region"
        )
    if region.dtype != bool or region.shape != sides:
        raise ValueError(
            f"a region is bool with one value per position of the map, {sides}; got "
            f"{region.dtype} of shape {region.shape}"
        )
    return np.repeat(region.ravel(), latent_shape[-1])
