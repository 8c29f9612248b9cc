"""The stages of an experiment, in order; each reads and writes the run's folder."""

import dataclasses
import shutil
import warnings
from typing import Any

import numpy as np

from iin_jax.concepts import FactorScores, factor_sizes
from iin_jax.factors import RESIDUAL, FactorLayout
from iin_jax.fit import fit_prepared
from iin_jax.losses import Loss, mixture_loss, pair_loss, sample_loss, with_terms
from iin_jax.networks import save_network
from iin_jax.prepared import OURS, Sizes, estimated_sizes
from iin_jax.runs.evaluation import evaluate_stage, report_stage
from iin_jax.runs.feeds import encoded_feed
from iin_jax.runs.flow import made_flow, positions
from iin_jax.runs.networks import make_network
from iin_jax.runs.run import Run
from iin_jax.runs.settings import Experiment
from iin_jax.training.checkpoints import Checkpoints
from iin_jax.training.defaults import Training, flow_defaults
from iin_jax.training.log import MetricsLog
from iin_jax.training.parallel import Feed

PUBLISHED = ("pooled", "correlation")  # estimators of sizes
LEADING = 32  # eigenvalues that a scorecard lists


def network_stage(run: Run) -> None:
    """Trains what gets interpreted, converts it, or copies it from a finished run."""
    network, folder = make_network(run), run.folder.path / "network"
    # without an older description in use, the arrays get the name that RESULTS has
    (folder / "network.json").unlink(missing_ok=True)
    save_network(folder, network)


def latents_stage(run: Run) -> None:
    """Encodes training and validation images once."""
    shutil.rmtree(run.folder.path / "latents", ignore_errors=True)
    for split in ("train", "validation"):
        run.latents.encode(split)


def sizes_stage(run: Run) -> None:
    """Estimates the sizes by every estimator, or takes the given ones."""
    concept, cache = run.experiment.concept, run.latents.cached("validation")
    dim, given = cache.mean.shape[1], run.concepts.given_sizes
    if not run.concepts.names:
        sizes = {"sizes": {RESIDUAL: dim}, "estimator": "none"}
        run.folder.write_json("sizes.json", sizes)
        return
    ours = _our_sizes(run)
    scores, images = dict(ours.scores), run.latents.images("validation")
    for name in PUBLISHED:
        count = concept.score_pairs
        pairs, scores[name] = run.concepts.scores(images, cache.mean, count, name)
    chosen, layout = scores[concept.estimator], ours.layout
    if concept.estimator in PUBLISHED:
        layout = _layout_of(run, chosen, dim)
    if given is not None:
        layout = FactorLayout({**given, RESIDUAL: dim - sum(given.values())})
    elif concept.estimator in OURS:
        print(ours.describe())
    sizes = {
        "sizes": layout.as_dict(),
        "scores": dict(chosen),
        "score_intervals": chosen.intervals,
        "score_null": chosen.null,
        "score_pairs": len(pairs.a),
        "estimator": "given" if given else chosen.estimator,
        "estimates": _estimates(run, scores, ours, dim),
    }
    run.folder.write_json("sizes.json", sizes)


def _our_sizes(run: Run) -> Sizes:
    """Sizes by the asked one of our estimators, or by shared rank for comparison."""
    concept = run.experiment.concept
    train, held_out = run.latents.prepared("train"), run.latents.prepared("validation")
    count = positions(run.experiment.flow, run.network.latent_shape)
    train = dataclasses.replace(train, positions=count)
    taken = not concept.sizes and concept.estimator in OURS
    asked = concept.estimator if concept.estimator in OURS else "shared_rank"
    with warnings.catch_warnings():
        if not taken:
            warnings.simplefilter("ignore")
        return estimated_sizes(train, held_out, asked, run.experiment.seed, ours=True)


def _layout_of(run: Run, scores: FactorScores, dim: int) -> FactorLayout:
    """Sizes by scores, in whole channels where the flow is one over maps."""
    count = positions(run.experiment.flow, run.network.latent_shape) or 1
    return factor_sizes(scores, dim // count).times(count)


def _estimates(
    run: Run, scores: dict[str, FactorScores], ours: Sizes, dim: int
) -> dict[str, dict[str, Any]]:
    """What every estimator says."""
    estimates = {name: _estimate(run, x, dim) for name, x in scores.items()}
    if ours.estimator == "shared_rank":
        estimates["shared_rank"] |= {
            "sizes": ours.layout.as_dict(),
            "choices": {
                name: dataclasses.asdict(choice)
                for name, choice in ours.choices.items()
            },
        }
    return estimates


def flow_stage(run: Run) -> None:
    """Trains T on latents, cached or made in the step; saves the interpreter."""
    experiment, path = run.experiment, run.folder.path
    layout = FactorLayout(run.folder.read_json("sizes.json")["sizes"])
    train, held_out = run.latents.prepared("train"), run.latents.prepared("validation")
    feed, images = _stream(run)
    shape = run.network.latent_shape
    defaults = flow_defaults(images or train.images, layout.dim)
    checkpoints, log = Checkpoints(path / "flow"), MetricsLog(path, "flow")
    interpreter, record = fit_prepared(
        train,
        held_out,
        layout,
        _training(experiment),
        flow=made_flow(experiment.flow, defaults, layout.dim, shape),
        loss=_loss(experiment),
        network=run.network,
        feed=feed,
        images=images,
        checkpoints=checkpoints,
        log=log,
    )
    checkpoints.close()
    log.close()
    run.folder.write_json("training.json", record)
    shutil.rmtree(path / "interpreter", ignore_errors=True)
    interpreter.save(path / "interpreter")


def _stream(run: Run) -> tuple[Feed | None, int | None]:
    """The feed whose images are encoded in the step, and their number; None: cached."""
    if run.experiment.latents.mode == "cache":
        return None, None
    images = run.images.train_set
    source = run.concepts.source(images)
    feed = encoded_feed(run, None if source is None else source.draws())
    return feed, len(np.unique(images.pictures))


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
    """The loss of the settings, with their terms; None: the likelihood alone."""
    terms, wrong = experiment.train.terms, experiment.train.wrong_pairs
    if experiment.concept.source == "none":
        likelihood = sample_loss
    else:
        likelihood = mixture_loss(wrong) if wrong else pair_loss
    return with_terms(likelihood, terms) if terms or wrong else None


def _estimate(run: Run, scores: FactorScores, dim: int) -> dict[str, Any]:
    """One estimator's scores, and the sizes that they would give."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # these sizes are only shown
        sizes = _layout_of(run, scores, dim).as_dict()
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
