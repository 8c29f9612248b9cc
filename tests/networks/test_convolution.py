"""Every way to convolve gives what the plain convolution does, gradients too."""

import jax
import numpy as np
import pytest

from iin_jax.networks.convolution import SMALL, convolve
from tests.conftest import normal

DIMENSIONS = ("NHWC", "HWIO", "NHWC")


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [
        (5, (1, 1), 1, 0),
        (6, (1, 1), 2, 0),
        (5, (1, 1), 1, 1),  # as the last convolution of Caffe's SqueezeNet 1.0
        (2, (3, 3), 1, 1),
        (7, (3, 3), 2, 1),
        (8, (3, 3), 2, 0),
        (6, (1, 7), 1, 3),
        (9, (5, 5), 2, 2),
        (20, (3, 3), 1, 1),
    ],
)
def test_all_shapes(size, kernel, stride, padding):
    x, weights = normal((2, size, size, 3)), normal((*kernel, 3, 4), 1)
    pads = [(padding if side > 1 or kernel == (1, 1) else 0,) * 2 for side in kernel]
    strides = (stride, stride)

    def plain(x, weights):
        return jax.lax.conv_general_dilated(
            x, weights, strides, pads, dimension_numbers=DIMENSIONS, precision="highest"
        )

    def ours(x, weights):
        return convolve(
            x, weights, strides, pads, dimension_numbers=DIMENSIONS, precision="highest"
        )

    expected = plain(x, weights)
    np.testing.assert_allclose(ours(x, weights), expected, atol=1e-5)
    np.testing.assert_allclose(jax.jit(ours)(x, weights), expected, atol=1e-5)
    target = normal(expected.shape, 2)
    gradients = [
        jax.grad(lambda *a, f=f: (f(*a) * target).sum(), (0, 1))(x, weights)
        for f in (ours, plain)
    ]
    for actual, wanted in zip(*gradients, strict=True):
        np.testing.assert_allclose(actual, wanted, atol=1e-4)


def test_both_ways_are_taken():
    """On CPUs windows of small images are gathered, large ones convolved."""

    def program(size):
        x, weights = normal((1, size, size, 2)), normal((3, 3, 2, 2))
        pads = [(1, 1), (1, 1)]
        lowered = jax.jit(
            lambda x, w: convolve(x, w, (1, 1), pads, dimension_numbers=DIMENSIONS)
        ).lower(x, weights)
        return lowered.as_text()

    small, large = int(SMALL**0.5), int(SMALL**0.5) + 1
    assert "stablehlo.convolution" not in program(small)
    assert "stablehlo.convolution" in program(large)
