"""Published sets: real ones where they exist, prepared and mocked ones elsewhere."""

import functools
import json
import os
import shutil
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from iin_jax.data import SOURCES, SourceOptions, split_dataset
from iin_jax.data.prepare import main as prepare
from tests.data.prepared_sets import write_set

ROUNDING = 1.01  # grey levels, since Pillow rounds after each of two passes
COUNTS = {"train": 5, "validation": 2, "test": 3}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Gives every test an empty cache, and hides the machine's own data."""
    monkeypatch.setenv("IIN_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "cache" / "data"


class BatchedMock(tfds.testing.PickableDataSourceMock):
    """The mock of TFDS, whose ``__getitems__`` is bound to the instance it expects."""

    def __setattr__(self, name, value):
        if name == "__getitems__":
            value = functools.partial(value, self)
        super().__setattr__(name, value)


@pytest.fixture
def mocked():
    with tfds.testing.mock_data(
        num_examples=6, mock_array_record_data_source=BatchedMock()
    ):
        yield


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Root, pixels and attributes of a prepared celeb_a with random PNG images."""
    root = tmp_path_factory.mktemp("faces")
    features = tfds.builder("celeb_a", data_dir=root).info.features
    names, rng = list(features["attributes"].keys()), np.random.default_rng(0)
    pixels, attributes, examples = [], [], {}
    for part, count in COUNTS.items():
        examples[part] = []
        for index in range(count):
            pixels.append(rng.integers(0, 256, (218, 178, 3), dtype=np.uint8))
            attributes.append(dict(zip(names, rng.random(40) < 0.5, strict=True)))
            path = root / f"{part}{index}.png"
            Image.fromarray(pixels[-1]).save(path)
            examples[part].append(
                {
                    "image": str(path),
                    "attributes": {k: bool(v) for k, v in attributes[-1].items()},
                    "identity": {"Identity_No": index},
                    "landmarks": dict.fromkeys(features["landmarks"].keys(), 1),
                }
            )
    write_set(root, "celeb_a", examples)
    return root, np.stack(pixels), attributes


def resized(pixels: np.ndarray, size: int) -> np.ndarray:
    """Bilinear resize with antialiasing by JAX, (n, H, W, C) -> (n, size, size, C)."""
    shape = (len(pixels), size, size, pixels.shape[-1])
    return np.asarray(jax.image.resize(pixels.astype(np.float32), shape, "linear"))


def test_faces_are_cropped_resized_and_labelled(faces, cache):
    root, pixels, attributes = faces
    dataset = SOURCES["celeb_a"](SourceOptions(image_size=64, root=str(root)))
    assert dataset.images.shape == (10, 64, 64, 3) and dataset.images.dtype == np.uint8
    expected = resized(pixels[:, 29:189, 9:169], 64)
    assert np.abs(dataset.images - expected).max() < ROUNDING
    assert len(dataset.labels) == 40
    for name, values in dataset.labels.items():
        assert values.dtype == np.int32 and dataset.classes[name] == ("no", "yes")
        np.testing.assert_array_equal(values, [bool(x[name]) for x in attributes])
    parts = {part: indices.tolist() for part, indices in dataset.parts.items()}
    assert parts == {
        "train": [0, 1, 2, 3, 4],
        "validation": [5, 6],
        "test": [7, 8, 9],
    }
    splits = split_dataset(dataset, {"validation": 0.5, "test": 0.5}, seed=0)
    assert {name: x.tolist() for name, x in splits.items()} == parts
    assert "Liu" in dataset.citation and "\n" not in dataset.citation


def test_a_large_set_stays_on_disk_and_reads_the_same(faces, cache):
    root, _, _ = faces
    options = SourceOptions(image_size=64, root=str(root))
    memory = SOURCES["celeb_a"](options)
    stored = SOURCES["celeb_a"](
        SourceOptions(image_size=64, root=str(root), max_memory=10 * 64 * 64 * 3 - 1)
    )
    assert not isinstance(stored.images, np.ndarray)
    assert stored.images.shape == memory.images.shape and len(stored.images) == 10
    for chosen in (np.array([7, 0, 7, 4]), slice(3, 9, 2), 5, np.arange(10) > 6):
        part = stored.images[chosen]
        assert part.dtype == np.uint8
        np.testing.assert_array_equal(part, memory.images[chosen])
    for name, values in memory.labels.items():
        np.testing.assert_array_equal(values, stored.labels[name])
    assert not (next(cache.glob("*-labels")) / "images.npy").exists()
    with pytest.raises(IndexError):
        stored.images[np.array([10])]


def test_decoded_images_are_kept_and_known_by_size(faces, cache, capsys):
    root, _, _ = faces
    options = SourceOptions(image_size=32, root=str(root))
    digest = SOURCES["celeb_a"](options).digest
    (kept,) = cache.glob("celeb_a-*-images")
    marked = np.load(kept / "images.npy")
    marked[0] = 7  # a mark that the second start must read from this file
    np.save(kept / "images.npy", marked)
    second = SOURCES["celeb_a"](options)
    assert isinstance(second.images, np.memmap) and (second.images[0] == 7).all()
    assert digest != second.digest
    SOURCES["celeb_a"](SourceOptions(image_size=16, root=str(root)))
    assert len(list(cache.glob("celeb_a-*-images"))) == 2
    assert "again" not in capsys.readouterr().err
    for damage in (
        lambda: os.truncate(kept / "images.npy", 500),
        lambda: os.remove(kept / "labels.npy"),
        lambda: np.save(kept / "images.npy", np.zeros((3, 2))),
        lambda: np.save(kept / "labels.npy", np.zeros((10, 40))),
    ):
        damage()
        assert SOURCES["celeb_a"](options).digest == digest
        (message,) = capsys.readouterr().err.splitlines()
        assert str(kept) in message and message.endswith("decoding again")


def test_a_decode_that_was_killed_leaves_nothing_behind(faces, cache):
    root, _, _ = faces
    options = SourceOptions(image_size=8, root=str(root))
    expected = SOURCES["celeb_a"](options).images.copy()
    (kept,) = cache.glob("celeb_a-*-images")
    unfinished = kept.with_name(f".{kept.name}.unfinished")
    kept.rename(unfinished)  # the state after a kill
    (unfinished / "images.npy").write_bytes(b"half")
    np.testing.assert_array_equal(SOURCES["celeb_a"](options).images, expected)
    assert kept.is_dir() and not unfinished.exists()


@pytest.mark.parametrize("name", ["celeb_a", "cifar10", "mnist", "fashion_mnist"])
def test_mocked_sets_of_every_kind(mocked, cache, name):
    dataset = SOURCES[name](SourceOptions(image_size=24, root="/elsewhere"))
    parts = len(dataset.parts)
    channels = 1 if "mnist" in name else 3
    assert dataset.images.shape == (6 * parts, 24, 24, channels)
    source = tfds.builder(name).as_data_source("test")
    images = np.stack([source[i]["image"] for i in range(6)])
    if name == "celeb_a":
        images = images[:, 29:189, 9:169]
        label = [int(source[i]["attributes"]["Smiling"]) for i in range(6)]
    else:
        label = [int(source[i]["label"]) for i in range(6)]
    test = dataset.parts["test"]
    assert np.abs(dataset.images[test] - resized(images, 24)).max() < ROUNDING
    attribute = {"celeb_a": "Smiling", "cifar10": "class", "mnist": "digit"}
    values = dataset.labels[attribute.get(name, "article")]
    np.testing.assert_array_equal(values[test], label)
    assert not list(cache.glob("*")), "mocks have no files to be known by"


@pytest.mark.slow
def test_real_mnist_is_the_real_one(shared, monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(shared / "data" / "tfds"))
    start = time.perf_counter()
    dataset = SOURCES["mnist"](SourceOptions(image_size=28))
    decoded = time.perf_counter() - start
    assert dataset.images.shape == (70000, 28, 28, 1) and decoded < 60
    train = dataset.images[:60000] / 255.0
    assert round(float(train.mean()), 4) == 0.1307
    assert round(float(train.std()), 4) == 0.3081
    labels, parts = dataset.labels["digit"], dataset.parts
    np.testing.assert_array_equal(
        np.bincount(labels[parts["train"]]),
        [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    )
    np.testing.assert_array_equal(
        np.bincount(labels[parts["test"]]),
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    )
    start = time.perf_counter()
    again = SOURCES["mnist"](SourceOptions(image_size=28))
    assert time.perf_counter() - start < 3
    assert again.digest == dataset.digest


@pytest.mark.thorough
def test_real_fashion_mnist_has_names_and_larger_images(shared):
    root = str(shared / "data" / "tfds")
    dataset = SOURCES["fashion_mnist"](SourceOptions(root=root, max_memory=0))
    assert dataset.classes["article"][9] == "Ankle boot"
    assert dataset.labels["article"][:6].tolist() == [2, 1, 8, 4, 1, 9]
    source = tfds.data_source(
        "fashion_mnist", split="train", data_dir=root, download=False
    )
    first = np.stack([source[i]["image"] for i in range(50)])
    assert np.abs(dataset.images[:50] - resized(first, 32)).max() < ROUNDING
    splits = split_dataset(dataset, {"validation": 0.1, "test": 0.5}, seed=3)
    assert [len(x) for x in splits.values()] == [54000, 6000, 10000]
    np.testing.assert_array_equal(splits["test"], np.arange(60000, 70000))
    assert set(splits["train"]) | set(splits["validation"]) == set(range(60000))


def changed_summary(**entries):
    """A damage: other entries in the description of a set."""

    def damage(folder):
        file = folder / "dataset_info.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))

    return damage


def breakages():
    record = "celeb_a-train.array_record-00001-of-00002"
    return {
        "a lost file": (lambda x: os.remove(x / record), "by half or damaged.*missing"),
        "a file cut short": (
            lambda x: os.truncate(x / record, 70000),
            "by half or damaged",
        ),
        "an empty file": (lambda x: os.truncate(x / record, 0), "by half or damaged"),
        "no summary": (lambda x: os.remove(x / "dataset_info.json"), "by half"),
        "half a summary": (
            lambda x: os.truncate(x / "dataset_info.json", 100),
            "by half or damaged",
        ),
        "a summary of another version": (
            changed_summary(version="9.9.9"),
            "by half or damaged.*9.9.9",
        ),
        "a summary of no version": (changed_summary(version=""), "by half or damaged"),
        "a summary of no parts": (changed_summary(splits=[]), "not hold all parts"),
        "a killed preparation": (
            lambda x: x.rename(x.with_name(f"incomplete.X_{x.name}")),
            "by half",
        ),
        "another version": (
            lambda x: x.rename(x.with_name("1.0.0")),
            r"has celeb_a 1\.0\.0, not 2",
        ),
    }


@pytest.mark.parametrize("case", breakages())
def test_a_half_prepared_set_is_one_line(faces, tmp_path, case):
    shutil.copytree(faces[0] / "celeb_a", tmp_path / "sets" / "celeb_a")
    (version,) = (tmp_path / "sets" / "celeb_a").iterdir()
    damage, message = breakages()[case]
    damage(version)
    with pytest.raises(ValueError, match=message) as caught:
        SOURCES["celeb_a"](SourceOptions(root=str(tmp_path / "sets")))
    line = str(caught.value)
    assert "\n" not in line
    assert f"iin_jax.data.prepare celeb_a --root {tmp_path / 'sets'}" in line


def test_an_unprepared_set_and_a_wrong_root_are_one_line(faces, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    cases = {
        str(tmp_path / "empty"): "mnist is not prepared in .*empty; prepare it",
        str(tmp_path / "nowhere"): "there is no folder .*nowhere; prepare it",
        None: "there is no folder .*tensorflow_datasets; prepare it",
    }
    for root, message in cases.items():
        with pytest.raises(ValueError, match=message):
            SOURCES["mnist"](SourceOptions(root=root))
    inside = str(faces[0] / "celeb_a")
    with pytest.raises(ValueError, match="inside a set; give the folder above"):
        SOURCES["celeb_a"](SourceOptions(root=inside))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "empty"))  # read at the call
    with pytest.raises(ValueError, match=r"mnist is not prepared in .*empty"):
        SOURCES["mnist"](SourceOptions())


def test_what_is_prepared_is_not_prepared_again(faces, capsys):
    assert prepare(["celeb_a", "--root", str(faces[0])]) == 0
    assert "5 train, 2 validation, 3 test" in capsys.readouterr().out


def test_reading_imports_no_tensorflow(faces, tmp_path):
    code = (
        "import sys; from iin_jax.data import SOURCES, SourceOptions;"
        f"SOURCES['celeb_a'](SourceOptions(root={str(faces[0])!r}));"
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
    # Grain warns beside older jaxlib, whatever is read
    lines = [line for line in done.stderr.splitlines() if ":absl:Grain " not in line]
    assert not any("WARNING" in line for line in lines)
