"""Files of a size that nobody needs are refused at once, in a line with the limit."""

import json
import struct
import time
import zipfile

import pytest

from iin_jax.files.json_files import read_description
from iin_jax.networks import load, load_network, save_network
from iin_jax.weights import read_arrays
from iin_jax.weights.readers import MOST_ARRAYS

SECONDS = 5.0  # on a busy machine; what is refused here took minutes


def refusal(call, *arguments) -> str:
    start = time.monotonic()
    with pytest.raises(ValueError) as caught:
        call(*arguments)
    assert time.monotonic() - start < SECONDS
    message = str(caught.value)
    assert "\n" not in message and len(message) < 1500
    return message


def write_safetensors(path, count: int) -> None:
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    entries = {
        f"layer{i}.weight": {**entry, "data_offsets": [4 * i, 4 * i + 4]}
        for i in range(count)
    }
    header = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4 * count))


def test_safetensors_of_too_many_arrays(tmp_path):
    path = tmp_path / "w.safetensors"
    write_safetensors(path, 100_000)
    for call in (read_arrays, lambda file: load("squeezenet1_1", file)):
        message = refusal(call, path)
        assert (
            message.startswith(f"{path} holds 100,000 arrays") and "10,000" in message
        )
    write_safetensors(path, MOST_ARRAYS)
    assert len(read_arrays(path)) == MOST_ARRAYS


def test_archives_of_too_many_arrays(tmp_path):
    path = tmp_path / "w.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(MOST_ARRAYS + 1):
            archive.writestr(f"{number}.npy", b"")
    assert "holds 10,001 arrays" in refusal(read_arrays, path)


@pytest.mark.parametrize("levels", [10**9, 1000, 1e300, [2, 10**9]])
def test_a_network_of_more_levels_than_arrays(autoencoder, tmp_path, levels):
    save_network(tmp_path, autoencoder)
    file = tmp_path / "network.json"
    description = read_description(file)  # and so without its checksum
    description["settings"]["num_down"] = levels
    file.write_text(json.dumps(description))
    message = refusal(load_network, tmp_path)
    assert message.startswith(f"{file} cannot be used: num_down is 1")


def test_a_network_of_its_own_levels_loads(autoencoder, tmp_path):
    save_network(tmp_path, autoencoder)
    assert load_network(tmp_path).settings() == autoencoder.settings()
