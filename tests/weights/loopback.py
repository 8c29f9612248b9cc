"""A real HTTP server on this machine that behaves well and badly."""

import contextlib
import hashlib
import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from iin_jax.weights.fetch import WeightsFile

CONTENT = np.random.default_rng(0).bytes(300_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves by a script: one function per request, the last for all later ones.

    Attributes:
      script: what it does, request by request.
      ranges: the Range header of every request so far, None without one.
      closing: set at the end, so that a stalled answer ends too.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script = [right]
        self.ranges: list[str | None] = []
        self.closing = threading.Event()

    def file(self, **changes) -> WeightsFile:
        url = f"http://127.0.0.1:{self.server_port}/some/net.pth"
        values = {"name": "net.pth", "url": url, "sha256": DIGEST}
        return WeightsFile(**{**values, "bytes": len(CONTENT), **changes})


class Handler(http.server.BaseHTTPRequestHandler):
    """One request: the next function of the script."""

    def do_GET(self):
        number = len(self.server.ranges)
        self.server.ranges.append(self.headers["Range"])
        script = self.server.script
        script[min(number, len(script) - 1)](self)

    def log_message(self, *_):
        """Keeps the tests' output clean."""

    def start(self, status: int, length: int | None, **headers: str) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()


def right(request):
    part(len(CONTENT))(request)


def part(stop: int, then=lambda request: None):
    """Serves ranges, but closes (or does something else) before byte ``stop``."""

    def serve(request):
        size, begin = len(CONTENT), 0
        if request.headers["Range"]:
            begin = int(re.fullmatch(r"bytes=(\d+)-", request.headers["Range"])[1])
        if begin >= size:
            request.start(416, 0, Content_Range=f"bytes */{size}")
        elif begin:
            request.start(
                206, size - begin, Content_Range=f"bytes {begin}-{size - 1}/{size}"
            )
        else:
            request.start(200, size)
        request.wfile.write(CONTENT[begin:stop])
        request.wfile.flush()
        then(request)

    return serve


def stalled(stop: int):
    return part(stop, then=lambda request: request.server.closing.wait(20))


def slow(request):
    """Sends 5,000 bytes at a time: seconds for the whole."""
    request.start(200, len(CONTENT))
    with contextlib.suppress(OSError):
        for begin in range(0, len(CONTENT), 5000):
            request.wfile.write(CONTENT[begin : begin + 5000])
            request.server.closing.wait(0.02)


def answer(status: int, body: bytes = b"", length: int | None = None, **headers: str):
    """Ignores ranges; ``length`` is what it claims to send, -1: claims nothing."""

    def serve(request):
        claimed = len(body) if length is None else length
        request.start(status, None if claimed == -1 else claimed, **headers)
        with contextlib.suppress(OSError):
            request.wfile.write(body)

    return serve


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A server that answers until the end of the ``with``."""
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield running
        finally:
            running.closing.set()
            running.shutdown()
            thread.join()


def use_empty_cache(monkeypatch, tmp_path) -> Path:
    """Weights have an empty cache, no other folders, no proxy; returns the folder."""
    for name in ("IIN_JAX_WEIGHTS", "XDG_CACHE_HOME", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("IIN_JAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"
