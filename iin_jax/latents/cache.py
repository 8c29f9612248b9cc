"""A cache of latents of a frozen network: computed once, memory-mapped afterwards."""

import contextlib
import dataclasses
import functools
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from iin_jax.files.array_files import ArrayFile, load_array_file, save_array
from iin_jax.files.digests import file_digest
from iin_jax.files.faults import raise_system_fault
from iin_jax.files.json_files import read_description, write_description
from iin_jax.files.whole import whole_folder
from iin_jax.latents.batches import in_batches
from iin_jax.networks.base import Network
from iin_jax.types import Images, Latents
from iin_jax.weights import tree_digest

ARRAYS = ("mean", "log_var")  # fields of a cache and names of its files


class StaleLatentsError(ValueError):
    """A cache that is missing, damaged, or of another network or other data."""


@dataclasses.dataclass(frozen=True)
class LatentCache:
    """Posteriors of the latents of n images; spatial latents are flattened.

    Attributes:
      mean, log_var: mean and log-variance of every component, (n, N) float32 each;
        no log-variance where a network has no posterior.
    """

    mean: np.ndarray
    log_var: np.ndarray | None = None

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Name -> array, of those that there are."""
        named = {name: getattr(self, name) for name in ARRAYS}
        return {name: array for name, array in named.items() if array is not None}


def encode_all(
    network: Network,
    images: Callable[[slice], Images],
    count: int,
    *,
    batch_size: int = 1024,
    progress: str | None = None,
) -> LatentCache:
    """Encodes images into memory; ``encode_to`` is for sets beyond it.

    Args:
      network: the frozen network.
      images: slice -> images (b, H, W, C) in [-1, 1].
      count: number of images.
      batch_size: images per call of the network.
      progress: label of a progress bar; None: no progress bar.

    Raises:
      ValueError: no images, or latents that are not finite; names the first.
    """
    parts = [part for _, part in _encoded(network, images, count, batch_size, progress)]
    names = parts[0].arrays
    return LatentCache(
        **{
            name: np.concatenate([part.arrays[name] for part in parts])
            for name in names
        }
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
    """Encodes images batch by batch into a cache on disk, whole or not at all.

    ``origin.json`` records the seconds of encoding, with the network's compilation, and
    the images per second.

    Args:
      folder: folder of the cache; an older cache there is replaced at the end.
      data: digest of the data that the images come from.
      network, images, count, batch_size, progress: as in ``encode_all``.

    Returns:
      The cache, memory-mapped.

    Raises:
      ValueError: no images, or latents that are not finite; names the first.
      OSError: the cache cannot be written, as on a full disk; names its folder.
    """
    start = time.perf_counter()
    parts = _encoded(network, images, count, batch_size, progress)
    # closed, the bar ends before an error is printed
    with whole_folder(folder) as unfinished, contextlib.closing(parts):
        _write_parts(unfinished, parts, count)
        seconds = time.perf_counter() - start
        speed = {"seconds": seconds, "images_per_second": count / seconds}
        _write_origin(unfinished, {**_origin(network, data), "entries": count, **speed})
    return load_latents(folder, network, data)


def check_finite(latents: Latents, what: str) -> None:
    """Raises an error unless all latents are finite.

    Args:
      latents: (n, N).
      what: name of a row, in the singular, for the message.

    Raises:
      ValueError: values that are not finite; names the first such row.
    """
    rows = np.flatnonzero(~np.isfinite(np.asarray(latents)).all(axis=1))
    if rows.size:
        raise ValueError(
            f"{rows.size} of {len(latents)} {what}s are not finite; the first is row "
            f"{rows[0]}"
        )


def save_latents(
    folder: str | os.PathLike, cache: LatentCache, network: Network, data: str = ""
) -> None:
    """Writes a cache with its origin, whole or not at all.

    Args:
      folder: folder of the cache; an older cache there is replaced.
      cache: the cache.
      network: the network that encoded it.
      data: digest of the data that was encoded.
    """
    with whole_folder(folder) as unfinished:
        for name, array in cache.arrays.items():
            save_array(unfinished / f"{name}.npy", array)
        origin = _origin(network, data)
        _write_origin(unfinished, {**origin, "entries": len(cache.mean)})


def load_latents(
    folder: str | os.PathLike, network: Network, data: str = ""
) -> LatentCache:
    """Memory-maps a cache that ``save_latents`` or ``encode_to`` wrote.

    Args:
      folder: folder of the cache.
      network: the network that must have encoded it.
      data: digest of the data that must have been encoded.

    Raises:
      StaleLatentsError: a cache that is missing, damaged, or made by another network,
        from another layer or of other data.
      OSError: the system cannot read it, whatever its content.
    """
    folder = Path(folder)
    try:
        origin = read_description(folder / "origin.json")
        digests = origin.get("digests", {})
        arrays = {
            name: load_array_file(folder / f"{name}.npy", mmap_mode="r")
            for name in ARRAYS
            if name == "mean" or name in digests
        }
    except (OSError, EOFError, ValueError) as error:
        raise_system_fault(error, folder)
        raise StaleLatentsError(
            f"no complete latent cache in {folder}: {error}"
        ) from error
    expected = _origin(network, data)
    if any(origin.get(name) != expected[name] for name in ("network", "layer")):
        raise StaleLatentsError(
            f"the latents in {folder} were made by another network or layer"
        )
    if origin.get("data", "") != data:
        raise StaleLatentsError(f"the latents in {folder} were made of other data")
    if {len(array) for array in arrays.values()} != {origin.get("entries")}:
        raise StaleLatentsError(f"the latent cache in {folder} is cut short")
    if digests != _digests(folder, arrays):
        raise StaleLatentsError(
            f"the latents in {folder} differ from what was encoded: a digest is wrong"
        )
    return LatentCache(**arrays)


def _origin(network: Network, data: str) -> dict[str, Any]:
    """Digests and layer that identify the content of a cache."""
    return {
        "network": tree_digest(network.variables),
        "layer": network.cut,
        "data": data,
    }


def _write_origin(folder: Path, origin: dict[str, Any]) -> None:
    names = [name for name in ARRAYS if (folder / f"{name}.npy").is_file()]
    origin = {**origin, "digests": _digests(folder, names)}
    write_description(folder / "origin.json", origin)


def _digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    return {name: file_digest(folder / f"{name}.npy") for name in names}


def _write_parts(
    folder: Path, parts: Iterator[tuple[slice, LatentCache]], count: int
) -> None:
    """Fills files that are created once the first part tells the size of z."""
    files: dict[str, ArrayFile] = {}
    with contextlib.ExitStack() as stack:
        for entries, part in parts:
            for name, values in part.arrays.items():
                if name not in files:
                    shape = (count, values.shape[1])
                    file = ArrayFile(folder / f"{name}.npy", shape, np.float32)
                    files[name] = stack.enter_context(file)
                files[name][entries] = values


def _encoded(
    network: Network,
    images: Callable[[slice], Images],
    count: int,
    batch_size: int,
    progress: str | None,
) -> Generator[tuple[slice, LatentCache], None, None]:
    """Yields a cache by batches; raises ValueError at the end unless all are finite."""
    if count < 1:
        raise ValueError("there are no images to encode")
    nonfinite: list[int] = []
    posterior = functools.partial(_posterior, network)
    batches = in_batches(posterior, images, count, batch_size, progress)
    for entries, arrays in batches:
        part = LatentCache(*arrays)
        finite = np.ones(len(part.mean), bool)
        for array in part.arrays.values():
            finite &= np.isfinite(array).all(axis=1)
        nonfinite += (entries.start + np.flatnonzero(~finite)).tolist()
        yield entries, part
    if nonfinite:
        raise ValueError(
            f"{len(nonfinite)} of {count} latents are not finite; the first is row "
            f"{nonfinite[0]}"
        )


def _posterior(network: Network, images: np.ndarray) -> tuple[np.ndarray, ...]:
    """The latents of images (b, H, W, C), (b, N): their mean and log-variance, or z."""
    posterior = network.posterior(images)
    if posterior is not None:
        return np.asarray(posterior[0]), np.asarray(posterior[1])
    return (np.asarray(network.encode(images)).reshape(len(images), -1),)
