"""The stages of an experiment, in order; each reads and writes the run's folder."""

import shutil
from pathlib import Path

import jax.numpy as jnp

from experiments.encoded_feed import encoded_feed
from experiments.evaluation import evaluate_stage, report_stage
from experiments.network_training import train_autoencoder, train_classifier
from experiments.run_folder import Run
from iin_jax.concepts import PairTable, factor_sizes
from iin_jax.factors import RESIDUAL, FactorLayout
from iin_jax.fit import FlowTraining, fit_flow
from iin_jax.flows import InterpretationFlow
from iin_jax.networks import save_network
from iin_jax.training.checkpoints import Checkpoints
from iin_jax.training.flow_step import CachedLatents, draw_cached, draw_samples
from iin_jax.training.log import MetricsLog
from iin_jax.training.parallel import Draw


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
    """Estimates the sizes from validation pairs, or takes the given ones."""
    concept, cache = run.experiment.concept, run.latents("validation")
    dim = cache.mean.shape[1]
    if not run.concepts:
        run.write_json("sizes.json", {"sizes": {RESIDUAL: dim}, "estimator": "none"})
        return
    pairs, scores = run.scores(
        run.cached_set("validation"), cache.mean, concept.score_pairs
    )
    layout = factor_sizes(scores, dim)
    given = run.given_sizes
    if given is not None:
        layout = FactorLayout({**given, RESIDUAL: dim - sum(given.values())})
    run.write_json(
        "sizes.json",
        {
            "sizes": layout.as_dict(),
            "scores": dict(scores),
            "score_intervals": scores.intervals,
            "score_null": scores.null,
            "score_pairs": len(pairs.a),
            "estimator": "given" if given else scores.estimator,
        },
    )


def flow_stage(run: Run) -> None:
    """Trains T on latents, cached or made in the step; saves the interpreter."""
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
    table = run.pair_table(run.train_set)
    if experiment.latents.mode == "stream":
        draw, data, stream = encoded_feed(run, table)
    else:
        (draw, data), stream = _cached(run, "train", table), None
    validation = run.pair_table(run.cached_set("validation"))
    draw_validation, held_out = _cached(run, "validation", validation)
    checkpoints = Checkpoints(run.folder / "flow")
    log = MetricsLog(run.folder, "flow")
    interpreter = fit_flow(
        flow,
        layout,
        draw,
        data,
        training,
        validation=held_out,
        draw_validation=draw_validation,
        stream=stream,
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


def _cached(
    run: Run, split: str, table: PairTable | None
) -> tuple[Draw, CachedLatents]:
    """Pairs, or single latents without concepts, from a split's cache."""
    cache = run.latents(split)
    data = CachedLatents(jnp.asarray(cache.mean), jnp.asarray(cache.log_var), table)
    return (draw_samples if table is None else draw_cached), data
