"""The published variational autoencoder, at any size (paper, supplement)."""

import functools

import flax.linen as nn
import jax.numpy as jnp
from flax.linen.initializers import normal, zeros_init

from iin_jax.flows import ActNorm
from iin_jax.linen import apply
from iin_jax.networks.base import ModuleNetwork
from iin_jax.networks.convolution import Double, Expand, convolve, double
from iin_jax.types import Array, Images, Latents, Tree

LOG_VAR_RANGE = (-30.0, 10.0)
LAST_INPUTS = "last_inputs"  # name under which the decoder's last layer shows its input


def layer_widths(base: int, num_down: int) -> list[int]:
    """Channels after each down-sampling layer: base, 2 base, 4 base, ... 16 base."""
    return [base * min(2**level, 16) for level in range(num_down)]


class Encoder(nn.Module):
    """``num_down`` x [conv 4x4 stride 2, ActNorm, LeakyReLU 0.2], then a dense layer.

    Attributes:
      out_dim: numbers per image.
      num_down: number of halvings of the image.
      base: channels after the first halving.
    """

    out_dim: int
    num_down: int
    base: int

    @nn.compact
    def __call__(
        self, images: Images, after: int = 0, until: int | None = None
    ) -> Array:
        """From behind one halving to behind another.

        Args:
          images: (B, H, W, C), or what came out behind ``after`` halvings.
          after: halvings that are done.
          until: halvings after which to stop; None: go on to the numbers (B, out_dim).
        """
        x = images
        widths = enumerate(layer_widths(self.base, self.num_down))
        for level, width in list(widths)[after:until]:
            conv = _conv(
                width, (4, 4), 2, padding=1, use_bias=False, name=f"Conv_{level}"
            )
            x = ActNorm(name=f"ActNorm_{level}")(conv(x))[0]
            x = nn.leaky_relu(x, 0.2)
        if until is not None:
            return x
        name = f"Conv_{self.num_down}"
        return _conv(self.out_dim, x.shape[1:3], padding=0, name=name)(x)[:, 0, 0]


_conv = functools.partial(
    nn.Conv, kernel_init=normal(0.02), conv_general_dilated=convolve
)


class Decoder(nn.Module):
    """The mirrored encoder: dense layer, transposed convolutions, tanh.

    Attributes:
      image_size: H = W of the images.
      channels, num_down, base: as in ``Encoder``.
    """

    image_size: int
    channels: int
    num_down: int
    base: int

    @nn.compact
    def __call__(self, z: Latents) -> Images:
        *widths, last = layer_widths(self.base, self.num_down)
        size = self.image_size // 2**self.num_down
        x = Expand(last, size, name="ConvTranspose_0")(z)
        for number, width in enumerate(reversed(widths), start=1):
            x = Double(width, name=f"ConvTranspose_{number}")(x)
            x = nn.leaky_relu(ActNorm()(x)[0], 0.2)
        self.sow("intermediates", LAST_INPUTS, x)  # kept only where asked for
        return jnp.tanh(Double(self.channels, name=_last(self.num_down))(x))


def _last(num_down: int) -> str:
    """Name of the decoder's last layer among its parameters."""
    return f"ConvTranspose_{num_down}"


class Autoencoder(nn.Module):
    """Variational autoencoder with a learned scale of its reconstruction error.

    Attributes:
      latent_dim: N.
      image_size: H = W, a multiple of ``2 ** num_down``.
      channels: C.
      num_down: number of down-sampling layers.
      base: channels after the first down-sampling layer.
    """

    latent_dim: int = 64
    image_size: int = 32
    channels: int = 3
    num_down: int = 4
    base: int = 64

    def setup(self):
        if self.image_size % 2**self.num_down or self.image_size < 2**self.num_down:
            raise ValueError(
                f"image_size {self.image_size} must be a multiple of 2 ** num_down = "
                f"{2**self.num_down}"
            )
        shape = (self.num_down, self.base)
        self.encoder = Encoder(2 * self.latent_dim, *shape)
        self.decoder = Decoder(self.image_size, self.channels, *shape)
        self.log_scale = self.param("log_scale", zeros_init(), ())

    def posterior(self, images: Images) -> tuple[Latents, Latents]:
        """images (B, H, W, C) in [-1, 1] -> mean, log-variance, (B, N) each."""
        mean, log_var = jnp.split(self.encoder(images), 2, axis=-1)
        return mean, jnp.clip(log_var, *LOG_VAR_RANGE)

    def decode(self, z: Latents) -> Images:
        """z (B, N) -> images (B, H, W, C) in [-1, 1]."""
        return self.decoder(z)

    def __call__(self, images: Images, noise: Latents):
        """Returns reconstructions of ``mean + std * noise``, mean, log_var, gamma."""
        mean, log_var = self.posterior(images)
        z = mean + jnp.exp(0.5 * log_var) * noise
        return self.decode(z), mean, log_var, self.log_scale


def apply_with_last_inputs(
    module: Autoencoder, params: Tree, images: Images, noise: Latents
) -> tuple[tuple[Images, Latents, Latents, Array], Array]:
    """``module``'s outputs, and what goes into the decoder's last layer."""
    outputs, sown = apply(
        module, {"params": params}, images, noise, mutable=["intermediates"]
    )
    return outputs, sown["intermediates"]["decoder"][LAST_INPUTS][0]


def last_kernel(module: Autoencoder, params: Tree) -> Array:
    """The only parameter of the decoder's last layer."""
    return params["decoder"][_last(module.num_down)]["kernel"]


def last_layer(module: Autoencoder, kernel: Array, inputs: Array) -> Images:
    """The decoder's last layer alone: its kernel and its inputs -> images."""
    return jnp.tanh(double(inputs, kernel))


class AutoencoderNetwork(ModuleNetwork):
    """A trained ``Autoencoder``, cut at its latent; z is a posterior's mean."""

    module_class = Autoencoder
    architecture = "autoencoder"
    output = "images"

    def encode_pure(self, variables: Tree, images: Images) -> Latents:
        return self.posterior_pure(variables, images)[0]

    def posterior_pure(self, variables: Tree, images: Images):
        return apply(self.module, variables, images, method="posterior")
