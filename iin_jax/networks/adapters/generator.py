"""A generator without an encoder as a ``Network``: E searches for the latent."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from iin_jax.networks.base import Network
from iin_jax.types import Array, Images, Latents, Tree

GUESSED = 2048  # draws that the first guess is fitted to
RIDGE = 1e-3  # penalty of that regression, over the mean square of the pixels
PRIOR = 1e-4  # weight of |z|^2 / N beside the mean squared error of the pixels
DRAWN = 256  # images that are drawn at once


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class GeneratorNetwork(Network):
    """A generator whose encoder is a search; see ``from_generator``.

    Attributes:
      decoder: G.
      dim: N.
      image_shape: (H, W, C) of one image.
      steps, rate: of the search.
    """

    decoder: Callable[[Any, Latents], Images]
    variables: Tree
    dim: int
    image_shape: tuple[int, int, int]
    steps: int
    rate: float

    architecture = "generator"
    output = "images"

    @property
    def channels(self) -> int:
        return self.image_shape[2]

    @property
    def image_size(self) -> tuple[int, int]:
        return self.image_shape[:2]

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.dim,)

    def decode_pure(self, variables: Tree, z: Latents) -> Images:
        return self.decoder(variables["generator"], z)

    def encode_pure(self, variables: Tree, images: Images) -> Latents:
        tx = optax.adam(optax.cosine_decay_schedule(self.rate, self.steps))

        def loss(z: Latents) -> Array:
            error = jnp.square(self.decode_pure(variables, z) - images)
            # sums over images, so that each is searched for on its own
            return error.mean((1, 2, 3)).sum() + PRIOR * jnp.square(z).mean(1).sum()

        def step(_: int, state: tuple[Latents, Any]) -> tuple[Latents, Any]:
            z, memory = state
            change, memory = tx.update(jax.grad(loss)(z), memory)
            return z + jnp.asarray(change), memory

        guess = variables["guess"]
        z = images.reshape(len(images), -1) @ guess["weights"] + guess["bias"]
        return jax.lax.fori_loop(0, self.steps, step, (z, tx.init(z)))[0]

    def draw(self, count: int, seed: int = 0) -> tuple[Latents, Images]:
        """Latents from the prior N(0, 1), (count, N), and what G makes of them.

        Args:
          count: at least 1.
          seed: of the draw.
        """
        z = jax.random.normal(jax.random.key(seed), (count, self.dim))
        parts = [self.decode(z[k : k + DRAWN]) for k in range(0, count, DRAWN)]
        return z, jnp.concatenate(parts)


def from_generator(
    decode: Callable[[Any, Latents], Images],
    dim: int,
    variables: Mapping[str, Any],
    *,
    image_shape: tuple[int, int, int],
    steps: int = 200,
    rate: float = 0.05,
    seed: int = 0,
) -> GeneratorNetwork:
    """A generator without an encoder, as a GAN has it, as a network.

    ``network.draw(count, seed)`` gives latents and images whose latents are known. Of
    these are concepts that a function tells from the images: ``interpret(network,
    images, labels, latents=z)``. E of any other image, as of one that was stylised,
    searches for its latent: a linear guess, then gradient steps on the squared error of
    the pixels. What G cannot make is then replaced by what it can.

    Args:
      decode: G, ``(variables, z (B, N)) -> images (B, H, W, C) in [-1, 1]``; pure.
      dim: N; z is standard normal.
      variables: what ``decode`` gets as its first argument.
      image_shape: (H, W, C) of one image.
      steps: of the search; 0: the guess alone.
      rate: of the search, in standard deviations of z.
      seed: of the draws that the guess is fitted to.

    Raises:
      ValueError: dim below 1, or a function that gives no such images.
    """
    if dim < 1:
        raise ValueError(f"a generator needs a dim of at least 1; got {dim}")
    z = jax.ShapeDtypeStruct((2, dim), "float32")
    made = jax.eval_shape(decode, variables, z)
    if getattr(made, "shape", None) != (2, *image_shape):
        raise ValueError(
            f"for z {(2, dim)} the generator gives {getattr(made, 'shape', made)}; "
            f"expected images {(2, *image_shape)}"
        )
    arrays = {"generator": variables, "guess": _nothing(dim, image_shape)}
    network = GeneratorNetwork(decode, arrays, dim, image_shape, steps, rate)
    drawn = network.draw(GUESSED, seed)
    return dataclasses.replace(
        network, variables={**arrays, "guess": _guess(*map(np.asarray, drawn))}
    )


def _nothing(dim: int, image_shape: tuple[int, int, int]) -> dict[str, Array]:
    return {
        "weights": jnp.zeros((int(np.prod(image_shape)), dim)),
        "bias": jnp.zeros(dim),
    }


def _guess(z: np.ndarray, images: np.ndarray) -> dict[str, Array]:
    """A ridge regression of latents on pixels, in its dual form."""
    x = images.reshape(len(images), -1).astype(np.float64)
    mean = x.mean(axis=0)
    x = x - mean
    gram = x @ x.T
    penalty = RIDGE * np.trace(gram) / len(gram)
    dual = np.linalg.solve(gram + penalty * np.eye(len(gram)), z - z.mean(axis=0))
    weights = x.T @ dual
    bias = z.mean(axis=0) - mean @ weights
    return {
        "weights": jnp.asarray(weights, jnp.float32),
        "bias": jnp.asarray(bias, jnp.float32),
    }
