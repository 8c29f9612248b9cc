"""Pooling against its definition, window by window; preprocessing."""

import numpy as np
import pytest
from PIL import Image

from iin_jax.networks.backbones.base import (
    adaptive_avg_pool,
    avg_pool,
    flatten,
    max_pool,
)
from iin_jax.networks.pretrained import Preprocessing
from tests.conftest import normal


def windows(n, size, stride, padding, ceil):
    """Rows of each window, padding left out; none may lie in padding alone."""
    result, start = [], -padding
    while start + size <= n + padding or (
        ceil and start + size - stride < n + padding and start < n
    ):
        result.append(range(max(start, 0), min(start + size, n)))
        start += stride
    return [rows for rows in result if len(rows)]


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(3, 2, 0), (3, 2, 1), (2, 2, 0)]
)
@pytest.mark.parametrize("n", [5, 6, 7, 8])
def test_max_pool(n, size, stride, padding, ceil):
    x = np.asarray(normal((1, n, n, 2))) - 5.0  # a zero of padding would be the maximum
    rows = windows(n, size, stride, padding, ceil)
    expected = [[x[0][np.ix_(r, c)].max(axis=(0, 1)) for c in rows] for r in rows]
    pooled = max_pool(size, stride, padding, ceil=ceil)(x)
    np.testing.assert_array_equal(pooled[0], expected)


@pytest.mark.parametrize("count_padding", [True, False])
def test_avg_pool_counts_padding_or_not(count_padding):
    x = np.asarray(normal((1, 5, 5, 2)))
    rows = windows(5, 3, 1, 1, False)
    expected = [
        [
            x[0][np.ix_(r, c)].sum(axis=(0, 1))
            / (9 if count_padding else len(r) * len(c))
            for c in rows
        ]
        for r in rows
    ]
    pooled = avg_pool(3, 1, 1, count_padding=count_padding)(x)
    np.testing.assert_allclose(pooled[0], expected, atol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 7, 9])
def test_adaptive_avg_pool_covers_the_image(n):
    x = np.asarray(normal((2, n, n, 3)))
    spans = [range(i * n // 7, -(-(i + 1) * n // 7)) for i in range(7)]
    expected = [[x[:, r][:, :, c].mean(axis=(1, 2)) for c in spans] for r in spans]
    pooled = np.moveaxis(adaptive_avg_pool(7)(x), 0, 2)
    np.testing.assert_allclose(pooled, expected, atol=1e-6)


def test_flatten_puts_channels_first():
    x = np.asarray(normal((2, 3, 4, 5)))
    np.testing.assert_array_equal(flatten(x), x.transpose(0, 3, 1, 2).reshape(2, -1))


def test_preprocessing_of_a_caffe_network():
    images = np.asarray([[[[-1.0, 0.0, 1.0]]]], np.float32)  # R 0, G 127.5, B 255
    caffe = Preprocessing(1, (104, 117, 123), (1, 1, 1), 255.0, "BGR")
    np.testing.assert_allclose(caffe(images, 1)[0, 0, 0], [151, 10.5, -123], rtol=1e-6)


@pytest.mark.parametrize(("before", "after"), [(8, 32), (32, 8), (10, 7)])
def test_resizing_is_pillows_bilinear(before, after):
    values = (
        np.random.default_rng(0).uniform(-1, 1, (before, before)).astype(np.float32)
    )
    image = np.stack([values] * 3, axis=-1)[None]
    plain = Preprocessing(after, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    resized = Image.fromarray(values).resize((after, after), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(plain(image, after)[0, ..., 0], resized, atol=1e-5)
