"""Images that are made in the flow's training step: those of the set itself."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from iin_jax.data import Affine, StoredImages, colored_set, palette
from iin_jax.networks import from_functions
from iin_jax.runs import configs
from iin_jax.runs.feeds import encoded_feed
from iin_jax.runs.run import Run
from iin_jax.runs.settings import DataSettings, LatentSettings
from iin_jax.training.encoded_draws import pair_indices, sample_indices
from iin_jax.training.parallel import Streamed

SIZE, STEP = 16, 3


@pytest.fixture
def run(tmp_path):
    """Digits in the authors' colours; z is the image itself."""
    experiment = dataclasses.replace(
        configs.find("digits").experiment,
        data=DataSettings(image_size=SIZE, coloring="negative"),
        latents=LatentSettings(mode="stream"),
    )
    run = Run.of("digits", experiment, tmp_path, "")
    vars(run.folder)["network"] = from_functions(
        lambda w, x: x * w,
        lambda w, z: z * w,
        jnp.float32(1.0),
        image_shape=(SIZE, SIZE, 3),
    )
    return run


def colored(run, augment):
    """Two versions of each of 50 digits, in three of 20 colours each."""
    images = colored_set(
        run.images.dataset.images,
        np.arange(0, 500, 10),
        palette(20),
        copies=3,
        variants=2,
        augment=augment,
        background=run.images.view.background,
    )
    return dataclasses.replace(images, item_labels=run.images.view.labels)


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("stored", [True, False])
def test_a_batch_shows_the_images_of_the_set(run, stored, paired):
    images = colored(run, None if stored else Affine(degrees=20.0, shift=0.1))
    shown = images
    if stored:
        pictures = images.variants
        kept = StoredImages(pictures.shape, lambda index: pictures[index], "")
        shown = dataclasses.replace(images, variants=kept)
    vars(run.images)["train_set"] = shown
    table = run.concepts.source(shown).draws() if paired else None
    feed = encoded_feed(run, table)
    assert (feed.stream is not None) == stored
    data = feed.data
    if feed.stream is not None:
        data = Streamed(data, jax.tree.map(jnp.asarray, feed.stream.read(STEP)))
    seed, count = run.experiment.seed, run.experiment.train.batch_size
    key = jax.random.fold_in(jax.random.key(seed), STEP)
    batch = jax.jit(feed.draw)(data, key, jnp.arange(count))
    if table is None:
        halves = [(sample_indices(len(images), seed, count)(STEP), batch.z)]
    else:
        index_a, index_b = pair_indices(table, seed, count)(STEP)
        halves = [(index_a, batch.z_a), (index_b, batch.z_b)]
    for index, z in halves:
        made = np.asarray(z).reshape(count, SIZE, SIZE, 3)
        np.testing.assert_allclose(made, images.images(index), atol=1e-6)
        assert len(np.unique(images.variant[index])) > 1
        # by definition: where there is no ink, the colour's negative
        levels = images.variants[images.variant[index]] / 127.5 - 1.0
        rgb = images.rgb[index][:, None, None]
        np.testing.assert_allclose(made, levels * rgb, atol=1e-6)
