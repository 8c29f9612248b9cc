"""Where the flow's latents come from if the network runs inside the training step."""

import functools

import jax.numpy as jnp
import numpy as np

from iin_jax.concepts.base import PairDraw
from iin_jax.data import ImageSet, StepStream, StoredImages
from iin_jax.runs.run import Run
from iin_jax.training.encoded_draws import (
    EncodedImages,
    PairImages,
    draw_encoded,
    draw_streamed,
    pair_indices,
    sample_indices,
)
from iin_jax.training.image_draws import EntryImages, entry_images
from iin_jax.training.parallel import Feed
from iin_jax.types import Indices


def encoded_feed(run: Run, table: PairDraw | None) -> Feed:
    """The training entries, distorted anew at every use, encoded in the step.

    Images in memory live on the device; stored ones are read for every step.
    """
    images, network = run.images.train_set, run.network
    augment, background = run.experiment.latents.augment, run.images.view.background
    prepare = functools.partial(entry_images, augment, background)
    if not isinstance(images.variants, StoredImages):
        data = EncodedImages(network.variables, _entries(images), table)
        return Feed(functools.partial(draw_encoded, network, prepare), data)
    data = EncodedImages(network.variables, None, table)
    draw = functools.partial(draw_streamed, network, prepare)
    numbers = (run.experiment.seed, run.experiment.train.batch_size)
    if table is None:
        single = sample_indices(len(images), *numbers)
        return Feed(draw, data, StepStream(lambda step: _read(images, single(step))))
    paired = pair_indices(table, *numbers)

    def read(step: int) -> PairImages:
        index_a, index_b = paired(step)
        return PairImages(_read(images, index_a), _read(images, index_b))

    return Feed(draw, data, StepStream(read))


def _entries(images: ImageSet) -> EntryImages:
    """All entries, for the device; the pictures of each variant once."""
    pictures = jnp.asarray(images.variants[:])
    rgb = None if images.colors is None else jnp.asarray(images.rgb)
    return EntryImages(jnp.asarray(images.variant), rgb, pictures)


def _read(images: ImageSet, entries: Indices) -> EntryImages:
    """Some entries, read from where they are stored: row i is entry ``entries[i]``."""
    entries = np.asarray(entries)
    rgb = None if images.colors is None else images.rgb[entries]
    pictures = images.variants[images.variant[entries]]
    return EntryImages(np.arange(len(entries)), rgb, pictures)
