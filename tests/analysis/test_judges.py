"""Judges of shapes, colours, logits and latents, in cases with known results."""

import jax
import numpy as np
import pytest

from iin_jax.analysis import (
    ColorJudge,
    ConvolutionalJudge,
    LatentJudge,
    LogitsJudge,
    ShapeJudge,
    shape_judge,
)
from iin_jax.analysis.judges import convolutional as judge_file
from iin_jax.analysis.judges.network import shifted
from iin_jax.data import colored_set, embedded_digits, palette
from iin_jax.data.palette import colorize
from iin_jax.data.values import known_rows
from tests.conftest import normal

TRAIN = 1200  # training images among the 1,797 embedded digits


@pytest.fixture(scope="module")
def digits():
    return embedded_digits(16)


@pytest.fixture(scope="module")
def convolutional(digits):
    """A judge trained on 1,200 digits, of which every eleventh has no class."""
    classes = np.ma.array(digits.labels["digit"])
    classes[::11] = np.ma.masked
    test = digits.images[TRAIN:], classes[TRAIN:]
    return ConvolutionalJudge.train(
        digits.images[:TRAIN], classes[:TRAIN], test=test, epochs=15, shift=1
    )


def held_out(digits, background="black"):
    rows = np.arange(TRAIN, len(digits))
    grey = digits.images[rows] / 255.0
    images = np.asarray(colorize(grey, palette(len(rows), 9), background))
    return images, digits.labels["digit"][rows]


@pytest.mark.parametrize(
    "kind",
    [
        "convolutional network",
        pytest.param("support vector machine", marks=pytest.mark.thorough),
    ],
)
def test_shape_judges_read_held_out_digits_in_any_colour(digits, convolutional, kind):
    labels = digits.labels["digit"]
    machine = ShapeJudge.train(digits.images[:TRAIN], labels[:TRAIN])
    judge = {judge.kind: judge for judge in (machine, convolutional)}[kind]
    images, expected = held_out(digits)
    assert judge.measure == "accuracy"
    np.testing.assert_array_equal(judge.classes, np.arange(10))
    assert judge.score(images, expected) > 0.93
    assert judge.score(images, (expected + 1) % 10) < 0.05
    dim = (images + 1) * 0.3 - 1
    np.testing.assert_array_equal(judge.read(dim), judge.read(images))
    assert judge.score(held_out(digits, "negative")[0], expected) > 0.85
    np.testing.assert_array_equal(judge.target(images, expected), expected)


def test_test_accuracy_is_on_known_rows_of_the_test_images(digits, convolutional):
    images, labels = digits.images[TRAIN:], digits.labels["digit"][TRAIN:]
    known = np.arange(TRAIN, len(digits)) % 11 != 0
    right = convolutional.read(images / 127.5 - 1.0) == labels
    assert convolutional.test_accuracy == pytest.approx(right[known].mean())
    assert convolutional.test_error is None
    machine = ShapeJudge.train(
        digits.images[:300], digits.labels["digit"][:300], test=(images, labels)
    )
    right = machine.read(images / 127.5 - 1.0) == labels
    assert machine.test_accuracy == pytest.approx(right.mean())


def test_the_shape_judge_is_picked_by_the_number_of_images(digits, monkeypatch):
    images, labels = digits.images[:60], digits.labels["digit"][:60]
    assert shape_judge(images, labels).kind == "support vector machine"
    monkeypatch.setattr(judge_file, "SMALL_SET", 59)
    monkeypatch.setattr(judge_file, "LEAST_STEPS", 10)
    judge = shape_judge(images, labels, test=(images, labels))
    assert judge.kind == "convolutional network"
    assert judge.test_accuracy is not None
    masked = np.ma.array(labels, mask=np.arange(60) == 0)
    assert shape_judge(images, masked).kind == "support vector machine"


@pytest.mark.thorough
def test_a_convolutional_judge_reads_real_values_in_colour(digits):
    """The true colours are known, and brightness does not show them."""
    rgb = palette(900, 3)
    images = np.asarray(colorize(digits.images[:900] / 255.0, rgb))
    pixels = np.round((images + 1.0) * 127.5).astype(np.uint8)
    values = rgb.copy()
    values[::9, 1] = np.nan
    judge = ConvolutionalJudge.train(
        pixels[:700],
        values[:700],
        test=(pixels[700:], values[700:]),
        view="color",
        epochs=40,
    )
    assert judge.measure == "mean_abs_error" and judge.classes is None
    read = judge.read(images[700:])
    assert read.shape == (200, 3)
    known = np.arange(700, 900) % 9 != 0
    error = np.abs(read - rgb[700:])[known].mean()
    assert judge.test_error == pytest.approx(error, abs=2e-3) and error < 0.05
    assert judge.test_accuracy is None
    blind = ConvolutionalJudge.train(
        pixels[:700], rgb[:700, 0], test=(pixels[700:], rgb[700:, 0]), epochs=5
    )
    assert blind.read(images[700:]).shape == (200,)
    assert blind.test_error > 0.15  # a constant guess of a uniform value errs by 0.25


def test_training_is_a_function_of_the_seed(digits):
    def train(seed, **settings):
        images, labels = digits.images[:300], digits.labels["digit"][:300]
        judge = ConvolutionalJudge.train(
            images, labels, epochs=1, seed=seed, **settings
        )
        return np.asarray(judge.params["Dense_1"]["kernel"])

    first = train(1, shift=1)
    np.testing.assert_array_equal(first, train(1, shift=1))
    assert np.abs(first - train(2, shift=1)).max() > 1e-3


