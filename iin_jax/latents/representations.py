"""What a layer of a network makes of images, in few numbers."""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np

from iin_jax.latents.batches import mapped
from iin_jax.networks import Network
from iin_jax.types import Array, Images

CONTEXT = 64  # most numbers of a context
EXPLAINED = 0.999  # share of a representation's variance that a context keeps
FITTED = 2000  # most images behind the principal components of a context


@dataclasses.dataclass(frozen=True, eq=False)
class Context:
    """A representation in few numbers: its leading principal components.

    Attributes:
      mean: (R,), of the representation.
      axes: (R, M), principal directions over their deviations.
    """

    mean: np.ndarray
    axes: np.ndarray

    def __call__(self, representation: Array) -> Array:
        """(n, R) -> (n, M), each component of deviation 1."""
        return (jnp.asarray(representation) - self.mean) @ self.axes


def representation(network: Network, layer: str, images: Images) -> Array:
    """images (B, H, W, C) in [-1, 1] -> the output of a layer, flat, (B, R)."""
    return mapped(functools.partial(_flat, network, layer), images)


def context_of(
    network: Network, layer: str, images: Images, seed: int
) -> tuple[Context, np.ndarray]:
    """The context of a layer, and its values for images.

    Principal components that explain 99.9 % of the variance, 64 at most, of 2,000
    images at most; one batch is in memory at a time.

    Args:
      network: what the layer is of.
      layer: one of its layers.
      images: (n, H, W, C) in [-1, 1].
      seed: of the choice of images and the approximate components.

    Returns:
      The context, and (n, M).

    Raises:
      ValueError: an unknown layer, outputs that change from call to call, or none that
        varies among images.
    """
    rng = np.random.default_rng([seed, 0xC07])
    rows = np.sort(rng.permutation(len(images))[:FITTED])
    sample = np.asarray(representation(network, layer, images[rows]))
    _check_repeatable(network, layer, images[rows], sample)
    context = _principal(sample, layer, seed)

    def values(part: Images) -> Array:
        return context(_flat(network, layer, part))

    return context, np.asarray(mapped(values, images))


def _flat(network: Network, layer: str, images: Images) -> Array:
    return network.features(images, [layer])[layer].reshape(len(images), -1)


def _check_repeatable(
    network: Network, layer: str, images: Images, found: np.ndarray
) -> None:
    again = np.asarray(_flat(network, layer, images[:2]))
    if not np.allclose(again, found[:2], rtol=1e-2, atol=1e-3 * np.abs(found).max()):
        raise ValueError(
            f"the outputs of layer {layer!r} for the same images change from call to "
            "call: is something random in the classifier?"
        )


def _principal(sample: np.ndarray, layer: str, seed: int) -> Context:
    from sklearn.decomposition import PCA

    if not sample.std(axis=0).max() > 0.0:
        raise ValueError(f"the output of layer {layer!r} is the same for all images")
    count = min(CONTEXT, *sample.shape)
    found = PCA(count, random_state=seed).fit(sample)
    explained = np.cumsum(found.explained_variance_ratio_)
    count = min(int(np.searchsorted(explained, EXPLAINED)) + 1, count)
    deviations = np.sqrt(np.asarray(found.explained_variance_)[:count])
    axes = np.asarray(found.components_)[:count].T / deviations
    return Context(sample.mean(axis=0), axes.astype(np.float32))
