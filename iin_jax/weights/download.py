"""One file over HTTP, resumable: a stalled, cut or killed transfer goes on later.

Only urllib is used; libraries such as pooch begin again from zero.
"""

import dataclasses
import http.client
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

CHUNK = 2**16
PASSING = (408, 425, 429)  # HTTP errors below 500 that may be gone a moment later


class DownloadError(Exception):
    """A download failed for good; says why, in one line."""


class _Interrupted(Exception):
    """A connection that another may continue; says what stopped it."""


@dataclasses.dataclass(frozen=True)
class Download:
    """What to fetch, into which partial file, and with how much patience.

    Attributes:
      url: http or https.
      partial: the file that grows; what it holds already is not asked for again.
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
        return self.partial.stat().st_size if self.partial.is_file() else 0

    def run(self) -> None:
        """Connects until the server has nothing more; the content is not judged here.

        Raises:
          DownloadError: no connection brings anything new, or the server has no such
            file, or one of another size. What came before is kept.
          OSError: the partial file cannot be written.
        """
        most, failures = self.kept, 0
        while True:
            try:
                self._receive()
                return
            except _Interrupted as error:
                failures = 0 if self.kept > most else failures + 1
                most = max(most, self.kept)
                if failures >= self.attempts:
                    note = f"; {self.kept:,} bytes are kept" if self.kept else ""
                    raise DownloadError(f"{error}{note}") from error
                time.sleep(self.pause * 2 ** max(0, failures - 1))

    def _receive(self) -> None:
        """One connection: adds to the partial file what it brings."""
        response = self._open()
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
            self._write(response, offset, total)
        if self.kept < (self.least if total is None else total):
            raise _Interrupted("the server closed the connection early")

    def _open(self) -> http.client.HTTPResponse | None:
        """The server's answer; None when it says that nothing is missing."""
        headers = {"User-Agent": "iin_jax"}
        if self.kept:
            headers["Range"] = f"bytes={self.kept}-"
        request = urllib.request.Request(self.url, headers=headers)
        try:
            return urllib.request.urlopen(request, timeout=self.timeout)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416 and self.kept:
                return None  # the digest decides whether what is here is right
            answer = f"the server answers {error.code} {error.reason}"
            if error.code >= 500 or error.code in PASSING:
                raise _Interrupted(answer) from error
            raise DownloadError(answer) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise DownloadError(f"the server is not trusted: {reason}") from error
            raise _Interrupted(f"no answer ({reason})") from error

    def _range_start(self, response: http.client.HTTPResponse) -> int:
        """Makes sure that a partial answer begins where the partial file ends."""
        offset, answer = self.kept, response.headers.get("Content-Range", "")
        if not answer.startswith(f"bytes {offset}-"):
            self.partial.unlink(missing_ok=True)
            raise _Interrupted(f"the server sent {answer!r}, not from byte {offset} on")
        return offset

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
        with self.partial.open("ab" if offset else "wb") as stream, bar:
            for chunk in _chunks(response):
                stream.write(chunk)
                bar.update(len(chunk))
                if stream.tell() > self.greatest:
                    return  # the digest decides where no length was sent


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """What a connection brings, as it comes; errors of the disk stay outside."""
    try:
        while chunk := response.read1(CHUNK):
            yield chunk
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(f"the connection broke off ({error})") from error