def test_shifts_are_crops_of_the_padded_image_one_per_image():
    images = np.random.default_rng(0).standard_normal((30, 6, 5, 2))
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    moved = np.asarray(shifted(images, 1, jax.random.key(0)))
    corners = set()
    for index, image in enumerate(moved):
        matches = [
            (i, j)
            for i in range(3)
            for j in range(3)
            if np.allclose(padded[index, i : i + 6, j : j + 5], image)
        ]
        assert len(matches) == 1
        corners.update(matches)
    assert len(corners) > 5


@pytest.mark.slow
def test_a_convolutional_judge_reads_99_per_cent_of_mnist(shared):
    tfds = pytest.importorskip("tensorflow_datasets")
    cv2 = pytest.importorskip("cv2")
    sets = {}
    for split in ("train", "test"):
        source = tfds.data_source(
            "mnist", split=split, data_dir=shared / "data" / "tfds", download=False
        )
        rows = source.__getitems__(list(range(len(source))))
        images = [cv2.resize(row["image"], (32, 32))[..., None] for row in rows]
        sets[split] = np.stack(images), np.array([row["label"] for row in rows])
    judge = shape_judge(*sets["train"], test=sets["test"])
    assert judge.kind == "convolutional network" and len(sets["test"][0]) == 10_000
    assert judge.test_accuracy >= 0.99


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((4, 16, 16, 1))}, r"uint8 .*got float64 \(4, 16, 16, 1\)"),
        ({"images": np.zeros((4, 16, 16), np.uint8)}, "n, H, W, C"),
        ({"values": np.arange(5)}, "4 images need as many values; got 5"),
        ({"values": np.zeros(4, int)}, "two classes or real values at least; got 1 in"),
        ({"values": np.full(4, np.nan)}, "got 0 in 0 known of 4 values"),
        ({"view": "shape"}, "one of brightness, color; got 'shape'"),
        ({"epochs": 0}, "at least one epoch; got 0"),
    ],
)
def test_bad_training_data_is_one_line(change, message):
    images = np.zeros((4, 16, 16, 1), np.uint8)
    settings = {"images": images, "values": np.arange(4), **change}
    with pytest.raises(ValueError, match=message):
        ConvolutionalJudge.train(**settings)


def test_images_of_another_size_are_one_line(convolutional):
    with pytest.raises(ValueError, match=r"16x16 pixels; got shape \(1, 32, 32, 3\)"):
        convolutional.read(np.zeros((1, 32, 32, 3), np.float32))


def test_the_colour_judge_measures_real_pictures_within_its_floor(digits):
    painted = colored_set(digits.images, np.arange(200), palette(200, 9), copies=1)
    judge, images = ColorJudge(), painted.images()
    assert np.abs(judge.read(images) - painted.rgb).mean() < 0.05
    expected = judge.target(images, painted.rgb)
    assert judge.score(images, expected) == 0.0
    assert judge.score(images, np.roll(expected, 1, axis=0)) > 0.2


def test_the_colour_judge_averages_pixels_of_at_least_85_per_cent_of_the_maximum():
    rng = np.random.default_rng(0)
    images = rng.uniform(-1.0, 0.6, (3, 12, 12, 3))
    expected = []
    for image in images:
        unit = (image + 1.0) / 2.0
        peak = unit.max()
        chosen = [pixel for row in unit for pixel in row if max(pixel) >= 0.85 * peak]
        expected.append(np.mean(chosen, axis=0))
    assert 1 < len(chosen) < 100
    np.testing.assert_allclose(ColorJudge().read(images), expected, rtol=1e-5)


def test_the_logits_judge_counts_right_predictions():
    logits = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.4]])
    assert LogitsJudge().score(logits, np.array([1, 0, 0])) == pytest.approx(2 / 3)


def test_judges_of_latents_read_classes_and_real_values():
    z = np.asarray(normal((900, 6)))
    classes = np.where(z[:, 0] ** 2 > 0.5, "far", "near")  # no linear model reads it
    values = np.stack([np.sin(z[:, 1]), z[:, 2]], axis=1)
    values[:50, 0] = np.nan
    judge = LatentJudge.train(z[:700], classes[:700])
    assert judge.measure == "accuracy"
    assert judge.score(z[700:], classes[700:]) > 0.9
    judge = LatentJudge.train(z[:700], values[:700])
    assert judge.measure == "mean_abs_error"
    assert judge.score(z[700:], values[700:]) < 0.15
    assert judge.score(np.roll(z[700:], 1, axis=0), values[700:]) > 0.5


def test_missing_values_are_masked_or_not_a_number():
    masked = np.ma.array([["a", "b"], ["c", "d"]], mask=[[False, True], [False] * 2])
    np.testing.assert_array_equal(known_rows(masked), [False, True])
    real = np.ma.array([1.0, np.nan, 3.0, 4.0], mask=[False, False, True, False])
    np.testing.assert_array_equal(known_rows(real), [True, False, False, True])
    np.testing.assert_array_equal(known_rows(np.array(["x", ""])), [True, True])
    assert known_rows(np.zeros((0, 3))).shape == (0,)
