"""Convolutions that take the fastest way that is known for their shape.

XLA's convolutions on CPUs lose a factor of two to three against matrix products where
the kernel is 1x1, and up to fifty where the image is small (measured on two cores: 3x3
of 512 channels at 2x2 positions, 31 ms against 0.6 ms). Worst are strided ones whose
gradient is taken, and transposed ones, which XLA writes with zeros between the pixels:
4x4, stride 2, 64 images, forward and gradient, 256 to 512 channels at 2x2 positions,
412 ms against 20; transposed, 128 to 64 channels at 8x8 positions, 246 ms against 16.
"""

import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from iin_jax.types import Array, Images

SMALL = 14 * 14  # most output positions at which CPUs gather windows
WINDOW = 9  # most entries of a gathered window; larger ones compile slowly
FEWEST = 4 * 4  # most output positions at which a larger window pays
LARGER_WINDOW = 16  # most entries of a window at up to FEWEST positions
FOLDED = 2 * 2  # most output positions at which 4x4, stride 2, becomes 2x2, stride 1

Pads = Sequence[tuple[int, int]]


def convolve(
    x: Images, kernel: Array, strides: Sequence[int], padding: Pads, **settings: Any
) -> Images:
    """``jax.lax.conv_general_dilated`` for images (B, H, W, C), kernels HWIO.

    Takes the arguments that ``flax.linen.Conv`` gives; without dilation or groups.
    """
    precision = settings.get("precision")
    if kernel.shape[:2] == x.shape[1:3] and not any(map(any, padding)):
        flat = kernel.reshape(-1, kernel.shape[-1])
        product = jnp.matmul(x.reshape(len(x), -1), flat, precision=precision)
        return product[:, None, None, :]
    if _folds(x, kernel, strides, padding):
        return jax.lax.platform_dependent(
            x,
            kernel,
            cpu=functools.partial(_folded, precision=precision),
            default=functools.partial(
                jax.lax.conv_general_dilated,
                window_strides=strides,
                padding=padding,
                **settings,
            ),
        )
    if kernel.shape[:2] == (1, 1):
        padded = jnp.pad(x, ((0, 0), *padding, (0, 0)))
        strided = padded[:, :: strides[0], :: strides[1]]
        return jnp.matmul(strided, kernel[0, 0], precision=precision)
    rows, columns = (
        (n + sum(pads) - size) // stride + 1
        for n, pads, size, stride in zip(
            x.shape[1:3], padding, kernel.shape, strides, strict=False
        )
    )

    def direct(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(x, kernel, strides, padding, **settings)

    def gathered(x: Images, kernel: Array) -> Images:
        padded = jnp.pad(x, ((0, 0), *padding, (0, 0)))
        windows = _gathered(padded, kernel.shape[:2], strides, (rows, columns))
        flat = kernel.reshape(-1, kernel.shape[-1])
        return jnp.matmul(windows, flat, precision=precision)

    most = WINDOW if rows * columns > FEWEST else LARGER_WINDOW
    empty = min(rows, columns) < 1  # images smaller than the window: (B, 0, 0, C)
    if empty or rows * columns > SMALL or kernel.shape[0] * kernel.shape[1] > most:
        return direct(jnp.asarray(x), jnp.asarray(kernel))
    return jax.lax.platform_dependent(x, kernel, cpu=gathered, default=direct)


def depthwise(
    x: Images, kernel: Array, strides: Sequence[int], padding: Pads
) -> Images:
    """Each channel with a window of its own; kernel (h, w, 1, C).

    XLA's on CPUs take four to eight times as long as the sum over the window's entries
    (measured on one core: all of MobileNet-v2, 32 images of 64 pixels, 447 ms against
    83; ShuffleNet-v2, 94 against 12).
    """
    rows, columns = (
        (n + sum(pads) - size) // stride + 1
        for n, pads, size, stride in zip(
            x.shape[1:3], padding, kernel.shape, strides, strict=False
        )
    )

    def summed(x: jax.Array, kernel: jax.Array) -> jax.Array:
        padded = jnp.pad(x, ((0, 0), *padding, (0, 0)))
        parts = _shifted(padded, kernel.shape[:2], strides, (rows, columns))
        entries = kernel.reshape(-1, kernel.shape[-1])
        products = [part * entry for part, entry in zip(parts, entries, strict=True)]
        return functools.reduce(jnp.add, products)

    def direct(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            strides,
            padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=x.shape[-1],
        )

    x, kernel = jnp.asarray(x), jnp.asarray(kernel)
    return jax.lax.platform_dependent(x, kernel, cpu=summed, default=direct)


def _gathered(
    padded: Array,
    window: Sequence[int],
    strides: Sequence[int],
    positions: tuple[int, int],
) -> Array:
    """What lies under a window at every position, (B, rows, columns, h * w * C)."""
    return jnp.concatenate(_shifted(padded, window, strides, positions), axis=-1)


def _shifted(
    padded: Array,
    window: Sequence[int],
    strides: Sequence[int],
    positions: tuple[int, int],
) -> list[Array]:
    """For each entry of a window what lies under it, (B, rows, columns, C) each."""
    rows, columns = positions
    return [
        padded[
            :,
            i : i + (rows - 1) * strides[0] + 1 : strides[0],
            j : j + (columns - 1) * strides[1] + 1 : strides[1],
        ]
        for i in range(window[0])
        for j in range(window[1])
    ]


def double(x: Images, kernel: Array) -> Images:
    """Transposed convolution, 4x4 and stride 2: (B, H, W, C) -> (B, 2H, 2W, O).

    Each output pixel sees 2x2 pixels of the input, and which entries of the kernel it
    takes depends on its parity alone: one 2x2 convolution with 4 O channels, sorted.

    Args:
      x: (B, H, W, C).
      kernel: (4, 4, C, O), as ``flax.linen.ConvTranspose`` keeps it.
    """
    return jax.lax.platform_dependent(x, kernel, cpu=_sorted, default=_transposed)


def expand(z: Array, kernel: Array) -> Images:
    """Transposed convolution of single pixels: (B, C) -> (B, H, W, O); a product.

    Args:
      z: (B, C).
      kernel: (H, W, C, O), as ``flax.linen.ConvTranspose`` keeps it.
    """
    height, width, channels, features = kernel.shape
    flat = kernel[::-1, ::-1].transpose(2, 0, 1, 3).reshape(channels, -1)
    return (z @ flat).reshape(-1, height, width, features)


class Double(nn.Module):
    """``double`` with its kernel; no bias.

    Attributes:
      features: O.
    """

    features: int

    @nn.compact
    def __call__(self, x: Images) -> Images:
        shape = (4, 4, x.shape[-1], self.features)
        return double(x, self.param("kernel", nn.initializers.normal(0.02), shape))


class Expand(nn.Module):
    """``expand`` with kernel and bias.

    Attributes:
      features: O.
      size: H = W.
    """

    features: int
    size: int

    @nn.compact
    def __call__(self, z: Array) -> Images:
        shape = (self.size, self.size, z.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.normal(0.02), shape)
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        return expand(z, kernel) + bias


def _folds(x: Images, kernel: Array, strides: Sequence[int], padding: Pads) -> bool:
    """Whether a convolution is 4x4, stride 2, padding 1, with few output positions."""
    shape = (kernel.shape[:2], tuple(strides), tuple(map(tuple, padding)))
    fits = shape == ((4, 4), (2, 2), ((1, 1), (1, 1)))
    even = x.shape[1] % 2 == 0 and x.shape[2] % 2 == 0
    return fits and even and x.shape[1] * x.shape[2] <= 4 * FOLDED


def _folded(x: Images, kernel: Array, precision: Any = None) -> Images:
    """4x4, stride 2, padding 1: each 2x2 pixels become channels of one."""
    batch, height, width, channels = x.shape
    rows, columns = height // 2 + 1, width // 2 + 1
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    blocks = padded.reshape(batch, rows, 2, columns, 2, channels)
    blocks = blocks.transpose(0, 1, 3, 2, 4, 5).reshape(batch, rows, columns, -1)
    parts = kernel.reshape(2, 2, 2, 2, channels, -1).transpose(0, 2, 1, 3, 4, 5)
    return _windows(blocks, parts.reshape(-1, kernel.shape[-1]), precision)


def _sorted(x: Images, kernel: Array) -> Images:
    batch, height, width, channels = x.shape
    features = kernel.shape[-1]
    parts = kernel.reshape(2, 2, 2, 2, channels, features).transpose(0, 2, 4, 1, 3, 5)
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    products = _windows(padded, parts.reshape(4 * channels, 4 * features))
    products = products.reshape(batch, height + 1, width + 1, 2, 2, features)
    rows = [
        jnp.stack(
            [products[:, i : i + height, j : j + width, i, j] for j in (0, 1)], axis=3
        )
        for i in (0, 1)
    ]
    return jnp.stack(rows, axis=2).reshape(batch, 2 * height, 2 * width, features)


def _transposed(x: Images, kernel: Array) -> Images:
    dimensions = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_transpose(
        jnp.asarray(x),
        jnp.asarray(kernel),
        (2, 2),
        "SAME",
        dimension_numbers=dimensions,
    )


def _windows(x: Images, kernel: Array, precision: Any = None) -> Images:
    """Convolution of all 2x2 windows as one product; kernel (4 C, O)."""
    rows, columns = x.shape[1] - 1, x.shape[2] - 1
    windows = [x[:, i : i + rows, j : j + columns] for i in (0, 1) for j in (0, 1)]
    return jnp.matmul(jnp.concatenate(windows, axis=-1), kernel, precision=precision)
