"""Paths as people write them, files that are none, claims of sizes, any JSON."""

import os
import socket

import pytest

from iin_jax.files.hints import short
from iin_jax.files.json_files import read_json
from iin_jax.files.limits import SMALL, check_claim
from iin_jax.files.paths import check_regular, local_path, stand_in
from iin_jax.files.whole import write_text


def test_the_home_folder_and_plain_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert local_path("~/a/b") == tmp_path / "a" / "b"
    assert local_path(tmp_path / "c") == tmp_path / "c"
    assert str(local_path("a:b/~c")) == "a:b/~c"
    write_text("~/text", "é")
    assert (tmp_path / "text").read_text(encoding="utf-8") == "é"
    with pytest.raises(
        ValueError, match=r"no user .* ~nobody_here; write \./~nobody_h"
    ):
        local_path("~nobody_here/run")


@pytest.mark.parametrize(
    "path", ["gs://b/run", "s3://b", "https://x.org/w.pth", "hf:/x"]
)
def test_addresses_are_one_clear_line(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for call in (local_path, lambda path: write_text(path, "")):
        with pytest.raises(ValueError, match=r"^[^\n]*is an address[^\n]*$"):
            call(path)
    assert not os.listdir(tmp_path)


def test_pipes_sockets_devices_and_folders_are_no_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    server = socket.socket(socket.AF_UNIX)
    server.bind("socket")
    named = {"pipe": "named pipe", "socket": "socket", ".": "folder"}
    for path, what in {**named, "/dev/zero": "device"}.items():
        with pytest.raises(ValueError, match=f"{path} is a {what}; give a regular"):
            check_regular(tmp_path / path)
        with pytest.raises(ValueError, match=f"is a {what}"):
            read_json(tmp_path / path)
    server.close()
    check_regular(tmp_path / "missing")  # whoever reads it says so


def test_what_stands_in_for_a_file_is_told():
    assert "git lfs pull" in stand_in(b"version https://git-lfs.github.com/spec/v1\n")
    for page in (
        b"<!DOCTYPE html>",
        b"\xef\xbb\xbf\n <HTML>",
        b"<?xml version='1.0'?>",
    ):
        assert "web page" in stand_in(page)
    assert stand_in(b"version 3") is None and stand_in(b"") is None


def test_claims_are_compared_with_the_file_and_with_memory(tmp_path, monkeypatch):
    path = tmp_path / "w.npz"
    path.write_bytes(b"x" * 1000)
    check_claim(path, SMALL)
    with pytest.raises(ValueError, match=r"w.npz is damaged or made to .* 1,000 bytes"):
        check_claim(path, SMALL + 1)
    monkeypatch.setattr("iin_jax.files.limits.memory", lambda: 2**20)
    with pytest.raises(ValueError, match=r"more than the memory of this machine"):
        check_claim(path, 2**21)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b'{"a": ', "cannot be used: Expecting value"),
        (b'{"a": "\xff"}', "can't decode byte 0xff"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    ],
)
def test_damaged_json_is_one_line_with_the_file(tmp_path, content, message):
    path = tmp_path / "value.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^[^\n]*value\.json[^\n]*{message}[^\n]*$"):
        read_json(path)


def test_long_texts_lose_their_middle():
    assert short("a" * 600) == "a" * 600
    assert len(short("a" * 5000 + "end", 100)) <= 100
    assert short("b" * 5000 + "end", 100).endswith("bend")
