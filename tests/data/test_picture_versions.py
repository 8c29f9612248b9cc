"""Versions of pictures: alike in all but their manner."""

import dataclasses

import numpy as np
import pytest

from iin_jax.data import Affine, ColorChoice, Dataset, view_of, with_versions

COUNT = 12
RNG = np.random.default_rng(0)
PLAIN = RNG.integers(0, 200, (COUNT, 8, 8, 1)).astype(np.uint8)
CHOSEN = np.array([1, 2, 4, 5, 7, 8, 9, 11])
SPLITS = {
    "train": np.array([0, 1, 4, 5, 8, 9]),
    "validation": np.array([2, 3]),
    "test": np.array([6, 7, 10, 11]),
}
LABELS = {
    "digit": np.arange(COUNT, dtype=np.int32) % 3,
    "known": np.ma.array(np.arange(COUNT, dtype=np.int32), mask=np.arange(COUNT) == 4),
}


@pytest.fixture
def dataset():
    source = Dataset("drawn", PLAIN, LABELS, {"digit": ("x", "y", "z")}, "none")
    versions = {
        "image": PLAIN[CHOSEN],
        "a": PLAIN[CHOSEN] // 2,
        "b": 255 - PLAIN[CHOSEN],
    }
    return with_versions(source, SPLITS, CHOSEN, versions, "stroke", ["a note"])


def test_every_picture_is_there_in_every_version(dataset):
    assert len(dataset) == 24 and dataset.pictures == 8
    assert dataset.classes["stroke"] == ("image", "a", "b")
    np.testing.assert_array_equal(dataset.labels["stroke"], np.repeat([0, 1, 2], 8))
    np.testing.assert_array_equal(
        dataset.labels["digit"], np.tile(LABELS["digit"][CHOSEN], 3)
    )
    assert np.ma.getmaskarray(dataset.labels["known"]).sum() == 3
    assert dataset.notes == ("a note",)


def test_no_picture_is_in_two_splits(dataset):
    of_split = {name: set(x % 8) for name, x in dataset.parts.items()}
    assert of_split["train"] == {0, 2, 3, 5, 6}
    assert of_split["validation"] == {1}
    assert of_split["test"] == {4, 7}
    assert sum(map(len, dataset.parts.values())) == 24


@pytest.mark.parametrize("coloring", ["none", "black"])
@pytest.mark.parametrize("augment", [None, Affine(degrees=20, shift=0.1)])
def test_versions_share_distortion_and_colour(dataset, coloring, augment):
    halved = dataclasses.replace(dataset, images=np.tile(PLAIN[CHOSEN], (3, 1, 1, 1)))
    view = view_of(halved, coloring, 16, 0)
    colors = ColorChoice("train", 16, 2)
    entries = view.entries(
        dataset.parts["train"], colors, variants=2, augment=augment, seed=3
    )
    each = len(entries) // 3
    assert each == 5 * 2 * (2 if coloring == "black" else 1)
    images = np.asarray(entries.images())
    for k in (1, 2):  # of equal pictures every version is the same image
        part = slice(k * each, (k + 1) * each)
        np.testing.assert_array_equal(images[:each], images[part])
        np.testing.assert_array_equal(entries.pictures[:each], entries.pictures[part])
        np.testing.assert_array_equal(entries.original[:each], entries.original[part])
    assert (entries.labels["stroke"] == np.repeat([0, 1, 2], each)).all()
    some = entries.subset(np.array([0, each, 2 * each + 1]))
    assert some.original[0] == some.original[1]
    assert some.pictures[0] == some.pictures[1]


def test_singles_know_their_picture(dataset):
    view = view_of(dataset, "black", 16, 0)
    single = view.singles(np.array([3, 11, 19]), "swap a")
    np.testing.assert_array_equal(single.pictures, [3, 3, 3])


def test_a_label_of_that_name_is_refused():
    source = Dataset("drawn", PLAIN, LABELS, {}, "none")
    with pytest.raises(ValueError, match="'digit' already"):
        with_versions(source, SPLITS, CHOSEN, {"image": PLAIN[CHOSEN]}, "digit")
