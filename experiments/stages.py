"""The stages of an experiment, in order; each reads and writes the run's folder."""

import functools
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp

from experiments.evaluation import evaluate_stage, report_stage
from experiments.run_folder import Run
from experiments.settings import CONCEPTS
from iin_jax.concepts import factor_scores, factor_sizes, pair_table, pairs_from_labels
from iin_jax.data import ColoredSet, encode_all, save_latents
from iin_jax.factors import RESIDUAL, FactorLayout
from iin_jax.fit import FlowTraining, fit_flow
from iin_jax.flows import InterpretationFlow
from iin_jax.losses import (
    kl_to_standard_normal,
    reconstruction_nll,
    weighted_sum,
)
from iin_jax.networks import (
    Autoencoder,
    AutoencoderNetwork,
    Classifier,
    ClassifierNetwork,
    Network,
    save_network,
)
from iin_jax.training.autoencoder_step import (
    ColoredGrey,
    autoencoder_step,
    draw_colored,
)
from iin_jax.training.checkpoints import Checkpoints
from iin_jax.training.classifier_step import (
    LabelledGrey,
    classifier_step,
    draw_labelled,
)
from iin_jax.training.flow_step import CachedLatents, draw_cached
from iin_jax.training.log import MetricsLog
from iin_jax.training.loop import train
from iin_jax.training.optim import adam
from iin_jax.training.parallel import Runner
from iin_jax.training.state import TrainState

INIT_IMAGES = 1024  # that whiten the network's ActNorms
LOG_SCALE_RATE = 30.0  # factor on the learning rate of the autoencoder's scale


def network_stage(run: Run) -> None:
    """Trains what gets interpreted, converts it, or copies it from a finished run."""
    settings = run.experiment.network
    if settings.from_run is not None:
        network = run.reused_network(Path(settings.from_run))
        save_network(run.folder / "network", network)
        return
    if settings.kind == "pretrained":
        save_network(run.folder / "network", run.pretrained_network())
        return
    grey = ColoredGrey(
        jnp.asarray(run.dataset.images[run.splits["train"]]),
        jnp.asarray(run.train_colors),
    )
    build = _autoencoder if settings.kind == "autoencoder" else _classifier
    save_network(run.folder / "network", build(run, grey))


def latents_stage(run: Run) -> None:
    """Encodes training and validation images once."""
    shutil.rmtree(run.folder / "latents", ignore_errors=True)
    for split, images in (("train", run.train_set), ("validation", run.validation_set)):
        cache = encode_all(run.network, images.images, len(images), progress=split)
        save_latents(run.folder / "latents" / split, cache, run.network)


def sizes_stage(run: Run) -> None:
    """Estimates the sizes from validation pairs, or takes the given ones."""
    concept = run.experiment.concept
    cache = run.latents("validation")
    pairs = pairs_from_labels(
        run.labels(run.validation_set), concept.score_pairs, run.experiment.seed
    )
    scores = factor_scores(
        cache.mean[pairs.a],
        cache.mean[pairs.b],
        pairs.concept,
        CONCEPTS,
        concept.estimator,
        seed=run.experiment.seed,
    )
    dim = cache.mean.shape[1]
    layout = factor_sizes(scores, dim)
    if concept.sizes:
        given = dict(zip(CONCEPTS, concept.sizes, strict=True))
        layout = FactorLayout({**given, RESIDUAL: dim - sum(concept.sizes)})
    run.write_json(
        "sizes.json",
        {
            "sizes": layout.as_dict(),
            "scores": dict(scores),
            "score_intervals": scores.intervals,
            "score_null": scores.null,
            "score_pairs": len(pairs.a),
            "estimator": "given" if concept.sizes else scores.estimator,
        },
    )


