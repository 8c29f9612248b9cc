"""Real digits, colours, splits and distortions."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy import ndimage
from sklearn.datasets import load_digits

from iin_jax.data import (
    SOURCES,
    Affine,
    Dataset,
    SourceOptions,
    colored_set,
    colorize,
    embedded_digits,
    palette,
    split_dataset,
    split_indices,
)


@pytest.fixture(scope="module")
def digits():
    return embedded_digits(16)


def test_the_embedded_digits_are_the_real_ones(digits):
    assert digits.images.shape == (1797, 16, 16, 1) and digits.images.dtype == np.uint8
    np.testing.assert_array_equal(digits.labels["digit"], load_digits().target)
    assert digits.images.max() == 255 and digits.images.min() == 0
    small = digits.images[..., 0].reshape(-1, 8, 2, 8, 2).mean((2, 4)) * 16 / 255
    flat = [np.ravel(small), np.ravel(load_digits().images)]
    assert np.corrcoef(flat)[0, 1] > 0.98
    with pytest.raises(ValueError, match="8x8"):
        embedded_digits(4)


def test_splits_are_disjoint_and_complete():
    splits = split_indices(100, {"validation": 0.1, "test": 0.25}, seed=3)
    assert [len(splits[name]) for name in ("train", "validation", "test")] == [
        65,
        10,
        25,
    ]
    np.testing.assert_array_equal(
        np.sort(np.concatenate(list(splits.values()))), np.arange(100)
    )
    again = split_indices(100, {"validation": 0.1, "test": 0.25}, seed=3)
    np.testing.assert_array_equal(splits["test"], again["test"])
    with pytest.raises(ValueError, match="leave nothing for"):
        split_indices(3, {"validation": 0.01, "test": 0.3}, seed=0)


def test_palettes_are_fixed_bright_and_disjoint():
    colors = palette(4096, seed=0)
    np.testing.assert_array_equal(colors, palette(4096, seed=0))
    assert colors.shape == (4096, 3) and colors.max(1).min() >= 0.2
    assert colors.min() >= 0 and colors.max() <= 1
    other = palette(500, seed=2)
    distance = np.abs(colors[:, None] - other[None]).max(-1)
    assert distance.min() > 0
    with pytest.raises(ValueError, match="at least one colour"):
        palette(0)


def test_colour_multiplies_brightness_on_black():
    grey = np.array([0.0, 0.5, 1.0]).reshape(3, 1, 1, 1)
    colored = np.asarray(colorize(grey, np.array([[0.2, 0.4, 1.0]] * 3)))[:, 0, 0]
    expected = [[-1, -1, -1], [-0.8, -0.6, 0], [-0.6, -0.2, 1]]
    np.testing.assert_allclose(colored, expected, atol=1e-6)


def test_the_authors_colouring_multiplies_images_in_minus_one_to_one(digits):
    grey = np.array([0.0, 0.25, 1.0]).reshape(3, 1, 1, 1)
    color = np.array([0.2, 0.4, 1.0])
    colored = np.asarray(colorize(grey, np.stack([color] * 3), "negative"))[:, 0, 0]
    np.testing.assert_allclose(colored, [-color, -0.5 * color, color], atol=1e-6)
    painted = colored_set(
        digits.images, np.arange(4), palette(6), copies=2, background="negative"
    )
    images = digits.images[painted.item] / 127.5 - 1.0
    expected = images * painted.rgb[:, None, None]
    np.testing.assert_allclose(painted.images(), expected, atol=1e-6)
    assert (digits.images[painted.item, 0, 0] == 0).all()
    np.testing.assert_allclose(painted.images()[:, 0, 0], -painted.rgb, atol=1e-6)


def test_a_colored_set_paints_every_colour_equally_often(digits):
    indices = np.array([3, 5, 8, 11])
    painted = colored_set(digits.images, indices, palette(6), copies=3, variants=2)
    assert len(painted) == 4 * 2 * 3
    assert set(np.bincount(painted.color, minlength=6)) == {4}
    np.testing.assert_array_equal(np.unique(painted.item), indices)
    images = np.asarray(painted.images(slice(0, 5)))
    grey = digits.images[painted.item[:5]] / 255.0
    expected = 2 * grey * painted.rgb[:5][:, None, None] - 1
    np.testing.assert_allclose(images, expected, atol=1e-6)
    with pytest.raises(ValueError, match="needs images and variants; got 0"):
        colored_set(digits.images, indices[:0], palette(6), copies=1)


def test_an_affine_map_without_range_is_the_identity(digits):
    image = digits.images[0].astype(np.float32)
    assert not Affine().active
    moved = Affine()(jax.random.key(0), image)
    np.testing.assert_allclose(moved, image, atol=1e-3)


def test_a_rotation_is_scipys(digits):
    image = digits.images[0].astype(np.float32)
    affine = Affine(degrees=30.0)
    assert affine.active
    key = jax.random.key(4)
    draw = jax.random.uniform(key, (5,), minval=-1.0, maxval=1.0)[0]
    angle = np.deg2rad(30.0 * float(draw))
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array([7.5, 7.5])
    expected = ndimage.affine_transform(
        image[..., 0], matrix, centre - matrix @ centre, order=1, mode="constant"
    )
    moved = np.asarray(affine(key, image))[..., 0]
    np.testing.assert_allclose(moved[2:-2, 2:-2], expected[2:-2, 2:-2], atol=0.5)


@pytest.mark.parametrize(
    "fractions", [{"test": -0.1}, {"test": 0.7, "validation": 0.7}]
)
def test_shares_that_are_none_are_refused(digits, fractions):
    with pytest.raises(ValueError, match=r"fractions are shares in \[0, 1\]"):
        split_dataset(digits, fractions, 0)


def test_published_parts_are_taken_whole():
    images, labels = np.zeros((30, 2, 2, 1), np.uint8), np.zeros(30, np.int32)
    parts = {"train": np.arange(20), "test": np.arange(20, 30)}
    dataset = Dataset("x", images, {"a": labels}, {}, "", parts)
    splits = split_dataset(dataset, {"validation": 0.25, "test": 0.9}, seed=1)
    assert list(splits) == ["train", "validation", "test"]
    assert [len(indices) for indices in splits.values()] == [15, 5, 10]
    np.testing.assert_array_equal(splits["test"], np.arange(20, 30))
    both = np.concatenate([splits["train"], splits["validation"]])
    np.testing.assert_array_equal(np.sort(both), np.arange(20))
    other = split_dataset(dataset, {"validation": 0.25, "test": 0.9}, seed=2)
    assert other["validation"].tolist() != splits["validation"].tolist()
    plain = dataclasses.replace(dataset, parts=None)
    fractions = {"validation": 0.1, "test": 0.2}
    expected = split_indices(30, fractions, seed=1)
    for name, indices in split_dataset(plain, fractions, seed=1).items():
        np.testing.assert_array_equal(indices, expected[name])
    with pytest.raises(ValueError, match="leave nothing"):
        split_dataset(dataset, {"validation": 0.0, "test": 0.2}, seed=1)


def test_a_digest_tells_data_sets_apart():
    def dataset(**changes):
        values = {
            "name": "x",
            "images": np.arange(16, dtype=np.uint8).reshape(4, 2, 2, 1),
            "labels": {"a": np.array([0, 1, 1, 0], np.int32)},
            "classes": {"a": ("no", "yes")},
            "citation": "",
        }
        return Dataset(**{**values, **changes})

    missing = np.ma.MaskedArray(np.array([0, 1, 1, 0], np.int32), [0, 0, 0, 1])
    others = [
        dataset(name="y"),
        dataset(images=np.zeros((4, 2, 2, 1), np.uint8)),
        dataset(labels={"b": np.array([0, 1, 1, 0], np.int32)}),
        dataset(labels={"a": np.array([0, 1, 1, 1], np.int32)}),
        dataset(labels={"a": missing}),
        dataset(classes={"a": ("no", "maybe")}),
        dataset(parts={"train": np.arange(4)}),
    ]
    digests = {dataset().digest, *(other.digest for other in others)}
    assert len(digests) == 1 + len(others)
    assert dataset(citation="z", notes=("said",)).digest == dataset().digest
    mapped = np.lib.stride_tricks.as_strided(dataset().images)
    assert dataset(images=mapped).digest == dataset().digest


def test_codes_have_names():
    images = np.zeros((3, 2, 2, 1), np.uint8)
    codes = np.ma.array([1, 0, -1], np.int32, mask=[False, False, True])
    size = np.array([0.5, np.nan, 2.0])
    dataset = Dataset("x", images, {"a": codes, "size": size}, {"a": ("no", "yes")}, "")
    assert dataset.named("a", codes[:2]).tolist() == ["yes", "no"]
    assert dataset.named("a", codes).tolist() == ["yes", "no", None]
    assert dataset.named("size", size) is size


def test_labels_of_the_wrong_length_or_type_are_refused():
    images = np.zeros((4, 2, 2, 1), np.uint8)
    with pytest.raises(
        ValueError, match=r"'a' has labels of shape \(3,\) for 4 images"
    ):
        Dataset("x", images, {"a": np.zeros(3, np.int32)}, {}, "")
    with pytest.raises(ValueError, match="'a' are int64; expected codes as int32"):
        Dataset("x", images, {"a": np.zeros(4, np.int64)}, {}, "")
    for bad in ({"image_size": 0}, {"max_memory": -1}, {"max_unreadable": 1.5}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            SourceOptions(**bad)


def test_the_digits_are_a_source():
    dataset = SOURCES["digits"](SourceOptions(image_size=8))
    np.testing.assert_array_equal(dataset.images, embedded_digits(8).images)
    assert dataset.classes["digit"][3] == "3" and dataset.parts is None


def test_colored_sets_are_values(digits):
    painted = colored_set(digits.images, np.arange(4), palette(6), copies=2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        painted.color = None
