"""The style transformer: gives images the style that a vector of 100 numbers names.

Ghiasi, Lee, Kudlur, Dumoulin and Shlens, *Exploring the Structure of a Real-time,
Arbitrary Neural Artistic Stylization Network*, BMVC 2017 (arXiv 1705.06830); here its
small version for browsers, with separable convolutions.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from iin_jax.networks.backbones.base import batch_norm, conv
from iin_jax.types import Array, Images

STYLE = 100  # numbers of a style vector
STRIDE = 4  # sides of images are multiples of it
EPSILON = 1e-5  # added to the variances of a style norm
BATCH_EPSILON = 1e-3  # added to the stored variances of a batch norm
FEW = 4  # most output channels at which a separable convolution is done as one

CONTRACTIONS = ((32, 9, 1), (64, 3, 2), (128, 3, 2))  # channels, window, stride
BLOCKS = 5
EXPANSIONS = ((64, 3, 2), (32, 3, 2), (3, 9, 1))  # channels, window, enlargement


class StyleTransformer(nn.Module):
    """Images and a style to images in that style.

    ``expanded`` alone looks at the style, so whoever fits a style needs ``contracted``
    once.
    """

    def setup(self) -> None:
        self.contract = Contraction()
        self.expand = Expansion()

    def __call__(self, images: Images, style: Array) -> Images:
        """Stylised images, (B, H, W, 3) in [0, 1].

        Args:
          images: (B, H, W, 3), RGB in [0, 1]; H and W are multiples of 4.
          style: (100,), or one per image (B, 100).
        """
        return self.expand(self.contract(images), style)

    def contracted(self, images: Images) -> Array:
        """Features of images, (B, H / 4, W / 4, 128)."""
        return self.contract(images)

    def expanded(self, features: Array, style: Array) -> Images:
        """Stylised images of features, (B, H, W, 3) in [0, 1]."""
        return self.expand(features, style)


class Contraction(nn.Module):
    """Three convolutions with batch norms; two of them halve the sides."""

    @nn.compact
    def __call__(self, x: Images) -> Array:
        """(B, H, W, 3) -> (B, H / 4, W / 4, 128)."""
        for number, (channels, window, stride) in enumerate(CONTRACTIONS, start=1):
            name = f"conv{number}"
            x = conv(name, channels, window, stride, window // 2, bias=False)(x)
            x = nn.relu(batch_norm(f"norm{number}", BATCH_EPSILON)(x))
        return x


class Expansion(nn.Module):
    """Five residual blocks, then three convolutions; two of them double the sides."""

    @nn.compact
    def __call__(self, x: Array, style: Array) -> Images:
        """(B, H / 4, W / 4, 128) -> (B, H, W, 3) in [0, 1]."""
        channels = x.shape[-1]
        for number in range(1, BLOCKS + 1):
            name = f"residual{number}_conv"
            change = nn.relu(StyledConv(channels, 3, name=f"{name}1")(x, style))
            x = x + StyledConv(channels, 3, name=f"{name}2")(change, style)
        for number, (channels, window, enlargement) in enumerate(EXPANSIONS, start=1):
            x = x.repeat(enlargement, axis=1).repeat(enlargement, axis=2)
            x = StyledConv(channels, window, name=f"conv{number}")(x, style)
            x = nn.relu(x) if number < len(EXPANSIONS) else nn.sigmoid(x)
        return x


class StyledConv(nn.Module):
    """A separable convolution that keeps the sides, then a style norm.

    Attributes:
      features: channels of the output.
      window: its side, odd.
    """

    features: int
    window: int

    @nn.compact
    def __call__(self, x: Images, style: Array) -> Images:
        """(B, H, W, C) -> (B, H, W, features)."""
        channels, init = x.shape[-1], nn.initializers.lecun_normal()
        size = (self.window, self.window, channels, 1)
        depthwise = self.param("depthwise", init, size)
        pointwise = self.param("pointwise", init, (1, 1, channels, self.features))
        return StyleNorm(name="norm")(separable(x, depthwise, pointwise), style)


class StyleNorm(nn.Module):
    """Instance normalisation; its scale and shift are linear in the style."""

    @nn.compact
    def __call__(self, x: Images, style: Array) -> Images:
        """(B, H, W, C) -> (B, H, W, C)."""
        scale = nn.Dense(x.shape[-1], name="scale")(style)[..., None, None, :]
        shift = nn.Dense(x.shape[-1], name="shift")(style)[..., None, None, :]
        mean = x.mean(axis=(1, 2), keepdims=True)
        variance = jnp.square(x - mean).mean(axis=(1, 2), keepdims=True)
        return (x - mean) * (jax.lax.rsqrt(variance + EPSILON) * scale) + shift


def separable(x: Images, depthwise: Array, pointwise: Array) -> Images:
    """A convolution of each channel, then one of each pixel; zeros around images.

    XLA on CPUs takes 14 to 40 times as long for a convolution of each channel as for
    the sum of shifted images that it is (two cores: 3x3, 128 channels, 8 images of 64
    pixels, 224 ms against 5).

    Args:
      x: (B, H, W, C).
      depthwise: (k, k, C, 1), k odd.
      pointwise: (1, 1, C, O).
    """
    size, half = depthwise.shape[0], depthwise.shape[0] // 2
    pads = [(half, half), (half, half)]
    names = ("NHWC", "HWIO", "NHWC")
    if pointwise.shape[-1] <= FEW:  # fewer products than one window per channel
        kernel = jnp.asarray(depthwise * pointwise)
        return jax.lax.conv_general_dilated(
            jnp.asarray(x), kernel, (1, 1), pads, dimension_numbers=names
        )

    def shifted(x: jax.Array, depthwise: jax.Array) -> jax.Array:
        (height, width), padded = x.shape[1:3], jnp.pad(x, ((0, 0), *pads, (0, 0)))
        parts = [
            padded[:, i : i + height, j : j + width] * depthwise[i, j, :, 0]
            for i in range(size)
            for j in range(size)
        ]
        return sum(parts[1:], parts[0])

    def grouped(x: jax.Array, depthwise: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(
            x,
            jnp.swapaxes(depthwise, 2, 3),
            (1, 1),
            pads,
            dimension_numbers=names,
            feature_group_count=x.shape[-1],
        )

    x = jax.lax.platform_dependent(x, depthwise, cpu=shifted, default=grouped)
    return x @ pointwise[0, 0]
