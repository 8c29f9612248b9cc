"""Descriptions: whatever flips in them, the same content or one clear line."""

import json

import pytest

from iin_jax.files.json_files import CHECKSUM, read_description, write_description

ENTRIES = {
    "format": 2,
    "layout": {"digit": 3, "größe": 1, "residual": 4},
    "sigma": [0.975, None],
    "started": True,
    "text": 'ä \\ " \n',
}


def flipped(content: bytes, place: int, bit: int) -> bytes:
    """A file's content with one bit turned, as a bad disk would."""
    damaged = bytearray(content)
    damaged[place] ^= 1 << bit
    return bytes(damaged)


def test_a_description_is_read_as_it_was_written(tmp_path):
    file = tmp_path / "it.json"
    write_description(file, ENTRIES)
    assert read_description(file) == ENTRIES
    assert CHECKSUM in json.loads(file.read_text())


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_is_one_clear_line_or_nothing(tmp_path, bit):
    file, loaded = tmp_path / "it.json", []
    write_description(file, ENTRIES)
    whole = file.read_bytes()
    for place in range(len(whole)):
        file.write_bytes(flipped(whole, place, bit))
        try:
            loaded.append(read_description(file))
        except ValueError as error:
            assert str(file) in str(error) and "\n" not in str(error)
    # a flip of the name "checksum" leaves an entry more, and all others as they were
    for entries in loaded:
        assert {name: entries.get(name) for name in ENTRIES} == ENTRIES
        assert len(entries) <= len(ENTRIES) + 1
    assert len(loaded) < len(whole) / 4


def test_a_checksum_is_of_the_content_and_not_of_its_form(tmp_path):
    file = tmp_path / "it.json"
    write_description(file, ENTRIES)
    described = json.loads(file.read_text())
    file.write_text(json.dumps(dict(reversed(described.items())), indent=None))
    assert read_description(file) == ENTRIES
    described["layout"]["digit"] = 4
    file.write_text(json.dumps(described))
    with pytest.raises(ValueError, match=r"it\.json .* checksum is wrong"):
        read_description(file)


@pytest.mark.parametrize("checksum", [None, 0, "", [], "0" * 64])
def test_a_checksum_of_any_other_value_is_wrong(tmp_path, checksum):
    file = tmp_path / "it.json"
    file.write_text(json.dumps({**ENTRIES, CHECKSUM: checksum}))
    with pytest.raises(ValueError, match="checksum is wrong"):
        read_description(file)


def test_a_description_of_version_0_1_has_no_checksum(tmp_path):
    file = tmp_path / "it.json"
    file.write_text(json.dumps(ENTRIES))
    assert read_description(file) == ENTRIES


@pytest.mark.parametrize("text", ["[1, 2]", "3", '"text"', "null", "true"])
def test_other_json_values_are_no_descriptions(tmp_path, text):
    file = tmp_path / "it.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"it\.json cannot be used: it is no JSON obj"):
        read_description(file)


def test_a_description_that_cannot_be_written_leaves_the_older(tmp_path, monkeypatch):
    file = tmp_path / "it.json"
    write_description(file, ENTRIES)
    with pytest.raises(TypeError):
        write_description(file, {"a": object()})
    monkeypatch.setattr("os.replace", lambda *names: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_description(file, {"a": 1})
    monkeypatch.undo()
    assert read_description(file) == ENTRIES
    assert [path.name for path in tmp_path.iterdir()] == ["it.json"]
