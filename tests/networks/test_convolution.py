"""Every way to convolve gives what the plain convolution does, gradients too."""

import functools

import flax.linen as nn
import jax
import numpy as np
import pytest

from iin_jax.networks import convolution
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
        jax.jit(jax.grad(lambda *a, f=f: (f(*a) * target).sum(), (0, 1)))(x, weights)
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


@pytest.mark.parametrize("size", [2, 4])
def test_a_folded_convolution_is_the_convolution(size):
    """4x4, stride 2: value and both gradients, forced on any platform."""
    x, kernel = normal((3, size, size, 5)), normal((4, 4, 5, 7), 1)
    plain = functools.partial(
        jax.lax.conv_general_dilated,
        window_strides=(2, 2),
        padding=((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    weights = normal((3, size // 2, size // 2, 7), 2)
    _same_with_gradients(convolution._folded, plain, x, kernel, weights)
    assert convolution._folds(x, kernel, (2, 2), ((1, 1), (1, 1)))


@pytest.mark.parametrize("shape", [(2, 3, 3, 5), (3, 1, 1, 2), (1, 4, 2, 3)])
def test_doubling_is_the_transposed_convolution(shape):
    x, kernel = normal(shape), normal((4, 4, shape[-1], 6), 1)
    module = nn.ConvTranspose(6, (4, 4), (2, 2), use_bias=False)

    def plain(x, kernel):
        return module.apply({"params": {"kernel": kernel}}, x)

    weights = normal((shape[0], 2 * shape[1], 2 * shape[2], 6), 2)
    _same_with_gradients(convolution._sorted, plain, x, kernel, weights)
    _same_with_gradients(convolution._transposed, plain, x, kernel, weights)
    own = convolution.Double(6).apply({"params": {"kernel": kernel}}, x)
    np.testing.assert_allclose(own, plain(x, kernel), atol=1e-5)


def test_expanding_is_the_transposed_convolution_of_one_pixel():
    z, kernel = normal((4, 5)), normal((2, 2, 5, 3), 1)
    bias = normal((3,), 2)
    module = nn.ConvTranspose(3, (2, 2), padding="VALID", use_bias=False)

    def plain(z, kernel):
        return module.apply({"params": {"kernel": kernel}}, z[:, None, None, :])

    weights = normal((4, 2, 2, 3), 3)
    _same_with_gradients(convolution.expand, plain, z, kernel, weights)
    own = convolution.Expand(3, 2).apply(
        {"params": {"kernel": kernel, "bias": bias}}, z
    )
    np.testing.assert_allclose(own, plain(z, kernel) + bias, atol=1e-5)


def _same_with_gradients(function, plain, x, kernel, weights):
    def weighted(f):
        return lambda x, kernel: (f(x, kernel) * weights).sum()

    found, expected = (
        jax.jit(jax.value_and_grad(weighted(f), (0, 1)))(x, kernel)
        for f in (function, plain)
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        found,
        expected,
    )
