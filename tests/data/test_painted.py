"""Views of a data set: plain, or painted with a label ``color``."""

import numpy as np
import pytest

from iin_jax.data import COLOR, ColorChoice, Dataset, palette, view_of

ITEMS = np.array([1, 4, 5])


@pytest.fixture
def dataset():
    """Seven grey images with labels, one of which is named like the painted one."""
    rng = np.random.default_rng(0)
    labels = {
        "digit": np.arange(7, dtype=np.int32),
        COLOR: np.zeros(7, np.int32),
    }
    images = rng.integers(0, 256, (7, 4, 4, 1)).astype(np.uint8)
    return Dataset("grey", images, labels, {}, "")


def test_a_plain_view_has_the_labels_of_its_images(dataset):
    view = view_of(dataset, "none", colors=5, seed=0)
    images = view.entries(ITEMS, ColorChoice("train", 5, 2), seed=3)
    assert view.names == ("digit", COLOR) and view.channels == 1
    assert view.train_colors is None and images.images().shape == (3, 4, 4, 1)
    for labels in (images.labels, images.codes, view.singles(ITEMS, "swap a").labels):
        np.testing.assert_array_equal(labels["digit"], ITEMS)
        np.testing.assert_array_equal(labels[COLOR], [0, 0, 0])


def test_a_painted_view_has_true_colours_and_hides_a_label_of_that_name(dataset):
    view = view_of(dataset, "black", colors=5, seed=0)
    assert list(view.labels) == ["digit"] and view.names == ("digit", COLOR)
    images = view.entries(ITEMS, ColorChoice("train", 5, 2), seed=3)
    assert len(images) == 6 and images.images().shape == (6, 4, 4, 3)
    np.testing.assert_array_equal(images.labels[COLOR], images.rgb)
    np.testing.assert_array_equal(view.train_colors[images.codes[COLOR]], images.rgb)
    np.testing.assert_array_equal(images.labels["digit"], images.item)


def test_codes_of_colours_and_palettes_are_told_apart_by_purpose(dataset):
    view = view_of(dataset, "black", colors=5, seed=0)
    train = view.entries(ITEMS, ColorChoice("train", 5, 2))
    other = view.entries(ITEMS, ColorChoice("validation", 3, 2))
    assert set(train.codes[COLOR]) <= set(range(5))
    assert set(other.codes[COLOR]) <= set(range(5, 8))
    distance = np.abs(train.rgb[:, None] - other.rgb[None]).max(-1)
    assert distance.min() > 0
    np.testing.assert_array_equal(other.colors, palette(3, seed=1))


def test_singles_are_painted_once_each_and_can_take_others_colours(dataset):
    view = view_of(dataset, "black", colors=5, seed=2)
    a, b = (view.singles(ITEMS, purpose) for purpose in ("swap a", "swap b"))
    np.testing.assert_array_equal(a.rgb, palette(3, seed=23))
    repainted = a.in_colors(b.rgb)
    np.testing.assert_array_equal(repainted.images(), b.images())
    assert np.abs(a.images() - b.images()).max() > 0.1
