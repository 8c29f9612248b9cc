"""Conditions between settings, refused before anything runs."""

from iin_jax.data.tfds_sets import SETS
from iin_jax.losses import check_sigma
from iin_jax.runs.bounds import check_bounds
from iin_jax.runs.flow import check_takes
from iin_jax.runs.settings import Experiment, NetworkSettings, TrainSettings
from iin_jax.training.parallel import check_batch

WITHOUT_ATTRIBUTES = ("digits", *SETS)  # sources that read no CSV of attributes


def check(experiment: Experiment, devices: int = 1) -> None:
    """Raises ValueError for settings that could only fail later, after minutes.

    Args:
      experiment: all settings.
      devices: number of devices that share a batch.
    """
    check_bounds(experiment)
    _check_network(experiment)
    _check_flow(experiment)
    _check_data(experiment)
    _check_concept(experiment)
    if experiment.network.kind != "pretrained":
        _check_batch("network", experiment.network, devices)
    _check_batch("train", experiment.train, devices)


def _check_batch(
    name: str, settings: NetworkSettings | TrainSettings, devices: int
) -> None:
    sizes = settings.batch_size, settings.accumulate
    check_batch(*sizes, devices, f"{name}.batch_size")


def _check_network(experiment: Experiment) -> None:
    network, size = experiment.network, experiment.data.image_size
    own = network.kind != "pretrained"
    if own and (network.layer or network.weights):
        raise ValueError(
            "network.layer and network.weights are those of a pretrained network; set "
            "--network.kind pretrained"
        )
    if own and size % 2**network.num_down:
        raise ValueError(
            f"data.image_size {size} must be a multiple of 2 ** network.num_down = "
            f"{2**network.num_down}"
        )
    painted = experiment.data.coloring != "none"
    if network.color_follows and not (network.kind == "classifier" and painted):
        raise ValueError(
            "network.color_follows paints the images of a classifier (--network.kind "
            "classifier, --data.coloring black)"
        )
    if network.kind == "autoencoder" and network.from_run is None:
        _check_image_size(network, size)
    if experiment.evaluate.invariances and network.kind == "autoencoder":
        raise ValueError(
            "evaluate.invariances shows what a classifier no longer distinguishes; an "
            "autoencoder gives no answer"
        )
    if experiment.evaluate.distance != "none" and network.kind != "autoencoder":
        raise ValueError(
            f"evaluate.distance compares pictures; a {network.kind} network makes none"
        )


def _check_flow(experiment: Experiment) -> None:
    flow, train, latents = experiment.flow, experiment.train, experiment.latents
    network = experiment.network
    if network.kind != "pretrained" and network.from_run is None:
        check_takes(experiment, (network.latent_dim,))
    if flow.sigma not in (None, "auto"):
        check_sigma(flow.sigma)
    if train.wrong_pairs and experiment.concept.source == "none":
        raise ValueError(
            "train.wrong_pairs is a share of pairs; with concept.source none there is "
            "no pair"
        )
    if flow.start == "published":
        asked = {
            "flow.num_blocks 0": flow.num_blocks == 0,
            "flow.hidden_dim 0": flow.hidden_dim == 0,
            "train.steps 0": train.steps == 0,
            "train.noise": bool(train.noise),
            "train.decay": bool(train.decay),
        }
        for name, is_asked in asked.items():
            if is_asked:
                raise ValueError(f"{name} needs --flow.start closed_form")
    if latents.variants > 1 and not latents.augment.active:
        raise ValueError(
            f"latents.variants {latents.variants} copies each image without any "
            "distortion; set --latents.augment.degrees or the like, or variants 1"
        )


def _check_image_size(network: NetworkSettings, size: int) -> None:
    """Raises ValueError for images too small for what is trained with them."""
    least = {"discriminator": 24, "perceptual": 32}
    for name, pixels in least.items():
        if getattr(network, name) != "none" and size < pixels:
            raise ValueError(
                f"network.{name} needs images of {pixels} pixels; data.image_size is "
                f"{size}: set --network.{name} none"
            )


def _check_data(experiment: Experiment) -> None:
    data = experiment.data
    if data.source == "folder" and (data.root is None or data.attributes is None):
        raise ValueError(
            "a folder needs --data.root (your images) and --data.attributes (a CSV "
            f"with a column {data.image_column!r} and one column per attribute)"
        )
    if data.source in WITHOUT_ATTRIBUTES and (
        data.attributes is not None or data.classes
    ):
        raise ValueError(
            "data.attributes is a folder's CSV, of which data.classes names columns; "
            f"the source is {data.source}: set --data.source folder"
        )


def _check_concept(experiment: Experiment) -> None:
    concept, latents = experiment.concept, experiment.latents
    _check_sketches(experiment)
    if sum(concept.sizes) > experiment.network.latent_dim:
        raise ValueError(
            f"concept.sizes gives every concept its share of "
            f"{experiment.network.latent_dim} dimensions; got {list(concept.sizes)}, "
            f"which sum to {sum(concept.sizes)}"
        )
    if concept.source == "none" and experiment.flow.sigma is None:
        raise ValueError("without concepts no similarity is learned: set --flow.sigma")
    if concept.source == "none" and (concept.sizes or concept.recolored):
        raise ValueError(
            "concept.sizes and concept.recolored need concepts: set --concept.source"
        )
    if concept.recolored and experiment.data.coloring == "none":
        raise ValueError("concept.recolored needs coloured images (--data.coloring)")
    if concept.recolored and latents.colors < 2:
        raise ValueError("concept.recolored needs latents.colors >= 2")


def _check_sketches(experiment: Experiment) -> None:
    concept, latents = experiment.concept, experiment.latents
    given = {"sketch_a": concept.sketch_a, "sketch_b": concept.sketch_b}
    if concept.source != "sketches":
        if any(given.values()):
            raise ValueError("sketches need --concept.source sketches")
        return
    for name, path in given.items():
        if path is None:
            raise ValueError(
                f"a concept from sketches needs --concept.{name.replace('_', '-')}, a "
                "picture (python -m experiments.draw_sketches thin_thick DIR draws two)"
            )
    if latents.mode == "stream":
        raise ValueError(
            "latents.mode stream distorts each version of a picture by itself; "
            "sketches need --latents.mode cache"
        )
