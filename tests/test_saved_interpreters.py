"""Saving over an older interpreter: whole or not at all, and nothing is left behind."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

import iin_jax
from iin_jax.interpreter import FORMAT
from iin_jax.networks import load_network, save_network
from tests.files.kills import states_of
from tests.files.test_descriptions import flipped


def on_the_host(tree):
    return jax.tree.map(np.asarray, tree)


def moved(tree, by):
    return jax.tree.map(lambda x: x + by if x.dtype.kind == "f" else x, tree)


@pytest.fixture(scope="module")
def plain(interpreter):
    """Without a network."""
    variables = on_the_host(interpreter.variables)
    return dataclasses.replace(interpreter, network=None, variables=variables)


@pytest.fixture(scope="module")
def network(autoencoder):
    variables = on_the_host(autoencoder.variables)
    return dataclasses.replace(autoencoder, variables=variables)


@pytest.fixture(scope="module")
def versions(plain, network):
    """(number, with a network) -> interpreters that differ in all arrays."""
    result = {}
    for number in range(3):
        variables = moved(plain.variables, number)
        it = dataclasses.replace(plain, variables=variables, sigma=0.5 + number / 10)
        other = dataclasses.replace(network, variables=moved(network.variables, number))
        result[number, False], result[number, True] = it, it.with_network(other)
    return result


def same_arrays(one, other) -> bool:
    leaves, structure = jax.tree.flatten(one)
    others, other_structure = jax.tree.flatten(other)
    return structure == other_structure and all(
        np.array_equal(a, b) for a, b in zip(leaves, others, strict=True)
    )


def same(one, other) -> bool:
    """Whether two interpreters agree in everything."""
    if (one.network is None) != (other.network is None) or one.sigma != other.sigma:
        return False
    if one.network and not same_arrays(one.network.variables, other.network.variables):
        return False
    return same_arrays(one.variables, other.variables)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


WHOLE = {
    "": ["flow.safetensors", "interpreter.json", "network.json", "network.safetensors"],
    "-2": [
        *("flow-2.safetensors", "interpreter.json"),
        *("network-2.json", "network-2.safetensors"),
    ],
}


def test_endings_come_in_turn_and_old_files_go(versions, tmp_path):
    for number, ending in enumerate(("", "-2", "")):
        versions[number, True].save(tmp_path)
        assert names(tmp_path) == WHOLE[ending]
        assert same(iin_jax.load(tmp_path), versions[number, True])
    versions[1, False].save(tmp_path)
    assert names(tmp_path) == ["flow-2.safetensors", "interpreter.json"]
    assert iin_jax.load(tmp_path).network is None


@pytest.mark.parametrize("second", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_killed_at_any_moment_the_old_or_the_new_one_loads(
    first, second, versions, tmp_path
):
    """The next save then succeeds, whatever the kill has left."""
    old, new, next_one = versions[0, first], versions[1, second], versions[2, True]
    folder = tmp_path / "it"
    old.save(folder)
    with states_of(folder) as states:
        new.save(folder)
    loaded = [iin_jax.load(state) for state in states]
    are_new = [same(it, new) for it in loaded]
    pairs = zip(loaded, are_new, strict=True)
    assert all(is_new or same(it, old) for it, is_new in pairs)
    assert len(states) > 8 and are_new == sorted(are_new)
    assert same(loaded[0], old) and are_new[-1]
    for state, is_new in zip(states, are_new, strict=True):
        next_one.save(state)
        assert same(iin_jax.load(state), next_one)
        left = [name for name in names(state) if not name.startswith(".")]
        assert left == WHOLE["" if is_new else "-2"]


def test_killed_in_the_first_save_of_all_the_next_one_is_whole(versions, tmp_path):
    folder = tmp_path / "it"
    folder.mkdir()
    with states_of(folder) as states:
        versions[0, True].save(folder)
    for state in states:
        versions[1, True].save(state)
        assert same(iin_jax.load(state), versions[1, True])
        left = [name for name in names(state) if not name.startswith(".")]
        assert left in WHOLE.values()


def test_a_network_beside_it_is_no_hindrance(versions, tmp_path):
    """A network that was saved in the same folder, and over itself."""
    for number in (1, 2):
        save_network(tmp_path, versions[number, True].network)
    versions[0, True].save(tmp_path)
    assert same(iin_jax.load(tmp_path), versions[0, True])
    assert names(tmp_path) == WHOLE[""]


def test_a_network_is_saved_over_an_older_one_whole_or_not_at_all(versions, tmp_path):
    folder = tmp_path / "network"
    old, new, next_one = (versions[number, True].network for number in range(3))
    save_network(folder, old)
    with states_of(folder) as states:
        save_network(folder, new)
    loaded = [load_network(state).variables for state in states]
    are_new = [same_arrays(it, new.variables) for it in loaded]
    pairs = zip(loaded, are_new, strict=True)
    assert all(is_new or same_arrays(it, old.variables) for it, is_new in pairs)
    assert not are_new[0] and are_new[-1] and len(states) > 4
    assert names(folder) == ["network-2.safetensors", "network.json"]
    for state in states:
        save_network(state, next_one)
        assert same_arrays(load_network(state).variables, next_one.variables)
        assert len(list(state.glob("*.safetensors"))) == 1


def test_a_failed_save_leaves_the_older_one(versions, tmp_path, monkeypatch):
    versions[0, True].save(tmp_path)
    before = names(tmp_path)

    def fail(*arguments, **options):
        raise OSError("the disk is gone")

    monkeypatch.setattr("iin_jax.networks.registry.save_tree", fail)
    with pytest.raises(OSError, match="gone"):
        versions[1, True].save(tmp_path)
    assert same(iin_jax.load(tmp_path), versions[0, True])
    monkeypatch.undo()
    assert set(before) < set(names(tmp_path))
    versions[2, False].save(tmp_path)
    assert names(tmp_path) == ["flow-2.safetensors", "interpreter.json"]


def test_files_of_version_0_1_load(versions, tmp_path):
    """Format 1: no start, no kind of flow, no ending, no checksums."""
    it = versions[1, True]
    it.save(tmp_path)
    file = tmp_path / "interpreter.json"
    description = json.loads(file.read_text())
    for name in ("start", "kind", "ending", "checksum"):
        del description[name]
    file.write_text(json.dumps({**description, "format": 1}))
    beside = tmp_path / "network.json"
    network = json.loads(beside.read_text())
    for name in ("ending", "checksum"):
        del network[name]
    beside.write_text(json.dumps(network))
    assert same(iin_jax.load(tmp_path), it)
    versions[2, True].save(tmp_path)  # over it, as over any other
    assert names(tmp_path) == WHOLE["-2"]
    assert same(iin_jax.load(tmp_path), versions[2, True])


@pytest.mark.parametrize("number", [0, FORMAT + 1, "2", None])
def test_another_format_is_named_before_its_checksum(versions, tmp_path, number):
    versions[0, False].save(tmp_path)
    file = tmp_path / "interpreter.json"
    description = {**json.loads(file.read_text()), "format": number}
    file.write_text(json.dumps({**description, "checksum": "of another kind"}))
    with pytest.raises(ValueError, match=f"has format {number}; .* reads {FORMAT}$"):
        iin_jax.load(tmp_path)


@pytest.mark.parametrize("name", ["interpreter.json", "network.json"])
def test_a_flipped_bit_never_loads_as_something_else(versions, tmp_path, name):
    it = versions[0, True]
    it.save(tmp_path)
    whole, refused = (tmp_path / name).read_bytes(), 0
    places = range(0, len(whole), 3)
    for place in places:
        (tmp_path / name).write_bytes(flipped(whole, place, place % 7))
        try:
            loaded = iin_jax.load(tmp_path)
        except ValueError as error:
            refused += 1
            assert name in str(error) and "\n" not in str(error)
        else:
            assert repr(loaded) == repr(it) and same(loaded, it)
    assert refused > 0.9 * len(places)


def test_a_finished_run_is_one_folder_above(versions, tmp_path):
    versions[1, False].save(tmp_path / "run" / "interpreter")
    assert same(iin_jax.load(tmp_path / "run"), versions[1, False])
    shutil.rmtree(tmp_path / "run" / "interpreter")
    with pytest.raises(ValueError, match="no interpreter in"):
        iin_jax.load(tmp_path / "run")
