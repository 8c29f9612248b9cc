"""Latents of a frozen network, computed once and memory-mapped afterwards."""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from iin_jax.networks.base import Network
from iin_jax.types import Images, Latents
from iin_jax.weights import tree_digest

NO_SPREAD = -80.0  # log-variance of a deterministic latent: a standard deviation of 0


@dataclasses.dataclass(frozen=True)
class LatentCache:
    """Posterior of every entry; a spatial latent is flattened.

    Attributes:
      mean, log_var: (n, N) float32.
    """

    mean: np.ndarray
    log_var: np.ndarray


def encode_all(
    network: Network,
    images: Callable[[slice], Images],
    count: int,
    *,
    batch_size: int = 1024,
    progress: str | None = None,
) -> LatentCache:
    """Encodes images in batches of one shape (the last is padded by repetition).

    Args:
      network: frozen.
      images: slice -> images (b, H, W, C) in [-1, 1].
      count: number of images.
      batch_size: images per call of the network.
      progress: label of a progress bar; None: none.

    Raises:
      ValueError: no images, or a latent that is not finite, with its entry.
    """
    if count < 1:
        raise ValueError("there are no images to encode")
    batch_size = min(batch_size, count)
    means, log_vars = [], []
    starts = range(0, count, batch_size)
    for start in tqdm(starts, desc=progress, disable=progress is None, leave=True):
        batch = np.asarray(images(slice(start, min(start + batch_size, count))))
        padding = batch_size - len(batch)
        padded = np.concatenate([batch, np.repeat(batch[-1:], padding, axis=0)])
        mean, log_var = _posterior(network, padded)
        means.append(mean[: len(batch)])
        log_vars.append(log_var[: len(batch)])
    cache = LatentCache(np.concatenate(means), np.concatenate(log_vars))
    check_finite(cache.mean, "latent")
    check_finite(cache.log_var, "log-variance")
    return cache


def check_finite(latents: Latents, what: str) -> None:
    """Raises ValueError, naming the first bad row, unless all values are finite."""
    rows = np.flatnonzero(~np.isfinite(np.asarray(latents)).all(axis=1))
    if rows.size:
        raise ValueError(
            f"{rows.size} of {len(latents)} {what}s are not finite; the first is row "
            f"{rows[0]}"
        )


def save_latents(folder: str | os.PathLike, cache: LatentCache, network: Network):
    """Writes the cache, with digest and cut of the network that made it."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "mean.npy", cache.mean)
    np.save(folder / "log_var.npy", cache.log_var)
    origin = {**_origin(network), "entries": len(cache.mean)}
    (folder / "origin.json").write_text(json.dumps(origin, indent=2))


def load_latents(folder: str | os.PathLike, network: Network) -> LatentCache:
    """Memory-maps what ``save_latents`` wrote.

    Raises:
      ValueError: the cache is missing, cut short or was made by another network.
    """
    folder = Path(folder)
    try:
        origin = json.loads((folder / "origin.json").read_text())
        mean = np.load(folder / "mean.npy", mmap_mode="r")
        log_var = np.load(folder / "log_var.npy", mmap_mode="r")
    except (OSError, ValueError) as error:
        raise ValueError(f"no complete latent cache in {folder}: {error}") from error
    if any(origin.get(name) != value for name, value in _origin(network).items()):
        raise ValueError(
            f"the latents in {folder} were made by another network or layer"
        )
    if not len(mean) == len(log_var) == origin["entries"]:
        raise ValueError(f"the latent cache in {folder} is cut short")
    return LatentCache(mean, log_var)


def _origin(network: Network) -> dict[str, str]:
    return {"network": tree_digest(network.variables), "layer": network.cut}


def _posterior(network: Network, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    posterior = network.posterior(images)
    if posterior is not None:
        return np.asarray(posterior[0]), np.asarray(posterior[1])
    z = np.asarray(network.encode(images)).reshape(len(images), -1)
    return z, np.full_like(z, NO_SPREAD)
