"""What a run interprets: a network of another run, a pretrained one, or its own."""

import math
from pathlib import Path

from iin_jax.files.json_files import read_description
from iin_jax.files.paths import local_path
from iin_jax.networks import Network, load, load_network
from iin_jax.runs.differences import as_json, differences, differences_in_images
from iin_jax.runs.folder import CONFIG, DATA
from iin_jax.runs.network_training import train_autoencoder, train_classifier
from iin_jax.runs.run import Run
from iin_jax.runs.settings import Experiment
from iin_jax.weights.descriptions import described_by


def make_network(run: Run) -> Network:
    """Takes the network of a finished run, loads a pretrained one, or trains one."""
    settings = run.experiment.network
    if settings.from_run is not None:
        return reused_network(run, local_path(settings.from_run))
    if settings.kind == "pretrained":
        return pretrained_network(run.experiment)
    if settings.kind == "autoencoder":
        return train_autoencoder(run)
    return train_classifier(run)


def reused_network(run: Run, folder: Path) -> Network:
    """The network of another finished run, if none of our test images trained it.

    Raises:
      ValueError: no network there, a run on other data or another split, or latents of
        another size than the settings say.
    """
    network = network_of_run(run, folder)
    dim = math.prod(network.latent_shape)
    if dim != run.experiment.network.latent_dim:
        raise ValueError(
            f"the network of {folder} has latents of {dim} numbers; set "
            f"--network.latent-dim {dim}"
        )
    return network


def network_of_run(run: Run, folder: Path) -> Network:
    """The network of another finished run on the same images in the same split.

    Raises:
      ValueError: no network there, or a run on other data or another split.
    """
    network = load_network(folder / "network")
    settings = read_description(folder / CONFIG)
    with described_by(folder / CONFIG):
        lines = differences_in_images(settings["experiment"], as_json(run.experiment))
    if not lines:
        found = read_description(folder / DATA).get("digest")
        dataset = run.images.dataset
        # a network trained on these pictures before they were stylised will do
        if found != dataset.origin:
            lines = differences(found, dataset.digest, "digest of data")
    if lines:
        raise ValueError(
            f"the network of {folder} was trained on other images "
            f"({'; '.join(lines)}), perhaps on this run's test images"
        )
    return network


def pretrained_network(experiment: Experiment) -> Network:
    """The pretrained network that the settings name, cut at their layer.

    Raises:
      ValueError: no such network, layer or weights, or another number of latent
        dimensions than the settings say.
    """
    settings, size = experiment.network, experiment.data.image_size
    network = load(
        settings.name,
        settings.weights,
        settings.layer,
        image_size=size,
        download=settings.download,
    )
    dim = math.prod(network.latent_shape)
    if dim != settings.latent_dim:
        raise ValueError(
            f"layer {network.layer} of {settings.name} at {size} pixels has {dim} "
            f"numbers {network.latent_shape}; set --network.latent-dim {dim}"
        )
    return network
