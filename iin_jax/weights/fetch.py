"""Published weight files by name: where they are looked for, and how they get there.

Nothing is downloaded unless it is asked for, and a file gets its name only when its
size and SHA-256 are right.
"""

import dataclasses
import hashlib
import math
import os
import re
from pathlib import Path

from iin_jax.files.faults import raise_system_fault
from iin_jax.files.folders import cache_of
from iin_jax.files.locks import locked
from iin_jax.files.paths import check_regular, local_path, stand_in, starting_bytes
from iin_jax.weights.connection import check_address
from iin_jax.weights.download import Download, DownloadError

MIB = 2**20
MOST_UNSTATED = 2**32  # bytes of a file whose size is not stated
ROUNDING = 0.00051  # tolerance in MiB of sizes that are printed to three decimals


@dataclasses.dataclass(frozen=True)
class WeightsFile:
    """A published file of weights; its size may be stated in either of two ways.

    Attributes:
      name: of the file, in one folder of its own at most, as in ``"lpips/alex.pth"``.
      url: where it is published, http or https.
      sha256: its digest in hexadecimal, or the first eight or more digits of it.
      bytes: exact size.
      mebibytes: size in MiB, rounded to three decimals.

    Raises:
      ValueError: a name with more folders, another kind of URL, or no such digest.
    """

    name: str
    url: str
    sha256: str
    bytes: int | None = None
    mebibytes: float | None = None

    def __post_init__(self) -> None:
        parts = self.name.split("/")
        if len(parts) > 2 or any(part[:1] in ("", ".") for part in parts):
            raise ValueError(f"{self.name!r} is no file name in one folder at most")
        check_address(self.url)
        if not re.fullmatch("[0-9a-f]{8,64}", self.sha256):
            raise ValueError(
                f"{self.sha256!r} is no SHA-256; give its 64 lower-case hexadecimal "
                "digits, or at least the first 8"
            )

    @property
    def size(self) -> str:
        """The size in words."""
        if self.bytes is not None:
            return f"{self.bytes:,} bytes"
        return "size not stated" if self.mebibytes is None else f"{self.mebibytes} MiB"

    @property
    def size_range(self) -> tuple[float, float]:
        """Least and greatest number of bytes that agree with the stated size."""
        if self.bytes is not None:
            return self.bytes, self.bytes
        if self.mebibytes is None:
            return 0, math.inf
        return (self.mebibytes - ROUNDING) * MIB, (self.mebibytes + ROUNDING) * MIB

    def has_size(self, size: int) -> bool:
        """Whether a number of bytes agrees with the stated size."""
        least, greatest = self.size_range
        return least <= size <= greatest


def cache_folder() -> Path:
    """Where downloads go: in ``$IIN_JAX_CACHE``, else the user's cache folder."""
    return cache_of("weights")


def weights_folders() -> list[Path]:
    """Where weights are looked for: ``$IIN_JAX_WEIGHTS``, like PATH, then the cache."""
    entries = os.environ.get("IIN_JAX_WEIGHTS", "").split(os.pathsep)
    return [*(local_path(entry) for entry in entries if entry), cache_folder()]


def locate(
    file: WeightsFile,
    *,
    download: bool = False,
    progress: bool = True,
    timeout: float = 20.0,
    attempts: int = 4,
    pause: float = 1.0,
) -> Path:
    """Finds a file in ``weights_folders()`` or, if asked to, downloads it to the cache.

    A download that was cut short, by a bad line or a kill, goes on where it stopped.
    Two processes that want the same file wait for one another.

    Args:
      file: what is looked for.
      download: whether to fetch it when it is in none of the folders.
      progress: whether to draw a bar on stderr while it comes.
      timeout: seconds without a byte after which a connection counts as dead.
      attempts: connections in a row that bring nothing new before it gives up.
      pause: seconds before a second attempt; doubled for every further one. After as
        long as all attempts may take, less than 1,000 bytes a second on average are
        given up, too.

    Returns:
      Path of a file whose size and SHA-256 are right.

    Raises:
      ValueError: not found, with all that is needed to get it by hand; a file of that
        name has another content; the download failed or brought another file; the cache
        folder cannot be written; a size that is not stated is beyond 4 GiB.
      OSError: the system cannot read a file, whatever its content.
    """
    for folder in weights_folders():
        if os.path.isfile(folder / file.name):
            check_file(folder / file.name, file)
            return folder / file.name
    if not download:
        raise ValueError(
            f"{file.name} is in none of {', '.join(map(str, weights_folders()))}; "
            f"{_by_hand(file)}, or give download=True (--network.download) to fetch it"
        )
    target = cache_folder() / file.name
    partial = target.with_name(f".{target.name}.partial")
    label = file.name if progress else None
    least, greatest = file.size_range
    if math.isinf(greatest):
        greatest = MOST_UNSTATED
    transfer = Download(
        file.url, partial, least, greatest, label, timeout, attempts, pause
    )
    try:
        waiting = f"another process fetches {target.name}"
        with locked(target.with_name(f".{target.name}.lock"), waiting):
            if target.is_file():  # another process was faster
                check_file(target, file)
            else:
                _complete(file, transfer)
                os.replace(partial, target)
    except OSError as error:
        raise ValueError(
            f"the cache folder {target.parent} cannot be written: {error}; set "
            "IIN_JAX_CACHE to another folder"
        ) from error
    return target


def check_file(path: str | os.PathLike, file: WeightsFile) -> None:
    """Compares a file with what its publisher states.

    Raises:
      ValueError: another size or SHA-256; names both, and what to do.
      OSError: the system cannot read it, whatever its content.
    """
    try:
        fault = _fault(Path(path), file)
    except OSError as error:
        raise_system_fault(error, path)
        raise ValueError(f"{path} cannot be read: {error}") from error
    if fault:
        raise ValueError(
            f"{path} is damaged or another file: {fault}; delete it and get it from "
            f"{file.url} again"
        )


def _fault(path: Path, file: WeightsFile) -> str | None:
    """What is wrong with a file, in words."""
    check_regular(path)
    size = path.stat().st_size
    if math.isinf(file.size_range[1]) and size > MOST_UNSTATED:
        return f"it has more than {MOST_UNSTATED / MIB:,.0f} MiB, and no stated size"
    if not file.has_size(size):
        other = stand_in(starting_bytes(path))
        return other or f"it has {size:,} bytes, expected: {file.size}"
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest.startswith(file.sha256):
        return None
    return f"its SHA-256 is {digest}, expected: {file.sha256}"


def _by_hand(file: WeightsFile) -> str:
    return (
        f"get it from {file.url} (SHA-256 {file.sha256}, {file.size}) and put it at "
        f"{weights_folders()[0] / file.name}"
    )


def _complete(file: WeightsFile, download: Download) -> None:
    """Completes the partial file, and leaves none whose content is wrong."""
    resumed = download.kept > 0
    try:
        download.run()
        fault = _fault(download.partial, file)
        if fault and resumed:  # perhaps it was what an earlier process had left
            download.partial.unlink()
            download.run()
            fault = _fault(download.partial, file)
    except DownloadError as error:
        raise ValueError(
            f"{file.name} could not be fetched: {error}; try later, or {_by_hand(file)}"
        ) from error
    if fault:
        download.partial.unlink()
        raise ValueError(
            f"what {file.url} sends is not {file.name} as published: {fault}; nothing "
            f"was kept; try later, or {_by_hand(file)}"
        )
