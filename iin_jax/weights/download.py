"""One file over HTTP, resumable: a stalled, cut or killed transfer goes on later.

Only urllib is used; libraries such as pooch begin again from zero.
"""

import dataclasses
import errno
import http.client
import os
import shutil
import ssl
import stat
import time
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path

from tqdm import tqdm

from iin_jax.weights.connection import RefusedError, one_line, open_address

CHUNK = 2**16
SLOWEST = 1000  # bytes per second, on average over a transfer beyond its patience
RESERVE = 2**28  # bytes, or a twentieth of the disk, left free by files of any size
PASSING = (408, 425, 429)  # HTTP errors below 500 that may be gone a moment later


class DownloadError(Exception):
    """A download failed for good; says why, in one line."""


class _Interrupted(Exception):
    """A connection that another may continue; says what stopped it."""


@dataclasses.dataclass(frozen=True)
class Download:
    """What to fetch, into which partial file, and with how much patience.

    Attributes:
      url: http or https; redirects lead to no others, nor from https to plain text.
      partial: the file that grows; what it holds already is not asked for again.
        Nothing is written through a link.
      least, greatest: numbers of bytes that the whole file may have.
      progress: label of a bar on stderr; None: none.
      timeout: seconds without a byte after which a connection counts as dead.
      attempts: connections in a row that bring nothing new before it gives up.
      pause: seconds before a second attempt; doubled for every further one.
    """

    url: str
    partial: Path
    least: float
    greatest: float
    progress: str | None
    timeout: float
    attempts: int
    pause: float

    @property
    def kept(self) -> int:
        """Bytes in the partial file."""
        try:
            status = self.partial.lstat()
        except FileNotFoundError:
            return 0
        return status.st_size if stat.S_ISREG(status.st_mode) else 0

    @property
    def patience(self) -> float:
        """Seconds that a transfer may take beside those for its bytes."""
        return 1.0 + self.attempts * self.timeout + self.pause * 2**self.attempts

    def run(self) -> None:
        """Connects until the server has nothing more; the content is not judged here.

        Raises:
          DownloadError: no connection brings anything new, all together are slower than
            ``SLOWEST``, the server has no such file, or one of another size, or there
            is no room for it. What came before is kept.
          OSError: the partial file cannot be written.
        """
        start, most, failures = time.monotonic(), self.kept, 0
        before = most

        def check() -> None:
            seconds, brought = time.monotonic() - start, max(0, self.kept - before)
            if seconds > self.patience + brought / SLOWEST:
                raise DownloadError(
                    f"the server is too slow: {brought:,} bytes in {seconds:.0f} s"
                )

        while True:
            try:
                check()
                self._receive(check)
                return
            except _Interrupted as error:
                failures = 0 if self.kept > most else failures + 1
                most = max(most, self.kept)
                if failures >= self.attempts:
                    note = f"; {self.kept:,} bytes are kept" if self.kept else ""
                    raise DownloadError(f"{error}{note}") from error
                time.sleep(self.pause * 2 ** max(0, failures - 1))

    def _receive(self, check: Callable[[], None]) -> None:
        """One connection: adds to the partial file what it brings."""
        response = self._open(check)
        if response is None:
            return
        with response:
            # anything but 206 begins at zero: a first part, or a server without ranges
            offset = self._range_start(response) if response.status == 206 else 0
            total = None if response.length is None else offset + response.length
            if total is not None and not self.least <= total <= self.greatest:
                raise DownloadError(
                    f"the server answers with {total:,} bytes, which is another file"
                )
            self._check_room(offset, total)
            self._write(response, offset, total)
        if self.kept < (self.least if total is None else total):
            raise _Interrupted("the server closed the connection early")

    def _open(self, check: Callable[[], None]) -> http.client.HTTPResponse | None:
        """The server's answer; None when it says that nothing is missing."""
        headers = {"User-Agent": "iin_jax"}
        if self.kept:
            headers["Range"] = f"bytes={self.kept}-"
        try:
            return open_address(self.url, headers, self.timeout, check)
        except RefusedError as error:
            raise DownloadError(str(error)) from error
        except urllib.error.HTTPError as error:
            if error.code == 416 and self.kept:
                return None  # the digest decides whether what is here is right
            answer = f"the server answers {error.code} {one_line(error.reason)}"
            if error.code >= 500 or error.code in PASSING:
                raise _Interrupted(answer) from error
            raise DownloadError(answer) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, ssl.SSLCertVerificationError):
                reason = one_line(reason)
                raise DownloadError(f"the server is not trusted: {reason}") from error
            raise _Interrupted(f"no answer ({one_line(reason)})") from error

    def _range_start(self, response: http.client.HTTPResponse) -> int:
        """Makes sure that a partial answer begins where the partial file ends."""
        offset, answer = self.kept, response.headers.get("Content-Range", "")
        if not answer.startswith(f"bytes {offset}-"):
            self.partial.unlink(missing_ok=True)
            sent = one_line(repr(answer))
            raise _Interrupted(f"the server sent {sent}, not from byte {offset} on")
        return offset

    def _check_room(self, offset: int, total: int | None) -> None:
        """Raises DownloadError unless the disk has room for what is to come."""
        disk = shutil.disk_usage(self.partial.parent)
        if total is None:
            missing, what = min(RESERVE, disk.total // 20), "an answer without a size"
        else:
            missing, what = total - offset, f"the {total - offset:,} bytes to come"
        if missing > disk.free:
            raise DownloadError(
                f"{self.partial.parent} has no room for {what}: {disk.free:,} bytes "
                "are free"
            )

    def _write(
        self, response: http.client.HTTPResponse, offset: int, total: int | None
    ) -> None:
        bar = tqdm(
            desc=self.progress,
            total=total,
            initial=offset,
            unit="B",
            unit_scale=True,
            disable=self.progress is None,
        )
        mode = "ab" if offset else "wb"
        with open(self.partial, mode, opener=_not_through_links) as stream, bar:
            for chunk in _chunks(response):
                stream.write(chunk)
                bar.update(len(chunk))
                if total is None:
                    self._check_room(offset, total)
                if stream.tell() > self.greatest:
                    return  # the digest decides where no length was sent


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """What a connection brings, as it comes; errors of the disk stay outside."""
    try:
        while chunk := response.read1(CHUNK):
            yield chunk
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(f"the connection broke off ({one_line(error)})") from error


def _not_through_links(path: str, flags: int) -> int:
    """Opens a regular file; neither follows a link nor waits at a pipe."""
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            reason = "it is a link, through which nothing is written; remove it"
            raise OSError(errno.ELOOP, reason, path) from error
        raise
