"""The training of what gets interpreted: an autoencoder or a classifier."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from iin_jax.data import StepStream, StoredImages, epoch_indices
from iin_jax.data.palette import colors_by_hue
from iin_jax.data.values import plain
from iin_jax.losses import (
    WeightedSum,
    kl_to_standard_normal,
    reconstruction_nll,
    squared_reconstruction,
    weighted_sum,
)
from iin_jax.networks import (
    Autoencoder,
    AutoencoderNetwork,
    Classifier,
    ClassifierNetwork,
    Discriminator,
    Network,
)
from iin_jax.networks.perceptual import Perceptual, lpips
from iin_jax.runs.run import Run
from iin_jax.runs.settings import NetworkSettings
from iin_jax.training.adversarial_step import Adversarial, adversarial_state
from iin_jax.training.autoencoder_step import autoencoder_step
from iin_jax.training.checkpoints import Checkpoints
from iin_jax.training.classifier_step import classifier_step
from iin_jax.training.image_draws import (
    Preparation,
    StreamedImages,
    TrainingImages,
    draw_labelled,
    draw_with_noise,
)
from iin_jax.training.log import MetricsLog
from iin_jax.training.loop import train
from iin_jax.training.optim import adam
from iin_jax.training.parallel import Feed, Runner, Step
from iin_jax.training.state import TrainState
from iin_jax.types import Tree

INIT_IMAGES = 1024  # images that initialise the network's ActNorms
LOG_SCALE_RATE = 30.0  # factor on the learning rate of the autoencoder's scale


class Phase(NamedTuple):
    """A step, and the number of the first step that is no longer its."""

    step: Step
    end: int


def load_perceptual(settings: NetworkSettings) -> Perceptual | None:
    """LPIPS, where the settings want it.

    Raises:
      ValueError: its weights are missing, or cannot be read without PyTorch; the line
        names the switch to do without.
    """
    if settings.perceptual == "none":
        return None
    try:
        return lpips(settings.perceptual, download=settings.download)
    except (ValueError, ImportError) as error:
        raise ValueError(
            f"{error} (--network.perceptual none trains without LPIPS)"
        ) from error


def train_autoencoder(run: Run) -> Network:
    """The autoencoder of a run; three phases of one training, see ``_phases``."""
    settings, seed = run.experiment.network, run.experiment.seed
    module = Autoencoder(
        settings.latent_dim,
        run.experiment.data.image_size,
        run.images.view.channels,
        settings.num_down,
        settings.base,
    )
    perceptual = load_perceptual(settings)
    draw = functools.partial(draw_with_noise, latent_dim=settings.latent_dim)
    weights = None if perceptual is None else perceptual.variables
    feed = _feed(run, draw, perceptual=weights)
    batch = feed.first(INIT_IMAGES, jax.random.key(seed + 1), seed)
    params = jax.jit(module.init)(_init_key(seed), *batch)["params"]
    tx = adam(
        settings.schedule, settings.batch_size, fast=(("log_scale", LOG_SCALE_RATE),)
    )
    build = functools.partial(autoencoder_step, module, tx=tx, perceptual=perceptual)
    state, phases = TrainState.create(tx, params), _phases(settings, build, None)
    adversarial = _adversarial(settings)
    if adversarial is not None:
        key = jax.random.fold_in(_init_key(seed), 1)
        state = adversarial_state(module, tx, params, adversarial, key)
        phases = _phases(settings, build, adversarial)
    params = _train(run, phases, feed, state).params
    if adversarial is not None:
        params = params["autoencoder"]
    return AutoencoderNetwork(module, {"params": params})


def train_classifier(run: Run) -> Network:
    """The classifier of a run, of the first attribute that has classes."""
    settings, seed = run.experiment.network, run.experiment.seed
    classes = plain(run.images.view.labels[run.concepts.classified])
    feed = _feed(run, draw_labelled, classes, follows=settings.color_follows)
    module = Classifier(
        int(classes.max()) + 1,
        settings.latent_dim,
        run.experiment.data.image_size,
        run.images.view.channels,
        settings.num_down,
        settings.base,
    )
    tx = adam(settings.schedule, settings.batch_size)
    batch = feed.first(INIT_IMAGES, jax.random.key(seed + 1), seed)
    params = jax.jit(module.init)(_init_key(seed), batch.images)["params"]
    phases = [Phase(classifier_step(module, tx), settings.steps)]
    state = _train(run, phases, feed, TrainState.create(tx, params))
    return ClassifierNetwork(module, {"params": state.params})


def _phases(
    settings: NetworkSettings,
    build: Callable[..., Step],
    adversarial: Adversarial | None,
) -> list[Phase]:
    """Squared errors, then the published loss, then the discriminator too."""
    asleep = adversarial and dataclasses.replace(adversarial, active=False)
    starts = round(settings.discriminator_start * settings.steps)
    squared = round(settings.squared * settings.steps)
    published = _loss(settings, reconstruction_nll)
    first = _loss(settings, squared_reconstruction)
    if adversarial is None:
        starts = settings.steps
    return [
        Phase(build(loss=first, adversarial=asleep), min(squared, starts)),
        Phase(build(loss=published, adversarial=asleep), starts),
        Phase(build(loss=published, adversarial=adversarial), settings.steps),
    ]


def _loss(settings: NetworkSettings, reconstruction) -> WeightedSum:
    return weighted_sum(
        {
            "reconstruction": (1.0, reconstruction),
            "kl": (settings.kl_weight, kl_to_standard_normal),
        }
    )


def _adversarial(settings: NetworkSettings) -> Adversarial | None:
    if settings.discriminator == "none" or settings.discriminator_start >= 1.0:
        return None
    return Adversarial(
        Discriminator(settings.discriminator_base, norm=settings.discriminator),
        adam(settings.schedule, settings.batch_size),
        settings.discriminator_weight,
    )


def _feed(
    run: Run,
    draw: Callable[..., Any],
    classes: np.ndarray | None = None,
    perceptual: Tree | None = None,
    follows: float = 0.0,
) -> Feed:
    """Training images on the device, or streamed from where they are stored.

    A share ``follows`` of painted ones are in a colour of their class's own.
    """
    part, images = run.images.splits["train"], run.images.dataset.images
    view = run.images.view
    augment = run.experiment.latents.augment
    preparation = Preparation(augment, view.background, follows)
    colors, own_colors = view.train_colors, None
    if follows and colors is not None and classes is not None:
        own_colors = jnp.asarray(colors_by_hue(colors, int(classes.max()) + 1))
    data = TrainingImages(
        None,
        None if colors is None else jnp.asarray(colors),
        None if classes is None else jnp.asarray(classes[part], jnp.int32),
        perceptual,
        own_colors,
    )
    bound = functools.partial(draw, preparation)
    if not isinstance(images, StoredImages):
        return Feed(bound, data._replace(images=jnp.asarray(images[part])))
    settings = run.experiment.network
    chosen = epoch_indices(len(part), settings.batch_size, run.experiment.seed)

    def read(step: int) -> StreamedImages:
        index = chosen(step)
        return StreamedImages(index.astype(np.int32), images[part[index]])

    return Feed(bound, data, StepStream(read))


def _init_key(seed: int) -> jax.Array:
    """A key whose draws compile fast: 2 s for the digits' autoencoder, not 8."""
    return jax.random.key(seed, impl="rbg")


def _train(run: Run, phases: list[Phase], feed: Feed, state: TrainState) -> TrainState:
    """One training in phases; a resumed one passes over those that are done."""
    settings = run.experiment.network
    checkpoints = Checkpoints(run.folder.path / "network" / "checkpoints")
    log = MetricsLog(run.folder.path, "network")
    state = checkpoints.restore(state) or state
    for phase in phases:
        if phase.end <= int(state.step):
            continue
        runner = Runner(
            phase.step,
            feed,
            state,
            batch_size=settings.batch_size,
            seed=run.experiment.seed,
            accumulate=settings.accumulate,
            mode=run.experiment.train.parallel,
        )
        state = train(
            runner,
            state,
            phase.end,
            checkpoint_every=settings.checkpoint_every,
            checkpoints=checkpoints,
            log=log,
            progress=settings.kind,
            whole=phases[-1].end,
        )
    checkpoints.close()
    log.close()
    return state
