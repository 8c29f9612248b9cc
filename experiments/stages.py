"""The stages of an experiment, in order; each reads and writes the run's folder."""

import functools
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import iin_jax
from experiments.run_folder import Run
from experiments.settings import CONCEPTS
from iin_jax.analysis import (
    ColorJudge,
    LogitsJudge,
    ShapeJudge,
    evaluate_swaps,
    linear_leakage,
)
from iin_jax.concepts import factor_scores, factor_sizes, pair_table, pairs_from_labels
from iin_jax.data import ColoredSet, LatentCache, encode_all, load_latents, save_latents
from iin_jax.factors import RESIDUAL, FactorLayout
from iin_jax.fit import FlowTraining, fit_flow
from iin_jax.flows import InterpretationFlow
from iin_jax.losses import (
    bits_per_dim,
    gaussian_reference,
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
from iin_jax.report import RunRecord, versions, write
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
    """Trains what gets interpreted, or copies it from a finished run."""
    settings = run.experiment.network
    if settings.from_run is not None:
        network = run.reused_network(Path(settings.from_run))
        save_network(run.folder / "network", network)
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
    cache = _latents(run, "validation")
    pairs = pairs_from_labels(
        _labels(run, run.validation_set), concept.score_pairs, run.experiment.seed
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


def evaluate_stage(run: Run) -> None:
    """Measures everything the scorecard says, on held-out images."""
    interpreter = iin_jax.load(run.folder)
    evaluate = run.experiment.evaluate
    test = encode_all(run.network, run.test_set.images, len(run.test_set))
    train_cache = _latents(run, "train")
    few = np.random.default_rng(run.experiment.seed).permutation(len(run.train_set))
    few = np.sort(few[: 4 * len(run.test_set)])
    certified = run.test_set.images(slice(0, evaluate.latents))
    devices = jax.devices()
    card: dict[str, Any] = {
        **run.read_json("sizes.json"),
        "certificate": interpreter.certify(certified),
        **_swap_figures(run, interpreter),
        "leakage": linear_leakage(
            interpreter,
            train_cache.mean[few],
            test.mean,
            _attributes(run, run.train_set, few),
            _attributes(run, run.test_set),
        ),
        "probe_train": len(few),
        "probe_test": len(run.test_set),
        "nll_bits_per_dim": _likelihoods(run, interpreter, train_cache, test),
        "test_indices": run.splits["test"].tolist(),
        "test_images": len(run.splits["test"]),
        "seed": run.experiment.seed,
        "versions": versions(),
        "device": f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})",
    }
    run.write_json("scorecard.json", card)


def report_stage(run: Run) -> None:
    """Draws the pictures and writes the report."""
    stages = run.stages
    seconds = {name: entry["seconds"] for name, entry in stages.items()}
    card = {**run.read_json("scorecard.json"), "seconds": seconds}
    run.write_json("scorecard.json", card)
    curves = {
        stage: lines
        for stage in ("network", "flow")
        if (lines := MetricsLog.read(run.folder, stage))
    }
    order = np.random.default_rng(run.experiment.seed).permutation(len(run.test_set))
    title = f"{run.name}: {run.network.architecture} of {run.dataset.name}"
    record = RunRecord(title, run.command, card, curves)
    write(
        iin_jax.load(run.folder),
        run.test_set.images(order),
        _attributes(run, run.test_set, order),
        run.folder / "report.html",
        record=record,
        figures_folder=run.folder / "figures",
    )


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


def _latents(run: Run, split: str) -> LatentCache:
    return load_latents(run.folder / "latents" / split, run.network)


def _labels(run: Run, images: ColoredSet) -> dict[str, np.ndarray]:
    """Discrete concepts of entries, for pairing."""
    return {"digit": run.dataset.labels["digit"][images.item], "color": images.color}


def _attributes(
    run: Run, images: ColoredSet, entries: np.ndarray | slice = slice(None)
) -> dict[str, np.ndarray]:
    """True values of entries, for judges, probes and pictures: colours as RGB."""
    digits = run.dataset.labels["digit"][images.item[entries]]
    return {"digit": digits, "color": images.rgb[entries]}


def _pair_data(run: Run, split: str, images: ColoredSet) -> CachedLatents:
    cache = _latents(run, split)
    recolored = ("color",) if run.experiment.concept.recolored else ()
    table = pair_table(_labels(run, images), differ=recolored, identity=images.variant)
    return CachedLatents(jnp.asarray(cache.mean), jnp.asarray(cache.log_var), table)


def _swap_figures(run: Run, interpreter: iin_jax.Interpreter) -> dict[str, Any]:
    """Swaps on pairs of test images of different digits, in fresh colours."""
    count, seed = run.experiment.evaluate.pairs, run.experiment.seed
    rng = np.random.default_rng([seed, 0x5A])
    digits, test = run.dataset.labels["digit"], run.splits["test"]
    drawn = rng.choice(test, (8 * count, 2))
    drawn = drawn[digits[drawn[:, 0]] != digits[drawn[:, 1]]][:count]
    sides = [
        ColoredSet(
            run.dataset.images,
            run.colors(purpose, count),
            drawn[:, side],
            drawn[:, side],
            np.arange(len(drawn)),
        )
        for side, purpose in enumerate(("swap a", "swap b"))
    ]
    train_part = run.splits["train"]
    if run.network.output == "images":
        shape = ShapeJudge.train(run.dataset.images[train_part], digits[train_part])
        judges = {"digit": shape, "color": ColorJudge()}
    else:
        judges = {"digit": LogitsJudge()}
    a, b = sides
    return evaluate_swaps(
        interpreter,
        a.images(),
        b.images(),
        _attributes(run, a),
        _attributes(run, b),
        judges,
    )


def _likelihoods(
    run: Run, interpreter: iin_jax.Interpreter, train: LatentCache, test: LatentCache
) -> dict[str, Any]:
    """Bits per dimension of posterior samples, through T and under a Gaussian."""
    rng = np.random.default_rng([run.experiment.seed, 0xB175])

    def sample(cache: LatentCache) -> np.ndarray:
        entries = np.sort(rng.permutation(len(cache.mean))[:8192])
        std = np.exp(0.5 * cache.log_var[entries])
        noise = rng.standard_normal(std.shape).astype(np.float32)
        return cache.mean[entries] + std * noise

    parts = {"train": sample(train), "test": sample(test)}
    dim = interpreter.layout.dim
    result: dict[str, Any] = {}
    for name, z in parts.items():
        nll = -float(interpreter.log_prob(z).mean())
        result[name] = float(bits_per_dim(nll, dim))
        result[f"gaussian_{name}"] = gaussian_reference(parts["train"], z)
        result[f"{name}_latents"] = len(z)
    return result
