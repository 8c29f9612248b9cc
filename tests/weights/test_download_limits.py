"""Servers that never end, lead astray or find links, each given up in one line."""

import contextlib
import os
import shutil
import ssl
import subprocess
import threading
import time

import pytest

from iin_jax.weights import fetch as fetching
from iin_jax.weights.fetch import WeightsFile, locate
from tests.weights.loopback import (
    CONTENT,
    DIGEST,
    Server,
    answer,
    right,
    serving,
    use_empty_cache,
)

PATIENCE = {"timeout": 0.3, "attempts": 1, "pause": 0.01, "progress": False}


@pytest.fixture
def server():
    with serving() as running:
        yield running


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    return use_empty_cache(monkeypatch, tmp_path)


def refusal(file: WeightsFile, **changes) -> str:
    """The one line of a download that fails, in seconds."""
    start = time.monotonic()
    with pytest.raises(ValueError) as caught:
        locate(file, download=True, **{**PATIENCE, **changes})
    assert time.monotonic() - start < 8
    message = str(caught.value)
    assert message.isprintable() and len(message) < 1500
    return message


def repeated(line: bytes, pause: float, start=lambda request: None):
    """Sends the same bytes until the test ends."""

    def serve(request):
        start(request)
        with contextlib.suppress(OSError):
            while not request.server.closing.wait(pause):
                request.wfile.write(line)

    return serve


def raw(line: bytes):
    def serve(request):
        request.wfile.write(line)
        request.close_connection = True

    return serve


# --- limits of time


@pytest.mark.parametrize("length", [len(CONTENT), None])
def test_a_byte_now_and_then_does_not_go_on_for_ever(server, length):
    server.script = [repeated(b"x", 0.1, lambda r: r.start(200, length))]
    assert "too slow" in refusal(server.file(bytes=length), attempts=3)


@pytest.mark.parametrize("pause", [0.001, 0.1])
def test_continue_for_ever(server, pause):
    server.script = [repeated(b"HTTP/1.1 100 Continue\r\n\r\n", pause)]
    assert "too slow: 0 bytes" in refusal(server.file())


def test_a_header_that_never_ends(server):
    server.script = [repeated(b"X", 0.05)]
    assert "too slow: 0 bytes" in refusal(server.file())


def test_a_redirect_that_never_ends(server):
    def begin(request):
        request.start(302, None, Location="/elsewhere")

    server.script = [repeated(bytes(2**16), 0.001, begin), right]
    path = locate(server.file(), download=True, **PATIENCE)
    assert path.read_bytes() == CONTENT


# --- limits of size


def test_a_size_that_nobody_states_has_a_limit(server, cache, monkeypatch):
    monkeypatch.setattr(fetching, "MOST_UNSTATED", 2**20)
    server.script = [repeated(bytes(2**16), 0.0, lambda r: r.start(200, None))]
    assert "more than 1 MiB, and no stated size" in refusal(server.file(bytes=None))
    assert not (cache / ".net.pth.partial").exists() and len(server.ranges) == 1
    server.script = [answer(200, length=2**21)]
    assert "answers with 2,097,152 bytes" in refusal(server.file(bytes=None))


def test_a_disk_without_room_is_not_filled(server, cache, monkeypatch):
    usage = shutil.disk_usage("/")._replace(total=10**9, free=100_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    message = refusal(server.file())
    assert f"{cache} has no room for the 300,000 bytes" in message
    server.script = [answer(200, CONTENT, length=-1)]
    assert "no room for an answer without a size" in refusal(server.file(bytes=None))
    assert [p.name for p in cache.iterdir()] == [".net.pth.lock"]


# --- answers that lead astray


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("ftp://127.0.0.1/net.pth", "http or https, not from 'ftp:"),
        ("file:///etc/passwd", "http or https, not from 'file:"),
        ("data:,x", "http or https, not from 'data:"),
        ("http://[::1", "Invalid IPv6 URL"),
        ("https:///net.pth", "names no host"),
        ("http://a..b/", "is no address"),
        ("http://127.0.0.1:x/", "is no address"),
        ("/again", "redirects more than 10 times"),
    ],
)
def test_redirects_that_lead_nowhere(server, place, words):
    server.script = [answer(302, Location=place)]
    message = refusal(server.file())
    assert words in message and server.file().url in message


@pytest.mark.parametrize(
    "line", [b"garbage\r\n\r\n", b"HTTP/1.1 abc\r\n\x1b[2J\r\n", b"\xff\x00" * 5000]
)
def test_garbage_in_place_of_a_status(server, line):
    server.script = [raw(line)]
    assert "no answer (" in refusal(server.file())


def test_a_reason_of_several_lines(server):
    server.script = [raw(b"HTTP/1.1 404 not\x0b\x1b[31m here\r\n\r\n")]
    assert "answers 404 not ?[31m here" in refusal(server.file())


@pytest.mark.parametrize(
    "url", ["http://[::1", "https://", "http://host:99999/x", "http://:80/x"]
)
def test_addresses_that_are_none(url):
    with pytest.raises(ValueError, match="is no address") as caught:
        WeightsFile("net.pth", url, DIGEST)
    assert "\n" not in str(caught.value)


def test_addresses_that_cannot_be_asked(server):
    for url in ("http://a..b/net.pth", "http://127.0.0.1/ä b"):
        assert "is no address" in refusal(server.file(url=url))


@pytest.fixture
def encrypted(tmp_path, monkeypatch):
    """A server of https, whose certificate this process trusts."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048"),
            *("-keyout", key, "-out", certificate, "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"),
        ],
        check=True,
        capture_output=True,
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.delenv("https_proxy", raising=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Server() as running:
        running.socket = context.wrap_socket(running.socket, server_side=True)
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.closing.set()
        running.shutdown()
        thread.join()


def test_no_redirect_from_https_to_plain_text(server, encrypted):
    secure = f"https://127.0.0.1:{encrypted.server_port}/net.pth"
    encrypted.script = [answer(302, Location=server.file().url)]
    message = refusal(server.file(url=secure))
    assert "from https to plain text" in message and server.ranges == []
    encrypted.script = [right]  # and the other way round
    server.script = [answer(302, Location=secure)]
    assert locate(server.file(), download=True, **PATIENCE).read_bytes() == CONTENT


# --- links


def test_nothing_is_written_through_links(server, cache, tmp_path):
    precious = tmp_path / "precious"
    precious.write_bytes(CONTENT[:1000])
    cache.mkdir(parents=True)
    for name in (".net.pth.lock", ".net.pth.partial"):
        (cache / name).symlink_to(precious)
        assert "link" in refusal(server.file())
        assert precious.read_bytes() == CONTENT[:1000]
        (cache / name).unlink()
    (cache / "net.pth").symlink_to(tmp_path / "absent")
    path = locate(server.file(), download=True, **PATIENCE)
    assert path.read_bytes() == CONTENT and not (tmp_path / "absent").exists()


def test_a_pipe_in_place_of_the_partial_file_is_not_waited_for(server, cache):
    cache.mkdir(parents=True)
    os.mkfifo(cache / ".net.pth.partial")
    assert "cannot be written" in refusal(server.file())
