"""Latents computed once, whole or not at all."""

import json

import jax
import numpy as np
import pytest

from iin_jax.latents import (
    StaleLatentsError,
    encode_all,
    encode_to,
    load_latents,
    save_latents,
)
from iin_jax.networks import AutoencoderNetwork, from_torch
from tests.conftest import normal
from tests.files.test_descriptions import flipped


def test_cached_latents_are_the_networks(autoencoder, tmp_path):
    images = np.tanh(np.random.default_rng(0).standard_normal((21, 8, 8, 3)))
    images = images.astype(np.float32)
    cache = encode_all(autoencoder, lambda part: images[part], 21, batch_size=8)
    mean, log_var = autoencoder.posterior(images)
    np.testing.assert_allclose(cache.mean, mean, atol=1e-5)
    np.testing.assert_allclose(cache.log_var, log_var, atol=1e-5)
    save_latents(tmp_path, cache, autoencoder)
    loaded = load_latents(tmp_path, autoencoder)
    assert isinstance(loaded.mean, np.memmap)
    np.testing.assert_array_equal(loaded.mean, cache.mean)


def test_a_cache_on_disk_is_the_one_in_memory(autoencoder, tmp_path):
    images = np.tanh(np.random.default_rng(0).standard_normal((21, 8, 8, 3)))
    images = images.astype(np.float32)
    expected = encode_all(autoencoder, lambda part: images[part], 21, batch_size=8)
    largest = []

    def read(part):
        largest.append(len(images[part]))
        return images[part]

    folder = tmp_path / "deep" / "latents"
    cache = encode_to(folder, autoencoder, read, 21, data="digits", batch_size=8)
    assert largest == [8, 8, 5]
    np.testing.assert_array_equal(cache.mean, expected.mean)
    np.testing.assert_array_equal(cache.log_var, expected.log_var)
    assert isinstance(cache.mean, np.memmap) and cache.mean.dtype == np.float32
    origin = json.loads((folder / "origin.json").read_text())
    assert origin["data"] == "digits" and origin["entries"] == 21
    rate = origin["entries"] / origin["seconds"]
    assert origin["images_per_second"] == pytest.approx(rate)
    assert [path.name for path in folder.parent.iterdir()] == ["latents"]


def test_an_encoding_that_fails_leaves_the_older_cache(autoencoder, tmp_path):
    images = np.zeros((9, 8, 8, 3), np.float32)
    folder = tmp_path / "latents"
    encode_to(folder, autoencoder, lambda part: images[part], 9, data="old")
    (tmp_path / ".latents.unfinished").mkdir()  # as a kill would leave it

    def read(part):
        if part.start:
            raise OSError("the disk is gone")
        return images[part]

    with pytest.raises(OSError, match="gone"):
        encode_to(folder, autoencoder, read, 9, data="new", batch_size=4)
    assert [path.name for path in tmp_path.iterdir()] == ["latents"]
    assert len(load_latents(folder, autoencoder, "old").mean) == 9
    broken = AutoencoderNetwork(
        autoencoder.module,
        jax.tree.map(lambda x: x * np.float32("nan"), autoencoder.variables),
    )
    with pytest.raises(ValueError, match="9 of 9 latents are not finite"):
        encode_to(folder, broken, lambda part: images[part], 9, batch_size=4)
    assert [path.name for path in tmp_path.iterdir()] == ["latents"]


def test_the_bar_of_an_encoding_that_fails_ends_before_its_error(
    autoencoder, tmp_path, capsys
):
    def read(part):
        (tmp_path / ".latents.unfinished" / "mean.npy").mkdir()  # no file there
        return np.zeros((4, 8, 8, 3), np.float32)

    with pytest.raises(OSError) as error:
        encode_to(
            tmp_path / "latents", autoencoder, read, 9, batch_size=4, progress="x"
        )
    assert capsys.readouterr().err.endswith("\n")
    assert "latents cannot be written" in str(error.value)  # kept, and so its frames


def test_a_cache_of_other_data_is_refused(autoencoder, tmp_path):
    images = np.zeros((4, 8, 8, 3), np.float32)
    cache = encode_all(autoencoder, lambda part: images[part], 4)
    save_latents(tmp_path / "latents", cache, autoencoder, "mnist")
    load_latents(tmp_path / "latents", autoencoder, "mnist")
    for data in ("", "fashion_mnist"):
        with pytest.raises(StaleLatentsError, match="made of other data"):
            load_latents(tmp_path / "latents", autoencoder, data)
    with pytest.raises(StaleLatentsError, match="no complete latent cache"):
        load_latents(tmp_path / "nowhere", autoencoder)


