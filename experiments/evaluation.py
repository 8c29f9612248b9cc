"""The stages after training: the scorecard on held-out images, and the report."""

from typing import Any

import jax
import numpy as np

import iin_jax
from experiments.run_folder import Run
from experiments.settings import CONCEPTS
from iin_jax.analysis import (
    ColorJudge,
    Judge,
    LatentJudge,
    LogitsJudge,
    ShapeJudge,
    evaluate_swaps,
    layer_scores,
    linear_leakage,
)
from iin_jax.concepts import pairs_from_labels
from iin_jax.data import ColoredSet, LatentCache, encode_all
from iin_jax.losses import bits_per_dim, gaussian_reference
from iin_jax.networks import AutoencoderNetwork, ClassifierNetwork
from iin_jax.report import RunRecord, versions, write
from iin_jax.training.log import MetricsLog

JUDGE_LATENTS = 4096  # that judges of z are trained on
LAYER_PAIRS = 1000  # that every layer is scored on


def evaluate_stage(run: Run) -> None:
    """Measures everything the scorecard says, on held-out images."""
    interpreter = iin_jax.load(run.folder)
    evaluate = run.experiment.evaluate
    test = encode_all(run.network, run.test_set.images, len(run.test_set))
    train_cache = run.latents("train")
    few = np.random.default_rng(run.experiment.seed).permutation(len(run.train_set))
    few = np.sort(few[: 4 * len(run.test_set)])
    certified = run.test_set.images(slice(0, evaluate.latents))
    devices = jax.devices()
    card: dict[str, Any] = {
        **run.read_json("sizes.json"),
        "certificate": interpreter.certify(certified),
        **_swap_figures(run, interpreter, train_cache),
        "layer_scores": _layer_scores(run),
        "leakage": linear_leakage(
            interpreter,
            train_cache.mean[few],
            test.mean,
            run.attributes(run.train_set, few),
            run.attributes(run.test_set),
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
        run.attributes(run.test_set, order),
        run.folder / "report.html",
        record=record,
        figures_folder=run.folder / "figures",
    )


def _swap_figures(
    run: Run, interpreter: iin_jax.Interpreter, train: LatentCache
) -> dict[str, Any]:
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
    a, b = sides
    return evaluate_swaps(
        interpreter,
        a.images(),
        b.images(),
        run.attributes(a),
        run.attributes(b),
        _judges(run, train),
        latents=_judged_in_z(run),
    )


def _judges(run: Run, train: LatentCache) -> dict[str, Judge]:
    """Who reads digit and colour: from pictures if there are any, else from z."""
    part = run.splits["train"]
    digits = run.dataset.labels["digit"]
    if run.network.output == "images":
        shape = ShapeJudge.train(run.dataset.images[part], digits[part])
        return {"digit": shape, "color": ColorJudge()}
    if not _judged_in_z(run):
        return {"digit": LogitsJudge()}
    rng = np.random.default_rng([run.experiment.seed, 0x10DC])
    few = np.sort(rng.permutation(len(run.train_set))[:JUDGE_LATENTS])
    true = run.attributes(run.train_set, few)
    judges: dict[str, Judge] = {}
    for name, values in true.items():
        judges[name] = LatentJudge.train(train.mean[few], values)
    return judges


def _judged_in_z(run: Run) -> bool:
    """Whether neither pictures nor logits of digits come out of the network."""
    shows_digits = isinstance(run.network, (AutoencoderNetwork, ClassifierNetwork))
    return not shows_digits


def _layer_scores(run: Run) -> dict[str, Any]:
    """The sizes' scores at every layer of the network, on validation pairs."""
    images, concept = run.validation_set, run.experiment.concept
    pairs = pairs_from_labels(
        run.labels(images), min(concept.score_pairs, LAYER_PAIRS), run.experiment.seed
    )
    scored = layer_scores(
        run.network,
        images.images,
        len(images),
        pairs,
        CONCEPTS,
        concept.estimator,
        seed=run.experiment.seed,
    )
    return {
        layer: {
            "shape": entry.shape,
            "components": entry.components,
            "pairs": len(pairs.a),
            "scores": dict(entry.scores),
            "score_intervals": entry.scores.intervals,
            "score_null": entry.scores.null,
        }
        for layer, entry in scored.items()
    }


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
