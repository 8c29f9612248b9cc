"""Weights by name, against a real HTTP server that behaves well and badly."""

import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from iin_jax.weights.fetch import (
    WeightsFile,
    cache_folder,
    check_file,
    locate,
    weights_folders,
)
from tests.conftest import ROOT
from tests.weights.loopback import (
    CONTENT,
    DIGEST,
    answer,
    part,
    right,
    serving,
    slow,
    stalled,
    use_empty_cache,
)

PATIENCE = {"timeout": 0.3, "attempts": 3, "pause": 0.01, "progress": False}


@pytest.fixture
def server():
    with serving() as running:
        yield running


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    return use_empty_cache(monkeypatch, tmp_path)


def fetch(file: WeightsFile, **changes) -> Path:
    return locate(file, download=True, **{**PATIENCE, **changes})


def refusal(call, *arguments, **keywords) -> str:
    with pytest.raises(ValueError) as caught:
        call(*arguments, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def left(cache: Path) -> list[str]:
    """Files in the cache apart from locks, which stay."""
    return sorted(p.name for p in cache.iterdir() if not p.name.endswith(".lock"))


def keep(cache: Path, content: bytes) -> Path:
    """What an earlier process has left behind."""
    cache.mkdir(parents=True, exist_ok=True)
    partial = cache / ".net.pth.partial"
    partial.write_bytes(content)
    return partial


# --- folders and files that are there


def test_folders_follow_the_environment_at_call_time(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "cache" / "weights"
    monkeypatch.setenv("IIN_JAX_WEIGHTS", os.pathsep.join(["/a", "", "~/b"]))
    monkeypatch.setenv("HOME", "/home/ada")
    expected = [Path("/a"), Path("/home/ada/b"), cache_folder()]
    assert weights_folders() == expected
    monkeypatch.delenv("IIN_JAX_CACHE")
    assert cache_folder() == Path("/home/ada/.cache/iin_jax/weights")
    monkeypatch.setenv("XDG_CACHE_HOME", "/scratch")
    assert cache_folder() == Path("/scratch/iin_jax/weights")
    monkeypatch.setenv("IIN_JAX_CACHE", "")
    monkeypatch.setenv("IIN_JAX_WEIGHTS", "")
    assert weights_folders() == [Path("/scratch/iin_jax/weights")]


def test_a_file_in_a_folder_is_used_without_the_network(
    server, monkeypatch, tmp_path, cache
):
    first, second = tmp_path / "first", tmp_path / "second"
    monkeypatch.setenv("IIN_JAX_WEIGHTS", f"{first}{os.pathsep}{second}")
    second.mkdir()
    (second / "net.pth").write_bytes(CONTENT)
    assert fetch(server.file()) == second / "net.pth"
    cache.mkdir(parents=True)
    (cache / "net.pth").write_bytes(b"never looked at")
    assert locate(server.file()) == second / "net.pth"
    first.mkdir()
    (first / "net.pth").write_bytes(CONTENT)
    assert locate(server.file()) == first / "net.pth"
    assert server.ranges == []


def test_a_missing_file_is_one_line_that_says_everything(server, monkeypatch, cache):
    message = refusal(locate, server.file())
    for part_of_it in (server.file().url, DIGEST, "300,000 bytes", f"at {cache}"):
        assert part_of_it in message
    assert "download=True" in message and server.ranges == []
    monkeypatch.setenv("IIN_JAX_WEIGHTS", "/mine:/theirs")
    message = refusal(locate, server.file(bytes=None, mebibytes=4.778))
    assert "4.778 MiB" in message and "at /mine/net.pth," in message
    assert not cache.exists()


def test_another_content_under_the_name_is_refused(server, cache):
    cache.mkdir(parents=True)
    wrong = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    (cache / "net.pth").write_bytes(wrong)
    message = refusal(locate, server.file())
    for part_of_it in (
        str(cache / "net.pth"),
        DIGEST,
        hashlib.sha256(wrong).hexdigest(),
        "delete it",
    ):
        assert part_of_it in message
    (cache / "net.pth").write_bytes(CONTENT[:-1])
    assert "299,999 bytes, expected: 300,000 bytes" in refusal(fetch, server.file())
    assert server.ranges == []


def test_short_digests_and_sizes_in_mebibytes(server, tmp_path):
    path = tmp_path / "net.pth"
    path.write_bytes(CONTENT)
    for sizes in ({"mebibytes": 0.286}, {}, {"bytes": 300_000}):  # 0.28610... MiB
        check_file(path, server.file(sha256=DIGEST[:8], **{"bytes": None, **sizes}))
    for size in (0.285, 0.287):
        file = server.file(bytes=None, mebibytes=size)
        assert f"300,000 bytes, expected: {size} MiB" in refusal(check_file, path, file)
    other = "0" if DIGEST[7] != "0" else "1"
    file = server.file(sha256=DIGEST[:7] + other)
    assert f"{DIGEST}, expected: {DIGEST[:7]}{other}" in refusal(check_file, path, file)
    assert "cannot be read" in refusal(check_file, tmp_path / "none", file)


def test_descriptions_that_make_no_sense_are_refused(server):
    for changes in (
        {"name": "../net.pth"},
        {"name": ""},
        {"name": ".net"},
        {"url": "ftp://example.org/net.pth"},
        {"url": "file:///etc/passwd"},
        {"sha256": DIGEST[:7]},
        {"sha256": "x" * 64},
        {"sha256": DIGEST + "0"},
    ):
        (changed,) = changes
        words = {"name": "file name", "url": "http or https", "sha256": "SHA-256"}
        assert words[changed] in refusal(server.file, **changes)


# --- downloads that go well


@pytest.mark.parametrize("sizes", [{}, {"bytes": None, "mebibytes": 0.286}])
def test_a_download_arrives_once(server, cache, sizes, capfd):
    path = fetch(server.file(**sizes), progress=True)
    assert path == cache / "net.pth" and path.read_bytes() == CONTENT
    assert left(cache) == ["net.pth"]
    assert "net.pth: 100%" in capfd.readouterr().err
    assert fetch(server.file(**sizes)) == locate(server.file(**sizes)) == path
    assert server.ranges == [None]


def test_a_stall_and_a_cut_go_on_where_they_stopped(server, cache):
    server.script = [stalled(100_000), part(100_001), part(250_000), right]
    start = time.monotonic()
    assert fetch(server.file(), attempts=1).read_bytes() == CONTENT
    assert time.monotonic() - start < 3
    starts = [None, "bytes=100000-", "bytes=100001-", "bytes=250000-"]
    assert server.ranges == starts and left(cache) == ["net.pth"]


def test_only_the_rest_of_an_earlier_download_is_asked_for(server, cache):
    keep(cache, CONTENT[:123_456])
    server.script = [part(200_000), right]
    assert fetch(server.file()).read_bytes() == CONTENT
    assert server.ranges == ["bytes=123456-", "bytes=200000-"]


def test_a_server_without_ranges_starts_again(server, cache):
    keep(cache, CONTENT[:200_000])
    server.script = [
        answer(200, CONTENT[:250_000], length=len(CONTENT)),
        answer(200, CONTENT),
    ]
    assert fetch(server.file()).read_bytes() == CONTENT
    assert server.ranges == ["bytes=200000-", "bytes=250000-"]


def test_a_server_without_ranges_that_always_breaks_is_given_up(server, cache):
    server.script = [answer(200, CONTENT[:1000], length=len(CONTENT))]
    message = refusal(fetch, server.file())
    assert "closed the connection early; 1,000 bytes are kept" in message
    assert len(server.ranges) == 1 + PATIENCE["attempts"]


def test_a_complete_partial_file_only_gets_its_name(server, cache):
    keep(cache, CONTENT)  # killed between the last byte and the renaming
    assert fetch(server.file()).read_bytes() == CONTENT
    assert server.ranges == ["bytes=300000-"]


@pytest.mark.parametrize("remains", [b"<html>" * 9, b"x" * 300_000, b"x" * 300_001])
def test_foreign_remains_cost_a_second_download_only(server, cache, remains):
    keep(cache, remains)
    assert fetch(server.file()).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(remains)}-", None]
    assert left(cache) == ["net.pth"]


def test_a_range_other_than_asked_for_is_not_appended(server, cache):
    keep(cache, CONTENT[:1000])
    wrong = answer(206, CONTENT[900:], Content_Range="bytes 900-299999/300000")
    server.script = [wrong, right]
    assert fetch(server.file()).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-", None]


def test_errors_of_a_moment_are_tried_again(server):
    server.script = [answer(500), answer(503), part(10_000), answer(429), right]
    assert fetch(server.file()).read_bytes() == CONTENT
    assert server.ranges == [None, None, None, "bytes=10000-", "bytes=10000-"]


def test_redirects_keep_the_range(server, cache):
    keep(cache, CONTENT[:1000])
    server.script = [answer(302, Location="/elsewhere"), right]
    assert fetch(server.file()).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-"] * 2


def test_answers_without_a_length(server):
    cut = answer(200, CONTENT[:70_000], length=-1)
    server.script = [cut, answer(200, CONTENT, length=-1)]
    assert fetch(server.file()).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=70000-"]


# --- downloads that go wrong


@pytest.mark.parametrize("length", [None, -1])
def test_a_wrong_content_of_the_right_length_leaves_nothing(server, cache, length):
    lie = bytes(len(CONTENT))
    server.script = [answer(200, lie, length=length)]
    message = refusal(fetch, server.file())
    assert hashlib.sha256(lie).hexdigest() in message and DIGEST in message
    assert left(cache) == [] and len(server.ranges) == 1


@pytest.mark.parametrize("length", [200_000, 400_000])
def test_a_wrong_length_is_noticed(server, cache, length):
    server.script = [answer(200, CONTENT, length=length)]
    message = refusal(fetch, server.file())
    assert f"answers with {length:,} bytes" in message and left(cache) == []
    unknown = server.file(bytes=None)
    if length < len(CONTENT):
        assert "its SHA-256 is" in refusal(fetch, unknown)
    else:
        server.script = [*server.script * 2, right]  # says that nothing is missing
        assert fetch(unknown).read_bytes() == CONTENT


def test_an_endless_answer_is_cut(server, cache):
    server.script = [answer(200, CONTENT * 30, length=-1)]
    message = refusal(fetch, server.file())
    received = re.search(r"it has ([\d,]+) bytes, expected: 300,000 bytes", message)
    assert received and 300_000 < int(received[1].replace(",", "")) < 400_000
    assert left(cache) == []


def test_an_error_page_with_status_200(server, cache):
    keep(cache, CONTENT[:1000])
    page = answer(200, b"<html>Please log in</html>", Content_Type="text/html")
    server.script = [page, right]
    message = refusal(fetch, server.file())
    assert "26 bytes" in message and f"at {cache}" in message
    assert fetch(server.file()).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-"] * 2  # what was right has been kept


def test_a_file_that_is_not_there_is_not_asked_for_twice(server, cache):
    server.script = [answer(404, b"<html>nothing</html>")]
    message = refusal(fetch, server.file())
    assert "404 Not Found" in message and server.file().url in message
    assert f"at {cache}" in message and server.ranges == [None]


def test_without_a_connection(server, cache):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/net.pth"
        message = refusal(fetch, server.file(url=url))
    assert "refused" in message and url in message and DIGEST in message
    assert f"at {cache}" in message


def test_a_server_that_never_answers(server):
    server.script = [lambda request: request.server.closing.wait(20)]
    start = time.monotonic()
    message = refusal(fetch, server.file(), timeout=0.1, attempts=2)
    assert "timed out" in message and time.monotonic() - start < 2
    assert server.ranges == [None, None]


def test_a_cache_that_cannot_be_written(server, monkeypatch, tmp_path, cache):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("IIN_JAX_CACHE", str(tmp_path / "file" / "below"))
    message = refusal(fetch, server.file())
    assert "cannot be written" in message and "set IIN_JAX_CACHE" in message
    monkeypatch.setenv("IIN_JAX_CACHE", str(tmp_path / "cache"))
    (cache / ".net.pth.partial").mkdir(parents=True)
    assert "cannot be written" in refusal(fetch, server.file())


# --- several processes


def test_two_at_once_download_once(server, capfd):
    server.script = [slow]
    paths: list[Path] = []
    threads = [
        threading.Thread(target=lambda: paths.append(fetch(server.file())))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.read_bytes() == CONTENT for path in paths] == [True] * 3
    assert server.ranges == [None]
    assert capfd.readouterr().err.count("another process fetches net.pth") == 2


@pytest.mark.thorough
def test_a_killed_process_is_continued(server, cache):
    server.script = [slow, right]
    code = (
        "from iin_jax.weights.fetch import WeightsFile, locate\n"
        f"locate({server.file()!r}, download=True)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    partial = cache / ".net.pth.partial"
    deadline = time.monotonic() + 60
    while not partial.is_file() or partial.stat().st_size < 20_000:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = partial.stat().st_size
    assert 20_000 <= kept < len(CONTENT) and left(cache) == [".net.pth.partial"]
    assert fetch(server.file()).read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={kept}-"]
