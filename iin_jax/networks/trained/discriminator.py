"""PatchGAN: a discriminator that judges overlapping patches of an image.

Isola, Zhu, Zhou, Efros, *Image-to-Image Translation with Conditional Adversarial
Networks*, CVPR 2017 (arXiv 1611.07004). Spectral norm: Miyato, Kataoka, Koyama,
Yoshida, ICLR 2018 (arXiv 1802.05957).
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.initializers import normal

from iin_jax.batch import batch_axis
from iin_jax.networks.convolution import convolve
from iin_jax.types import Array, Images

NORMS = ("batch", "spectral")


class Discriminator(nn.Module):
    """Convolutions 4x4 with LeakyReLU 0.2 between them, the last to one logit a patch.

    ``num_layers`` of stride 2, then two of stride 1; channels double from ``base`` up
    to eight times it. Variables: ``params``, and ``batch_stats``, which change in
    training.

    Attributes:
      base: channels after the first convolution.
      num_layers: number of halvings of the image.
      norm: ``"batch"``: batch-norm behind all convolutions but the first and last;
        ``"spectral"``: every kernel divided by its largest singular value instead, as
        one step of power iteration per call knows it.
    """

    base: int = 64
    num_layers: int = 3
    norm: Literal["batch", "spectral"] = "batch"

    @nn.compact
    def __call__(self, images: Images, *, train: bool = True) -> Array:
        """images (B, H, W, C) in [-1, 1], any C -> logits (B, h, w, 1).

        Args:
          images: H and W at least ``3 * 2 ** num_layers``.
          train: normalise by the statistics of the global batch and update the running
            ones; else by the running ones.

        Raises:
          ValueError: an unknown norm, or images that are too small.
        """
        self._check(images)
        x = images
        for level in range(self.num_layers + 1):
            stride = 2 if level < self.num_layers else 1
            normed = self.norm == "batch" and level > 0
            width = self.base * min(2**level, 8)
            x = self._convolve(x, width, stride, not normed, train)
            if normed:
                x = nn.BatchNorm(
                    use_running_average=not train,
                    momentum=0.9,
                    scale_init=_near_one,
                    axis_name=batch_axis(),
                    use_fast_variance=False,
                )(x)
            x = nn.leaky_relu(x, 0.2)
        return self._convolve(x, 1, 1, True, train)

    def _convolve(
        self, x: Array, width: int, stride: int, bias: bool, train: bool
    ) -> Array:
        conv = nn.Conv(
            width,
            (4, 4),
            stride,
            1,
            use_bias=bias,
            kernel_init=normal(0.02),
            conv_general_dilated=convolve,
        )
        if self.norm == "spectral":
            return nn.SpectralNorm(conv)(x, update_stats=train)
        return conv(x)

    def _check(self, images: Images) -> None:
        if self.norm not in NORMS:
            raise ValueError(
                f"a discriminator's norm is one of {list(NORMS)}; got {self.norm!r}"
            )
        least = 3 * 2**self.num_layers
        if images.ndim != 4 or min(images.shape[1:3]) < least:
            raise ValueError(
                f"a discriminator of {self.num_layers} layers takes images "
                f"(B, H, W, C) of at least {least} pixels; got {images.shape}: give it "
                "fewer layers"
            )


def _near_one(key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
    return 1.0 + normal(0.02)(key, shape, dtype)
