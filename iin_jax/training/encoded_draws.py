"""E inside the jitted step: batches of latents from images, not from a cache.

For augmentation, where no two uses of an image are alike, and for sets whose latents or
images do not fit into memory. The same key draws the same entries and the same noise
as ``draw_cached`` and ``draw_samples`` do.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from iin_jax.concepts.base import PairDraw, uniform_indices
from iin_jax.networks import Network
from iin_jax.training.flow_step import (
    LatentPairs,
    LatentSamples,
    pairs_of,
    samples_of,
)
from iin_jax.training.parallel import Streamed
from iin_jax.types import Array, Images, Indices, Key, Latents, Tree

IMAGE_STREAM = 2**31  # folded into a batch key for image noise; above any example

# (tree of arrays, indices (b,) of entries, keys (b,), one for every image drawn)
# -> images (b, H, W, C) in [-1, 1]
ImagesOf = Callable[[Any, Array, Key], Images]


class EncodedImages(NamedTuple):
    """What E and a draw read.

    Attributes:
      variables: of the network.
      images: uint8 images, or a tree whose first array has the set's entries on its
        first axis; None where a stream brings the batch's.
      table: draws the pairs; None where there are no concepts.
    """

    variables: Tree
    images: Any
    table: PairDraw | None = None


class PairImages(NamedTuple):
    """A stream's batch of pairs: arrays of the halves, first axis the global batch."""

    images_a: Any
    images_b: Any


def draw_encoded(
    network: Network,
    images_of: ImagesOf,
    data: EncodedImages,
    key: Key,
    examples: Array,
) -> LatentPairs | LatentSamples:
    """Draws entries, makes their images and encodes them.

    Args:
      network: static; its own variables are not used.
      images_of: static; makes images of ``data.images``.
      data: with its images.
      key: of the batch.
      examples: (B,), indices in the global batch.

    Returns:
      ``LatentPairs`` if there is a table, else ``LatentSamples``.
    """

    def posterior(index):
        keys = _image_keys(key, examples, halves=len(index) // len(examples))
        return _encode(network, data.variables, images_of(data.images, index, keys))

    if data.table is not None:
        return pairs_of(data.table, key, examples, posterior)
    entries = jax.tree.leaves(data.images)[0].shape[0]
    return samples_of(entries, key, examples, posterior)


def draw_streamed(
    network: Network, images_of: ImagesOf, data: Streamed, key: Key, examples: Array
) -> LatentPairs | LatentSamples:
    """``draw_encoded`` where the host brings the images of the entries drawn.

    Args:
      network: static; its own variables are not used.
      images_of: static; makes images of the batch's arrays.
      data: ``EncodedImages`` without images, and the batch for ``pair_indices`` of this
        step: ``PairImages``; without a table, for ``sample_indices``: arrays with the
        global batch on their first axis.
      key: of the batch.
      examples: (B,), indices in the global batch.
    """
    resident, batch = data.resident, data.batch

    def paired(index):
        keys = _image_keys(key, examples, halves=2).reshape(len(examples), 2)
        halves = [images_of(batch[i], examples, keys[:, i]) for i in range(2)]
        images = jnp.stack(halves, axis=1)
        images = images.reshape(-1, *images.shape[2:])
        return _encode(network, resident.variables, images)

    def single(index):
        images = images_of(batch, examples, _image_keys(key, examples, halves=1))
        return _encode(network, resident.variables, images)

    if resident.table is not None:
        return pairs_of(resident.table, key, examples, paired)
    return samples_of(len(examples), key, examples, single)


def pair_indices(
    table: PairDraw, seed: int, batch_size: int
) -> Callable[[int], tuple[Indices, Indices]]:
    """The entries that a run draws: step -> index_a, index_b, (B,) each, on the host.

    Args:
      table: of the run.
      seed: of the run.
      batch_size: of its global batch.
    """

    @jax.jit
    def draw(table, step):
        pair_key, _ = jax.random.split(jax.random.fold_in(jax.random.key(seed), step))
        return table.draw(pair_key, jnp.arange(batch_size))[:2]

    def indices(step: int) -> tuple[Indices, Indices]:
        index_a, index_b = draw(table, np.uint32(step))
        return np.asarray(index_a), np.asarray(index_b)

    return indices


def sample_indices(
    entries: int, seed: int, batch_size: int
) -> Callable[[int], Indices]:
    """``pair_indices`` for single latents of ``entries`` entries: step -> (B,)."""

    @jax.jit
    def draw(step):
        index_key, _ = jax.random.split(jax.random.fold_in(jax.random.key(seed), step))
        return uniform_indices(entries, index_key, jnp.arange(batch_size))

    return lambda step: np.asarray(draw(np.uint32(step)))


def _image_keys(key: Key, examples: Array, *, halves: int) -> Key:
    """One key for every image of a batch, (B * halves,), whatever devices divide it."""
    image_key = jax.random.fold_in(key, IMAGE_STREAM)

    def keys_of(example):
        return jax.random.split(jax.random.fold_in(image_key, example), halves)

    return jax.vmap(keys_of)(examples).reshape(-1)


def _encode(
    network: Network, variables: Tree, images: Images
) -> tuple[Latents, Latents | None]:
    variables, images = jax.lax.stop_gradient((variables, images))
    posterior = network.posterior_pure(variables, images)
    if posterior is None:
        z = network.encode_pure(variables, images).reshape(len(images), -1)
        return jax.lax.stop_gradient(z), None
    return jax.lax.stop_gradient(posterior)
