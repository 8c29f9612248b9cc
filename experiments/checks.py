"""Settings that cannot work, refused before anything runs; how two settings differ."""

from typing import Any

from experiments.settings import Experiment, NetworkSettings
from iin_jax.flows import FLOWS
from iin_jax.flows.base import check_even
from iin_jax.losses import TERMS, check_sigma
from iin_jax.training.parallel import check_batch

LEAST = {
    "concept.score_pairs": 10,
    "concept.bins": 2,
    "evaluate.distance_images": 2,
    "train.steps": 0,  # 0: as suits the number of images
    "flow.num_blocks": 0,
    "flow.hidden_dim": 0,
}


def check(experiment: Experiment, devices: int = 1) -> None:
    """Raises ValueError for settings that could only fail later, after minutes."""
    network, train = experiment.network, experiment.train
    check_even(network.latent_dim)
    if experiment.flow.sigma not in (None, "auto"):
        check_sigma(experiment.flow.sigma)
    _check_flow(experiment)
    for name, count in _counts(experiment).items():
        least = LEAST.get(name, 1)
        if count < least:
            raise ValueError(f"{name} must be at least {least}")
    for name, share in _shares(experiment).items():
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"{name} is a share between 0 and 1; got {share}")
    _check_data(experiment)
    _check_concept(experiment)
    own = network.kind != "pretrained"
    if own and (network.layer or network.weights):
        raise ValueError(
            "network.layer and network.weights are those of a pretrained network; set "
            "--network.kind pretrained"
        )
    size = experiment.data.image_size
    if own and size % 2**network.num_down:
        raise ValueError(
            f"data.image_size {size} must be a multiple of 2 ** network.num_down = "
            f"{2**network.num_down}"
        )
    if network.kind == "autoencoder" and network.from_run is None:
        _check_sizes(network, size)
    if experiment.evaluate.distance != "none" and network.kind != "autoencoder":
        raise ValueError(
            f"evaluate.distance compares pictures; a {network.kind} network makes none"
        )
    trained = {"network": network, "train": train} if own else {"train": train}
    for name, part in trained.items():
        check_batch(part.batch_size, part.accumulate, devices, f"{name}.batch_size")


def _check_flow(experiment: Experiment) -> None:
    flow, train, latents = experiment.flow, experiment.train, experiment.latents
    for what, name, known in (
        ("flow.kind", flow.kind, FLOWS),
        *(("train.terms", name, TERMS) for name in train.terms),
    ):
        if name not in known:
            raise ValueError(f"{what} is one of {list(known)}; got {name!r}")
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
    if (train.noise or 0) < 0 or (train.decay or 0) < 0 or train.patience < 1:
        raise ValueError(
            "train.noise and train.decay cannot be negative, patience >= 1"
        )
    if latents.variants > 1 and not latents.augment.active:
        raise ValueError(
            f"latents.variants {latents.variants} copies each image without any "
            "distortion; set --latents.augment.degrees or the like, or variants 1"
        )


def _check_sizes(network: NetworkSettings, size: int) -> None:
    """Raises ValueError for images too small for what is trained with them."""
    least = {"discriminator": 24, "perceptual": 32}
    for name, pixels in least.items():
        if getattr(network, name) != "none" and size < pixels:
            raise ValueError(
                f"network.{name} needs images of {pixels} pixels; data.image_size is "
                f"{size}: set --network.{name} none"
            )


def _counts(experiment: Experiment) -> dict[str, int]:
    """Settings that must be at least 1, or as ``LEAST`` says."""
    network, train, flow = experiment.network, experiment.train, experiment.flow
    return {
        "latents.colors": experiment.latents.colors,
        "latents.variants": experiment.latents.variants,
        "evaluate.pairs": experiment.evaluate.pairs,
        "evaluate.latents": experiment.evaluate.latents,
        "evaluate.colors": experiment.evaluate.colors,
        "evaluate.distance_images": experiment.evaluate.distance_images,
        "concept.score_pairs": experiment.concept.score_pairs,
        "concept.bins": experiment.concept.bins,
        "data.palette": experiment.data.palette,
        "network.num_down": network.num_down,
        "network.base": network.base,
        "network.discriminator_base": network.discriminator_base,
        "network.steps": network.steps,
        "network.checkpoint_every": network.checkpoint_every,
        "train.steps": train.steps,
        "train.checkpoint_every": train.checkpoint_every,
        "flow.num_blocks": flow.num_blocks,
        "flow.hidden_dim": flow.hidden_dim,
    }


def _shares(experiment: Experiment) -> dict[str, float]:
    network, data = experiment.network, experiment.data
    return {
        "data.validation": data.validation,
        "data.test": data.test,
        "data.max_unreadable": data.max_unreadable,
        "network.squared": network.squared,
        "network.discriminator_start": network.discriminator_start,
    }


def _check_data(experiment: Experiment) -> None:
    data = experiment.data
    if data.limit < 0 or data.max_memory < 0:
        raise ValueError("data.limit and data.max_memory cannot be negative")
    if data.source == "folder" and (data.root is None or data.attributes is None):
        raise ValueError(
            "a folder needs --data.root (your images) and --data.attributes (a CSV "
            f"with a column {data.image_column!r} and one column per attribute)"
        )
    if data.source != "folder" and data.attributes is not None:
        raise ValueError(
            f"data.attributes is a folder's CSV; the source is {data.source}: set "
            "--data.source folder"
        )


def _check_concept(experiment: Experiment) -> None:
    concept, latents = experiment.concept, experiment.latents
    if sum(concept.sizes) > experiment.network.latent_dim:
        raise ValueError(
            f"concept.sizes gives every concept its share of "
            f"{experiment.network.latent_dim} dimensions; got {list(concept.sizes)}, "
            f"which sum to {sum(concept.sizes)}"
        )
    if any(size < 0 for size in concept.sizes):
        raise ValueError("concept.sizes cannot be negative")
    if concept.source == "none" and experiment.flow.sigma is None:
        raise ValueError("without concepts no similarity is learned: set --flow.sigma")
    if concept.source == "none" and (concept.sizes or concept.recolored):
        raise ValueError(
            "concept.sizes and concept.recolored need concepts from labels"
        )
    if concept.recolored and experiment.data.coloring == "none":
        raise ValueError("concept.recolored needs coloured images (--data.coloring)")
    if concept.recolored and latents.colors < 2:
        raise ValueError("concept.recolored needs latents.colors >= 2")


def differences(first: Any, second: Any, prefix: str = "") -> list[str]:
    """Fields in which two settings, given as JSON values, differ."""
    if isinstance(first, dict) and isinstance(second, dict):
        return [
            line
            for name in sorted({*first, *second})
            for line in differences(
                first.get(name),
                second.get(name),
                f"{prefix}.{name}" if prefix else name,
            )
        ]
    return [] if first == second else [f"{prefix}: {first} there, {second} now"]
