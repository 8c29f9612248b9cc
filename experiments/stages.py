"""The stages of an experiment, in order; each reads and writes the run's folder."""

import dataclasses
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from experiments.encoded_feed import encoded_feed
from experiments.evaluation import evaluate_stage, report_stage
from experiments.network_training import train_autoencoder, train_classifier
from experiments.run_folder import Run
from experiments.settings import Experiment
from iin_jax.concepts import FactorScores, factor_sizes
from iin_jax.factors import RESIDUAL, FactorLayout
from iin_jax.fit import fit_prepared
from iin_jax.flows import FLOWS, Bijector
from iin_jax.losses import Loss, pair_loss, sample_loss, with_terms
from iin_jax.networks import save_network
from iin_jax.prepared import OURS, estimated_sizes
from iin_jax.training.checkpoints import Checkpoints
from iin_jax.training.defaults import FlowDefaults, Training, flow_defaults
from iin_jax.training.log import MetricsLog

PUBLISHED = ("pooled", "correlation")  # estimators of sizes
LEADING = 32  # eigenvalues that a scorecard lists


def network_stage(run: Run) -> None:
    """Trains what gets interpreted, converts it, or copies it from a finished run."""
    settings = run.experiment.network
    if settings.from_run is not None:
        network = run.reused_network(Path(settings.from_run))
    elif settings.kind == "pretrained":
        network = run.pretrained_network()
    elif settings.kind == "autoencoder":
        network = train_autoencoder(run)
    else:
        network = train_classifier(run)
    save_network(run.folder / "network", network)


def latents_stage(run: Run) -> None:
    """Encodes training and validation images once."""
    shutil.rmtree(run.folder / "latents", ignore_errors=True)
    for split in ("train", "validation"):
        run.encode(split)


def sizes_stage(run: Run) -> None:
    """Estimates the sizes by every estimator, or takes the given ones."""
    concept, cache = run.experiment.concept, run.latents("validation")
    dim, seed = cache.mean.shape[1], run.experiment.seed
    if not run.concepts:
        run.write_json("sizes.json", {"sizes": {RESIDUAL: dim}, "estimator": "none"})
        return
    train, held_out = run.prepared_split("train"), run.prepared_split("validation")
    asked = concept.estimator if concept.estimator in OURS else "shared_rank"
    with warnings.catch_warnings():
        if concept.sizes or concept.estimator not in OURS:
            warnings.simplefilter("ignore")  # these sizes are not taken
        ours = estimated_sizes(train, held_out, asked, seed, ours=True)
    scores, images = dict(ours.scores), run.cached_set("validation")
    for name in PUBLISHED:
        pairs, found = run.scores(images, cache.mean, concept.score_pairs, name)
        scores[name] = found
    chosen = scores[concept.estimator]
    layout = ours.layout
    if concept.estimator in PUBLISHED:
        layout = factor_sizes(chosen, dim)
    given = run.given_sizes
    if given is not None:
        layout = FactorLayout({**given, RESIDUAL: dim - sum(given.values())})
    elif concept.estimator in OURS:
        print(ours.describe())
    estimates = {name: _estimate(found, dim) for name, found in scores.items()}
    if asked == "shared_rank":
        estimates["shared_rank"]["sizes"] = ours.layout.as_dict()
        estimates["shared_rank"]["choices"] = {
            name: dataclasses.asdict(choice) for name, choice in ours.choices.items()
        }
    run.write_json(
        "sizes.json",
        {
            "sizes": layout.as_dict(),
            "scores": dict(chosen),
            "score_intervals": chosen.intervals,
            "score_null": chosen.null,
            "score_pairs": len(pairs.a),
            "estimator": "given" if given else chosen.estimator,
            "estimates": estimates,
        },
    )


def flow_stage(run: Run) -> None:
    """Trains T on latents, cached or made in the step; saves the interpreter."""
    experiment = run.experiment
    layout = FactorLayout(run.read_json("sizes.json")["sizes"])
    train, held_out = run.prepared_split("train"), run.prepared_split("validation")
    feed, images = None, None
    if experiment.latents.mode == "stream":
        images = len(np.unique(run.train_set.item))
        source = run.source(run.train_set)
        feed = encoded_feed(run, None if source is None else source.draws())
    defaults = flow_defaults(images or train.images, layout.dim)
    checkpoints = Checkpoints(run.folder / "flow")
    log = MetricsLog(run.folder, "flow")
    interpreter, record = fit_prepared(
        train,
        held_out,
        layout,
        _training(experiment),
        flow=_flow(experiment, defaults, layout.dim),
        loss=_loss(experiment),
        network=run.network,
        feed=feed,
        images=images,
        checkpoints=checkpoints,
        log=log,
    )
    checkpoints.close()
    log.close()
    run.write_json("training.json", record)
    interpreter.save(run.folder / "interpreter")


def _flow(experiment: Experiment, defaults: FlowDefaults, dim: int) -> Bijector:
    """The flow of the settings, of those of them that its kind has as fields.

    Zeros are as suits.
    """
    settings = experiment.flow
    sizes = {
        "num_blocks": settings.num_blocks or defaults.num_blocks,
        "hidden_dim": settings.hidden_dim or defaults.hidden_dim,
        "hidden_depth": settings.hidden_depth,
    }
    flow: Any = FLOWS[settings.kind]
    names = {field.name for field in dataclasses.fields(flow)}
    return flow(dim=dim, **{name: x for name, x in sizes.items() if name in names})


def _training(experiment: Experiment) -> Training:
    """The training of the settings; zeros in these are as suits."""
    flow, train = experiment.flow, experiment.train
    suited = flow.start == "closed_form" and train.steps == 0
    return Training(
        start=flow.start,
        sigma=flow.sigma,
        steps=train.steps or None,
        batch_size=train.batch_size,
        rate_per_example=train.rate_per_example or None,
        warmup=train.warmup,
        decay_start=train.decay_start,
        noise=train.noise,
        decay=train.decay,
        seed=experiment.seed,
        accumulate=train.accumulate,
        parallel=train.parallel,
        checkpoint_every=None if suited else train.checkpoint_every,
        patience=train.patience,
    )


def _loss(experiment: Experiment) -> Loss | None:
    """The loss with the terms of the settings; None: the likelihood alone."""
    terms = experiment.train.terms
    if not terms:
        return None
    paired = experiment.concept.source != "none"
    return with_terms(pair_loss if paired else sample_loss, terms)


def _estimate(scores: FactorScores, dim: int) -> dict[str, Any]:
    """One estimator's scores, and the sizes that they would give."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # these sizes are only shown
        sizes = factor_sizes(scores, dim).as_dict()
    shown = {
        "sizes": sizes,
        "scores": dict(scores),
        "intervals": scores.intervals,
        "null": scores.null,
    }
    if scores.eigenvalues:
        leading = {name: list(x[:LEADING]) for name, x in scores.eigenvalues.items()}
        shown |= {"eigenvalues": leading, "thresholds": scores.thresholds}
    return shown


STAGES = {
    "network": network_stage,
    "latents": latents_stage,
    "sizes": sizes_stage,
    "flow": flow_stage,
    "evaluate": evaluate_stage,
    "report": report_stage,
}
