"""Flows that show what layers of a run's classifier no longer distinguish."""

import jax
import numpy as np

import iin_jax
from iin_jax.analysis.invariance import GRIDS
from iin_jax.files.paths import local_path
from iin_jax.invariances import Invariances
from iin_jax.networks import Network
from iin_jax.runs.networks import network_of_run
from iin_jax.runs.run import Run

LAYERS = 3  # most layers that get a flow
MOST_IMAGES = 40_000  # training images behind each flow
MOST_STEPS = 1500  # most training steps of each flow, which has no more than T
SHOWN, SAMPLES = 6, 6  # images in a grid, and samples per image


def autoencoder_of(run: Run) -> Network | None:
    """The autoencoder that the settings name; None: they name none.

    Raises:
      ValueError: no finished run there, one on other images or another split, or one
        whose network puts out no images.
    """
    folder = run.experiment.evaluate.invariances
    if folder is None:
        return None
    network = network_of_run(run, local_path(folder))
    if network.output != "images":
        raise ValueError(
            f"evaluate.invariances is a run whose network puts out images; that of "
            f"{folder} is of kind {network.architecture}"
        )
    return network


def learned_invariances(run: Run) -> dict[str, Invariances]:
    """Layer -> its invariances, learned on training images or read if they were.

    Three layers are looked at: the first, one in the middle, and that of the latent.
    """
    autoencoder = autoencoder_of(run)
    if autoencoder is None:
        return {}
    images, learned, seed = None, {}, run.experiment.seed
    steps = min(run.experiment.train.steps or MOST_STEPS, MOST_STEPS)
    for layer in chosen_layers(run.network):
        folder = run.folder.path / "invariances" / layer
        if folder.is_dir():
            try:
                learned[layer] = Invariances.load(folder, autoencoder, run.network)
                continue
            except ValueError as error:
                print(f"invariances of {layer} are learned again: {error}")
        if images is None:
            images = _training_images(run)
        print(f"what layer {layer} no longer distinguishes")
        learned[layer] = iin_jax.invariances(
            autoencoder, run.network, layer, images, steps=steps, seed=seed
        )
        learned[layer].save(folder)
    return learned


def invariance_grids(run: Run) -> dict[str, tuple[str, np.ndarray]]:
    """Pictures for a report: test images, reconstructions, samples under each layer."""
    learned = learned_invariances(run)
    if not learned:
        return {}
    test, grids = run.images.test_set, {}
    rng = np.random.default_rng([run.experiment.seed, 0x1F4])
    images = test.images(rng.permutation(len(test))[:SHOWN])
    key = jax.random.key(run.experiment.seed)
    for layer, invariances in learned.items():
        samples = invariances.sample(images, key, SAMPLES)
        columns = [images, invariances.reconstructed(images), *samples]
        title = f"{layer}: image, reconstruction, {SAMPLES} samples"
        cells = np.stack([np.asarray(x) for x in columns], axis=1)
        grids[f"{GRIDS}{layer}"] = (title, cells)
    return grids


def chosen_layers(network: Network) -> list[str]:
    """The first layer, one in the middle, and the one of the cut."""
    names = list(network.layers())
    names = names[: names.index(network.cut) + 1]
    rows = np.linspace(0, len(names) - 1, min(LAYERS, len(names)))
    return [names[row] for row in rows.round().astype(int)]


def _training_images(run: Run) -> np.ndarray:
    entries = run.latents.images("train")
    rng = np.random.default_rng([run.experiment.seed, 0x1F5])
    rows = np.sort(rng.permutation(len(entries))[:MOST_IMAGES])
    return np.asarray(entries.images(rows))