def flow_stage(run: Run) -> None:
    """Trains T on pairs of cached latents; saves the interpreter."""
    experiment = run.experiment
    layout = FactorLayout(run.read_json("sizes.json")["sizes"])
    settings = experiment.train
    training = FlowTraining(
        settings.schedule,
        settings.batch_size,
        experiment.flow.sigma,
        experiment.seed,
        settings.accumulate,
        settings.parallel,
        settings.checkpoint_every,
    )
    flow = InterpretationFlow(
        layout.dim,
        experiment.flow.num_blocks,
        experiment.flow.hidden_dim,
        experiment.flow.hidden_depth,
    )
    checkpoints = Checkpoints(run.folder / "flow")
    log = MetricsLog(run.folder, "flow")
    interpreter = fit_flow(
        flow,
        layout,
        draw_cached,
        _pair_data(run, "train", run.train_set),
        training,
        validation=_pair_data(run, "validation", run.validation_set),
        checkpoints=checkpoints,
        log=log,
        progress="flow",
    )
    checkpoints.close()
    log.close()
    interpreter.with_network(run.network).save(run.folder / "interpreter")


STAGES = {
    "network": network_stage,
    "latents": latents_stage,
    "sizes": sizes_stage,
    "flow": flow_stage,
    "evaluate": evaluate_stage,
    "report": report_stage,
}


def _autoencoder(run: Run, grey: ColoredGrey) -> Network:
    settings, seed = run.experiment.network, run.experiment.seed
    module = Autoencoder(
        settings.latent_dim,
        run.experiment.data.image_size,
        3,
        settings.num_down,
        settings.base,
    )
    loss = weighted_sum(
        {
            "reconstruction": (1.0, reconstruction_nll),
            "kl": (settings.kl_weight, kl_to_standard_normal),
        }
    )
    augment = run.experiment.latents.augment
    draw = functools.partial(draw_colored, settings.latent_dim, augment)
    tx = adam(
        settings.schedule, settings.batch_size, fast={"log_scale": LOG_SCALE_RATE}
    )
    batch = jax.jit(draw)(grey, jax.random.key(seed + 1), jnp.arange(INIT_IMAGES))
    params = jax.jit(module.init)(_init_key(seed), *batch)["params"]
    step = autoencoder_step(module, loss, tx)
    state = TrainState.create(tx, params)
    state = _train_network(run, step, draw, grey, state)
    return AutoencoderNetwork(module, {"params": state.params})


def _classifier(run: Run, grey: ColoredGrey) -> Network:
    settings, seed = run.experiment.network, run.experiment.seed
    digits = run.dataset.labels["digit"]
    module = Classifier(
        int(digits.max()) + 1,
        settings.latent_dim,
        run.experiment.data.image_size,
        3,
        settings.num_down,
        settings.base,
    )
    data = LabelledGrey(grey, jnp.asarray(digits[run.splits["train"]]))
    draw = functools.partial(draw_labelled, run.experiment.latents.augment)
    tx = adam(settings.schedule, settings.batch_size)
    batch = jax.jit(draw)(data, jax.random.key(seed + 1), jnp.arange(INIT_IMAGES))
    params = jax.jit(module.init)(_init_key(seed), batch.images)["params"]
    step = classifier_step(module, tx)
    state = _train_network(run, step, draw, data, TrainState.create(tx, params))
    return ClassifierNetwork(module, {"params": state.params})


def _init_key(seed: int) -> jax.Array:
    """A key whose draws compile fast: 2 s for the digits' autoencoder, not 8."""
    return jax.random.key(seed, impl="rbg")


def _train_network(run: Run, step, draw, data, state: TrainState) -> TrainState:
    settings = run.experiment.network
    runner = Runner(
        step,
        draw,
        data,
        state,
        batch_size=settings.batch_size,
        seed=run.experiment.seed,
        accumulate=settings.accumulate,
        mode=run.experiment.train.parallel,
    )
    checkpoints = Checkpoints(run.folder / "network" / "checkpoints")
    log = MetricsLog(run.folder, "network")
    state = train(
        runner,
        state,
        settings.steps,
        checkpoint_every=settings.checkpoint_every,
        checkpoints=checkpoints,
        log=log,
        progress=settings.kind,
    )
    checkpoints.close()
    log.close()
    return state


def _pair_data(run: Run, split: str, images: ColoredSet) -> CachedLatents:
    cache = run.latents(split)
    recolored = ("color",) if run.experiment.concept.recolored else ()
    table = pair_table(run.labels(images), differ=recolored, identity=images.variant)
    return CachedLatents(jnp.asarray(cache.mean), jnp.asarray(cache.log_var), table)
