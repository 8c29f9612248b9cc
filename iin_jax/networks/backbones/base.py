"""Pretrained image networks as chains of named layers, which can be cut anywhere.

A backbone's parameters have the names of the layers in the original, dots included, so
its rename table is short and a layer is found where its author looks for it.
"""

import abc
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from iin_jax.networks.convolution import convolve
from iin_jax.types import Array, Images

Layer = Callable[[Array], Array]


class NothingLeft(ValueError):
    """Images vanish in a layer: they are too small for the network."""


class Backbone(nn.Module):
    """``f``: layers one after the other, each a function of the last one's output.

    A subclass names them in ``chain``. Whatever joins several paths (a residual block,
    a dense block) is one layer, so f may be cut after every layer.
    """

    @abc.abstractmethod
    def chain(self) -> Iterable[tuple[str, Layer]]:
        """(name, layer) in forward order; called inside ``__call__``."""

    def sizes(self, params: Mapping[str, Any]) -> range | None:
        """H = W of the images that parameters fit; None: any.

        Args:
          params: name of the array, in the original or in ours -> array.
        """
        return None

    @nn.compact
    def __call__(
        self, x: Array, *, after: str | None = None, until: str | None = None
    ) -> dict[str, Array]:
        """Outputs of all layers behind ``after``, up to and with ``until``.

        Args:
          x: the output of ``after``, or preprocessed images (B, H, W, C).
          after: None: from the start.
          until: None: to the end.

        Raises:
          NothingLeft: x is too small; says behind which layer nothing is left of it.
        """
        outputs, running = {}, after is None
        for name, layer in self.chain():
            if running:
                x = outputs[name] = layer(x)
                if 0 in x.shape[1:]:
                    raise NothingLeft(f"nothing is left of them after {name}")
            running = running or name == after
            if name == until:
                break
        return outputs


def conv(
    name: str,
    features: int,
    kernel: int | tuple[int, int],
    stride: int = 1,
    padding: int | tuple[int, int] = 0,
    *,
    bias: bool = True,
) -> nn.Conv:
    """A convolution with PyTorch's arguments."""
    size = (kernel, kernel) if isinstance(kernel, int) else kernel
    pads = (padding, padding) if isinstance(padding, int) else padding
    both_sides = [(pad, pad) for pad in pads]
    return nn.Conv(
        features,
        size,
        (stride, stride),
        both_sides,
        use_bias=bias,
        conv_general_dilated=convolve,
        name=name,
    )


class FrozenBatchNorm(nn.Module):
    """Batch normalisation by stored statistics, as one scale and shift per channel.

    The same numbers as ``nn.BatchNorm(use_running_average=True)`` from variables of the
    same names. The barrier keeps XLA on CPUs from fusing the normalisation into the
    matrix product before it, which there costs more than both (ResNet-50, one image on
    two cores: 51 ms, not 84).

    Attributes:
      epsilon: added to the variance.
    """

    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Images) -> Images:
        shape = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones_init(), shape)
        bias = self.param("bias", nn.initializers.zeros_init(), shape)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape).value
        var = self.variable("batch_stats", "var", jnp.ones, shape).value
        factor = scale * jax.lax.rsqrt(var + self.epsilon)
        factor, shift = jax.lax.optimization_barrier((factor, bias - mean * factor))
        return x * factor + shift


def batch_norm(name: str, epsilon: float = 1e-5) -> FrozenBatchNorm:
    """Batch normalisation by the stored statistics."""
    return FrozenBatchNorm(epsilon, name=name)


def max_pool(size: int, stride: int, padding: int = 0, *, ceil: bool = False) -> Layer:
    """Maximum over windows; ``ceil``: a last window that is cut off counts too."""

    def pool(x: Images) -> Images:
        pads: Any = [  # flax's annotation knows names alone
            (padding, padding + (_overhang(n, size, stride, padding) if ceil else 0))
            for n in x.shape[1:3]
        ]
        return nn.max_pool(x, (size, size), (stride, stride), pads)

    return pool


def avg_pool(
    size: int, stride: int, padding: int = 0, *, count_padding: bool = True
) -> Layer:
    """Mean over windows; zeros of the padding count unless ``count_padding`` is off."""

    def pool(x: Images) -> Images:
        pads: Any = [(padding, padding)] * 2
        return nn.avg_pool(
            x, (size, size), (stride, stride), pads, count_include_pad=count_padding
        )

    return pool


def global_mean(x: Images) -> Images:
    """(B, H, W, C) -> (B, 1, 1, C)."""
    return x.mean(axis=(1, 2), keepdims=True)


def adaptive_avg_pool(size: int) -> Layer:
    """(B, H, W, C) -> (B, size, size, C), means over windows that cover the image.

    Window i reaches from ``floor(i H / size)`` to ``ceil((i + 1) H / size)``, as in
    PyTorch; windows may overlap, and repeat pixels of a smaller image.
    """

    def pool(x: Images) -> Images:
        if x.shape[1:3] == (size, size):
            return x
        rows, columns = (_window_means(n, size) for n in x.shape[1:3])
        return jnp.einsum("bhwc,ih,jw->bijc", x, rows, columns, precision="highest")

    return pool


def flatten(x: Images) -> Array:
    """(B, H, W, C) -> (B, C H W), channels first, as PyTorch flattens."""
    return jnp.moveaxis(x, -1, 1).reshape(len(x), -1)


def same(x: Array) -> Array:
    """A second name for the output of the layer before: a stage's last block."""
    return x


def _overhang(n: int, size: int, stride: int, padding: int) -> int:
    padded = n + 2 * padding
    windows = math.ceil((padded - size) / stride) + 1
    if (windows - 1) * stride >= n + padding:  # PyTorch: no window in padding alone
        windows -= 1
    return max(0, (windows - 1) * stride + size - padded)


def _window_means(n: int, size: int) -> np.ndarray:
    weights = np.zeros((size, n), np.float32)
    for i in range(size):
        start, stop = i * n // size, -(-(i + 1) * n // size)
        weights[i, start:stop] = 1.0 / (stop - start)
    return weights