@pytest.mark.parametrize("bytes_left", [0, 5, 100, -1])
@pytest.mark.parametrize("name", ["mean.npy", "log_var.npy", "origin.json"])
def test_a_truncated_cache_is_refused(autoencoder, tmp_path, name, bytes_left):
    images = np.zeros((4, 8, 8, 3), np.float32)
    encode_to(tmp_path / "latents", autoencoder, lambda part: images[part], 4)
    path = tmp_path / "latents" / name
    path.write_bytes(path.read_bytes()[:bytes_left])
    with pytest.raises(StaleLatentsError, match="no complete latent cache"):
        load_latents(tmp_path / "latents", autoencoder)


@pytest.mark.parametrize("place", [0.2, 0.5, 0.999])
@pytest.mark.parametrize("name", ["mean.npy", "log_var.npy", "origin.json"])
def test_a_flipped_bit_makes_a_cache_stale(autoencoder, tmp_path, name, place):
    """In the header of an array, in its values, in what describes them."""
    images = np.tanh(normal((4, 8, 8, 3)))
    encode_to(tmp_path / "latents", autoencoder, lambda part: images[part], 4)
    path = tmp_path / "latents" / name
    whole = path.read_bytes()
    path.write_bytes(flipped(whole, int(place * len(whole)), 1))
    with pytest.raises(StaleLatentsError, match=r"latents( |: )") as error:
        load_latents(tmp_path / "latents", autoencoder)
    assert "\n" not in str(error.value)
    path.write_bytes(whole)
    load_latents(tmp_path / "latents", autoencoder)


@pytest.mark.parametrize("name", ["mean.npy", "log_var.npy"])
def test_other_values_of_the_same_form_are_noticed(autoencoder, tmp_path, name):
    cache = encode_all(autoencoder, lambda part: np.zeros((4, 8, 8, 3))[part], 4)
    save_latents(tmp_path, cache, autoencoder)
    values = np.load(tmp_path / name)
    np.save(tmp_path / name, values + np.float32(1e-3))
    with pytest.raises(StaleLatentsError, match="a digest is wrong"):
        load_latents(tmp_path, autoencoder)
    np.save(tmp_path / name, values)
    load_latents(tmp_path, autoencoder)


def test_a_cache_without_digests_is_stale(autoencoder, tmp_path):
    """As version 0.1 wrote it: it is encoded again, which costs little."""
    cache = encode_all(autoencoder, lambda part: np.zeros((4, 8, 8, 3))[part], 4)
    save_latents(tmp_path, cache, autoencoder)
    origin = json.loads((tmp_path / "origin.json").read_text())
    del origin["digests"], origin["checksum"]
    (tmp_path / "origin.json").write_text(json.dumps(origin))
    with pytest.raises(StaleLatentsError, match="a digest is wrong"):
        load_latents(tmp_path, autoencoder)


def test_a_cache_of_another_network_or_cut_short_is_refused(autoencoder, tmp_path):
    images = np.zeros((4, 8, 8, 3), np.float32)
    cache = encode_all(autoencoder, lambda part: images[part], 4)
    save_latents(tmp_path, cache, autoencoder)
    doubled = jax.tree.map(lambda x: 2 * x, autoencoder.variables)
    other = AutoencoderNetwork(autoencoder.module, doubled)
    with pytest.raises(ValueError, match="another network"):
        load_latents(tmp_path, other)
    np.save(tmp_path / "mean.npy", cache.mean[:2])
    with pytest.raises(ValueError, match="cut short"):
        load_latents(tmp_path, autoencoder)
    (tmp_path / "mean.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(ValueError, match="no complete latent cache"):
        load_latents(tmp_path, autoencoder)


def test_latents_that_are_not_finite_are_named(autoencoder):
    broken = jax.tree.map(lambda x: x * np.float32("nan"), autoencoder.variables)
    network = AutoencoderNetwork(autoencoder.module, broken)
    images = np.zeros((4, 8, 8, 3), np.float32)
    with pytest.raises(ValueError, match="4 of 4 latents are not finite"):
        encode_all(network, lambda part: images[part], 4)
    with pytest.raises(ValueError, match="no images to encode"):
        encode_all(network, lambda part: images[part], 0)


def test_a_cache_of_another_layer_is_refused(tmp_path):
    pytest.importorskip("torch")
    from torch import nn

    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.Tanh(), nn.Linear(4, 3))
    first, second = (
        from_torch(module, layer, image_shape=(2, 2, 3)) for layer in ("1", "2")
    )
    images = np.tanh(np.random.default_rng(0).normal(size=(3, 2, 2, 3)))
    images = images.astype(np.float32)
    save_latents(tmp_path, encode_all(first, lambda part: images[part], 3), first)
    load_latents(tmp_path, first)
    with pytest.raises(ValueError, match="another network or layer"):
        load_latents(tmp_path, second)
