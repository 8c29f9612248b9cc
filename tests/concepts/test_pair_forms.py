"""Forms of pairs against sums over all pairs, written out."""

import numpy as np
import pytest

from iin_jax.concepts import pairs_from_labels
from iin_jax.concepts.label_pairs import LabelPairs
from iin_jax.concepts.pair_forms import ClassPairs, GivenPairs
from iin_jax.data.values import MISSING

RNG = np.random.default_rng(0)
W = RNG.standard_normal((40, 4))
IMAGE = np.arange(40) // 2
CODES = RNG.integers(0, 5, 40)
CODES[[3, 17, 18]] = MISSING


def all_class_pairs(codes, image, weight):
    """Mean outer product over a uniform and its partners uniform, centred."""
    total, mean_a, mean_b, mass = np.zeros((4, 4)), np.zeros(4), np.zeros(4), 0.0
    for i in range(len(codes)):
        partners = [
            j
            for j in range(len(codes))
            if codes[i] == codes[j] != MISSING and image[i] != image[j]
        ]
        count = sum(weight[j] for j in partners)
        if count == 0 or weight[i] == 0:
            continue
        for j in partners:
            share = weight[i] * weight[j] / count
            total += share * np.outer(W[i], W[j])
            mean_a += share * W[i]
            mean_b += share * W[j]
            mass += share
    centred = total / mass - np.outer(mean_a, mean_b) / mass**2
    return 0.5 * (centred + centred.T)


def test_class_pairs_are_all_pairs_of_unlike_images():
    form = ClassPairs(CODES, IMAGE).form()
    expected = all_class_pairs(CODES, IMAGE, np.ones(40))
    np.testing.assert_allclose(form.matrix(W), expected, atol=1e-12)
    np.testing.assert_allclose(form.diagonal(W), np.diag(expected), atol=1e-12)


def test_resampled_class_pairs_count_images_as_often_as_drawn():
    pairs = ClassPairs(CODES, IMAGE)
    drawn = np.random.default_rng(3).multinomial(20, np.full(20, 0.05)).astype(float)
    expected = all_class_pairs(CODES, IMAGE, drawn[IMAGE])
    form = pairs.resampled(np.random.default_rng(3))
    np.testing.assert_allclose(form.matrix(W), expected, atol=1e-12)


def test_given_pairs_are_their_mean_product_and_difference():
    a, b = RNG.integers(0, 40, (2, 100))
    each = np.full(100, 0.01)
    form = GivenPairs(a, b, each, IMAGE).form().matrix(W)
    product = (W[a] - W[a].mean(0)).T @ (W[b] - W[b].mean(0)) / 100
    np.testing.assert_allclose(form, 0.5 * (product + product.T), atol=1e-12)
    form = GivenPairs(a, b, each, IMAGE, differs=True).form().matrix(W)
    difference = W[a] - W[b]
    np.testing.assert_allclose(form, difference.T @ difference / 200, atol=1e-12)


def test_null_pairs_are_of_other_images_and_keep_each_image_whole():
    a, b = np.arange(0, 20), np.arange(20, 40)
    pairs = GivenPairs(a, b, np.full(20, 0.05), np.arange(40))
    rows = pairs.dealt(np.random.default_rng(0))
    np.testing.assert_array_equal(rows[:20], np.arange(20))  # second halves alone
    np.testing.assert_array_equal(np.sort(rows[20:]), np.arange(20, 40))
    assert (rows[20:] != np.arange(20, 40)).any()


def test_a_painted_colour_is_dealt_to_entries_a_digit_to_images():
    digit, color = np.repeat(np.arange(20) % 4, 2), RNG.integers(0, 6, 40)
    dealt = ClassPairs(digit, IMAGE)._permuted(np.random.default_rng(0))
    assert (dealt[::2] == dealt[1::2]).all() and (dealt != digit).any()
    dealt = ClassPairs(color, IMAGE)._permuted(np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(dealt), np.sort(color))
    assert (dealt[::2] != dealt[1::2]).any()


def test_forms_of_labels_agree_with_pairs_drawn_from_them():
    labels = {"x": RNG.integers(0, 4, 40), "y": RNG.integers(0, 3, 40)}
    forms = LabelPairs(labels, {}, np.arange(40)).forms(0)
    pairs = pairs_from_labels(labels, 200_000, seed=0)
    for index, name in enumerate(labels):
        a, b = (half[pairs.concept == index] for half in (pairs.a, pairs.b))
        product = (W[a] - W[a].mean(0)).T @ (W[b] - W[b].mean(0)) / len(a)
        expected = 0.5 * (product + product.T)
        np.testing.assert_allclose(forms[name].form().matrix(W), expected, atol=0.02)


@pytest.mark.parametrize("name", ["age", "color"])
def test_graded_and_differing_concepts_have_forms(name):
    count = 60
    color, item = np.tile([0, 1], 30), np.arange(count) // 2
    age = np.repeat(RNG.standard_normal(30), 2)
    w = np.repeat(RNG.standard_normal((30, 3)), 2, axis=0)
    w[:, 0] = age
    w[:, 2] = color  # all that two entries of one item differ in
    source = LabelPairs(
        {"color": color}, {"age": age}, item, item, agree=("age",), differ=("color",)
    )
    forms = source.forms(0)
    matrix = forms[name].form().matrix(w)
    assert forms[name].differs == (name == "color")
    if name == "age":
        assert np.argmax(np.diag(matrix)) == 0
    else:
        assert matrix[1, 1] == pytest.approx(0.0, abs=1e-12)
        assert matrix[2, 2] == pytest.approx(0.5)
