"""What can fail at once does so before a run records its settings."""

import jax
import numpy as np

from iin_jax.data import ImageSet, known_rows
from iin_jax.factors import RESIDUAL
from iin_jax.files.paths import local_path
from iin_jax.networks import load
from iin_jax.runs.conditions import check
from iin_jax.runs.flow import check_takes
from iin_jax.runs.invariances import autoencoder_of
from iin_jax.runs.network_training import load_perceptual
from iin_jax.runs.networks import pretrained_network, reused_network
from iin_jax.runs.run import Run

RESERVED = (RESIDUAL, "z", "pca")  # other rows of the scorecard's tables
LEAST_TEST_IMAGES = 2


def check_new(run: Run) -> None:
    """Raises ValueError for settings, networks, data or concepts that do not work."""
    check(run.experiment, len(jax.devices()))
    _check_networks(run)
    check_images(run)


def _check_networks(run: Run) -> None:
    settings, distance = run.experiment.network, run.experiment.evaluate.distance
    if settings.from_run is not None:
        reused = reused_network(run, local_path(settings.from_run))
        check_takes(run.experiment, reused.latent_shape)
        if distance != "none" and reused.output != "images":
            raise ValueError(
                f"evaluate.distance compares pictures; the {reused.architecture} of "
                f"{settings.from_run} makes none: set --evaluate.distance none"
            )
    elif settings.kind == "pretrained":
        pretrained = pretrained_network(run.experiment)
        check_takes(run.experiment, pretrained.latent_shape)
    elif settings.kind == "autoencoder":
        load_perceptual(settings)
    autoencoder_of(run)
    if distance != "none":
        load(distance, download=settings.download)


def check_images(run: Run) -> None:
    """Raises ValueError for data or concepts that could only fail later."""
    images, concepts = run.images, run.concepts
    if images.painted and images.dataset.images.shape[-1] != 1:
        raise ValueError(
            f"{images.dataset.name} has colours already: set --data.coloring none"
        )
    for name in concepts.attributes:
        _check_attribute(run, name)
    found = len(images.splits["test"])
    if found < LEAST_TEST_IMAGES:
        raise ValueError(
            f"a report needs at least two test images; there is {found}: set "
            "--data.test or --data.limit higher"
        )
    _ = images.train_set, images.validation_set, images.test_set
    if concepts.names:
        _check_pairs(run)
        concepts.swap_items()
    if run.experiment.network.kind == "classifier":
        _ = concepts.classified


def _check_attribute(run: Run, name: str) -> None:
    """Judges and probes need two values to learn from, and one to be tested on."""
    labels = run.images.view.labels
    if name not in labels:
        return
    if name in RESERVED:
        raise ValueError(f"no attribute can be called {name!r}: rename that column")
    for split, least in (("train", 2), ("test", 1)):
        values = labels[name][run.images.splits[split]]
        known = np.unique(np.ma.getdata(values)[known_rows(values)])
        if len(known) < least:
            raise ValueError(
                f"attribute {name!r} has {len(known)} known values among the "
                f"{len(values)} {split} images, but {least} are needed: choose "
                "others with --concept.names, or another --seed"
            )


def _check_pairs(run: Run) -> None:
    """All that is paired later, in training or for estimates, can be."""
    images, count = run.images, run.experiment.concept.score_pairs
    try:
        for entries in (images.train_set, images.validation_set):
            _say_who_is_alone(run, entries)
        run.concepts.pairs(images.validation_set, count)
        run.concepts.pairs(images.paired_test_set, count)
    except ValueError as error:
        raise ValueError(f"{error} (--concept.names chooses the attributes)") from error


def _say_who_is_alone(run: Run, images: ImageSet) -> None:
    source = run.concepts.source(images)
    for name, alone in ({} if source is None else source.alone).items():
        print(f"{name}: {alone} of {len(images)} entries have no partner")
