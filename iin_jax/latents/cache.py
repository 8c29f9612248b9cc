"""Latents of a frozen network, computed once and memory-mapped afterwards."""

import dataclasses
import functools
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap

from iin_jax.files.whole import whole_folder
from iin_jax.latents.batches import in_batches
from iin_jax.networks.base import Network
from iin_jax.types import Images, Latents
from iin_jax.weights import tree_digest

NO_SPREAD = -80.0  # log-variance of a deterministic latent: a standard deviation of 0
ARRAYS = ("mean", "log_var")


class StaleLatentsError(ValueError):
    """A cache of latents that cannot be used: of something else, or incomplete."""


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
    """Encodes images in memory; for many see ``encode_to``.

    Args:
      network: frozen.
      images: slice -> images (b, H, W, C) in [-1, 1].
      count: number of images.
      batch_size: images per call of the network.
      progress: label of a progress bar; None: none.

    Raises:
      ValueError: no images, or a latent that is not finite, with its entry.
    """
    parts = [part for _, part in _encoded(network, images, count, batch_size, progress)]
    return LatentCache(
        np.concatenate([part.mean for part in parts]),
        np.concatenate([part.log_var for part in parts]),
    )


def encode_to(
    folder: str | os.PathLike,
    network: Network,
    images: Callable[[slice], Images],
    count: int,
    *,
    data: str = "",
    batch_size: int = 1024,
    progress: str | None = None,
) -> LatentCache:
    """Encodes images part by part into a cache on disk, whole or not at all.

    ``origin.json`` tells the seconds it took, the network's compilation included, and
    the images per second.

    Args:
      folder: of the cache; an older one is replaced at the end.
      data: digest of what the images are made of.
      network, images, count, batch_size, progress: as in ``encode_all``.

    Returns:
      The cache, memory-mapped.

    Raises:
      ValueError: no images, or a latent that is not finite, with its entry.
    """
    start = time.perf_counter()
    parts = _encoded(network, images, count, batch_size, progress)
    with whole_folder(folder) as unfinished:
        _write_parts(unfinished, parts, count)
        seconds = time.perf_counter() - start
        speed = {"seconds": seconds, "images_per_second": count / seconds}
        _write_origin(unfinished, {**_origin(network, data), "entries": count, **speed})
    return load_latents(folder, network, data)


def check_finite(latents: Latents, what: str) -> None:
    """Raises ValueError, naming the first bad row, unless all values are finite."""
    rows = np.flatnonzero(~np.isfinite(np.asarray(latents)).all(axis=1))
    if rows.size:
        raise ValueError(
            f"{rows.size} of {len(latents)} {what}s are not finite; the first is row "
            f"{rows[0]}"
        )


def save_latents(
    folder: str | os.PathLike, cache: LatentCache, network: Network, data: str = ""
) -> None:
    """Writes a cache, whole or not at all, with what it was made by and of.

    Args:
      folder: of the cache; an older one is replaced.
      cache: what is written.
      network: that made it.
      data: digest of what it was made of.
    """
    with whole_folder(folder) as unfinished:
        for name in ARRAYS:
            np.save(unfinished / f"{name}.npy", getattr(cache, name))
        origin = _origin(network, data)
        _write_origin(unfinished, {**origin, "entries": len(cache.mean)})


def load_latents(
    folder: str | os.PathLike, network: Network, data: str = ""
) -> LatentCache:
    """Memory-maps what ``save_latents`` or ``encode_to`` wrote.

    Args:
      folder: of the cache.
      network: that must have made it.
      data: digest of what it must have been made of.

    Raises:
      StaleLatentsError: the cache is missing, cut short, or was made by another
        network or layer, or of other data.
    """
    folder = Path(folder)
    try:
        origin = json.loads((folder / "origin.json").read_text())
        mean, log_var = (
            np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS
        )
    except (OSError, EOFError, ValueError) as error:
        raise StaleLatentsError(
            f"no complete latent cache in {folder}: {error}"
        ) from error
    expected = _origin(network, data)
    if not isinstance(origin, dict) or any(
        origin.get(name) != expected[name] for name in ("network", "layer")
    ):
        raise StaleLatentsError(
            f"the latents in {folder} were made by another network or layer"
        )
    if origin.get("data", "") != data:
        raise StaleLatentsError(f"the latents in {folder} were made of other data")
    if not len(mean) == len(log_var) == origin.get("entries"):
        raise StaleLatentsError(f"the latent cache in {folder} is cut short")
    return LatentCache(mean, log_var)


def _origin(network: Network, data: str) -> dict[str, Any]:
    return {
        "network": tree_digest(network.variables),
        "layer": network.cut,
        "data": data,
    }


def _write_origin(folder: Path, origin: dict[str, Any]) -> None:
    text = json.dumps(origin, indent=2)
    (folder / "origin.json").write_text(text, encoding="utf-8")


def _write_parts(
    folder: Path, parts: Iterator[tuple[slice, LatentCache]], count: int
) -> None:
    """Fills memory-mapped files, made when the width of a latent is known."""
    files: dict[str, np.memmap] = {}
    for entries, part in parts:
        for name in ARRAYS:
            values = getattr(part, name)
            if name not in files:
                files[name] = open_memmap(
                    folder / f"{name}.npy", "w+", np.float32, (count, values.shape[1])
                )
            files[name][entries] = values
    for file in files.values():
        file.flush()


def _encoded(
    network: Network,
    images: Callable[[slice], Images],
    count: int,
    batch_size: int,
    progress: str | None,
) -> Iterator[tuple[slice, LatentCache]]:
    """Parts of a cache."""
    if count < 1:
        raise ValueError("there are no images to encode")
    broken: list[int] = []
    posterior = functools.partial(_posterior, network)
    for entries, found in in_batches(posterior, images, count, batch_size, progress):
        part = LatentCache(*found)
        finite = np.isfinite(part.mean).all(axis=1)
        finite &= np.isfinite(part.log_var).all(axis=1)
        broken += (entries.start + np.flatnonzero(~finite)).tolist()
        yield entries, part
    if broken:
        raise ValueError(
            f"{len(broken)} of {count} latents are not finite; the first is row "
            f"{broken[0]}"
        )


def _posterior(network: Network, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    posterior = network.posterior(images)
    if posterior is not None:
        return np.asarray(posterior[0]), np.asarray(posterior[1])
    z = np.asarray(network.encode(images)).reshape(len(images), -1)
    return z, np.full_like(z, NO_SPREAD)
