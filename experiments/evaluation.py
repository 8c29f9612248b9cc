"""The stages after training: the scorecard on held-out images, and the report."""

import math
import resource
import sys
from typing import Any

import jax
import numpy as np

import iin_jax
from experiments.run_folder import Run
from experiments.settings import COLOR
from iin_jax import networks
from iin_jax.analysis import (
    ColorJudge,
    ConvolutionalJudge,
    Judge,
    LatentJudge,
    LinearEdits,
    LogitsJudge,
    ShapeJudge,
    distances,
    evaluate_swaps,
    image_features,
    layer_scores,
    leakage,
    shape_judge,
)
from iin_jax.concepts import factor_sizes
from iin_jax.concepts.whitening import fit_whitening
from iin_jax.data import ImageSet
from iin_jax.files.machine import cores, processor
from iin_jax.latents import LatentCache, encode_all
from iin_jax.losses import bits_per_dim
from iin_jax.networks import AutoencoderNetwork, ClassifierNetwork
from iin_jax.report import RunRecord, versions, write
from iin_jax.training.log import MetricsLog
from iin_jax.types import Images

JUDGE_IMAGES = 60_000  # most training images of an image judge
JUDGE_LATENTS = 4096  # most training latents of a judge of z
LAYER_PAIRS = 1000  # pairs behind the scores of a layer
REPORT_IMAGES = 2048
FEATURES = {"squeezenet1_1": "features.12", "inception_v3_fid": "flatten"}


def evaluate_stage(run: Run) -> None:
    """Measures everything the scorecard says, on held-out images."""
    interpreter = iin_jax.load(run.folder)
    test = encode_all(run.network, run.test_set.images, len(run.test_set))
    train_cache, train_set = run.latents("train"), run.cached_set("train")
    few = np.random.default_rng(run.experiment.seed).permutation(len(train_set))
    few = np.sort(few[: 4 * len(run.test_set)])
    certified = run.test_set.images(slice(0, run.experiment.evaluate.latents))
    devices = jax.devices()
    card: dict[str, Any] = {
        **run.read_json("sizes.json"),
        "certificate": interpreter.certify(certified),
        "leakage": leakage(
            interpreter,
            train_cache.mean[few],
            test.mean,
            run.attributes(train_set, few),
            run.attributes(run.test_set),
            seed=run.experiment.seed,
        ),
        "probe_train": len(few),
        "probe_test": len(run.test_set),
        "nll_bits_per_dim": _likelihoods(run, interpreter, train_cache, test),
        "training": run.read_json("training.json"),
    }
    if run.concepts:
        card["test_pairs"] = _test_scores(run, test)
        card |= _swap_figures(run, interpreter, train_cache)
        card["layer_scores"] = _layer_scores(run)
    if run.experiment.evaluate.distance != "none":
        card["distances"] = _distances(run, interpreter)
    card |= {
        "split": run.experiment.evaluate.split,
        "test_indices": run.splits[run.experiment.evaluate.split].tolist(),
        "test_images": len(run.splits[run.experiment.evaluate.split]),
        "latents": run.encoding_speed(),
        "peak_memory_mb": _peak_memory_mb(),
        "command": run.command,
        "seed": run.experiment.seed,
        "versions": versions(),
        "device": f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})",
        "processor": f"{cores()} cores of {processor()}",
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
    order = order[:REPORT_IMAGES]
    title = f"{run.name}: {run.network.architecture} of {run.dataset.name}"
    record = RunRecord(title, run.command, card, curves)
    attributes = run.attributes(run.test_set, order)
    write(
        iin_jax.load(run.folder),
        run.test_set.images(order),
        {name: run.dataset.named(name, x) for name, x in attributes.items()},
        run.folder / "report.html",
        record=record,
        figures_folder=run.folder / "figures",
    )


def _swap_figures(
    run: Run, interpreter: iin_jax.Interpreter, train: LatentCache
) -> dict[str, Any]:
    """Swaps on pairs of test images that differ, painted in fresh colours."""
    a, b = _swap_sides(run)
    truths = None
    if run.colored and run.network.output == "images" and COLOR in run.concepts:
        truths = {COLOR: run.image_set(a.item, b.rgb).images()}
    true = run.attributes(run.cached_set("train"))
    concepts = {name: true[name] for name in run.concepts}
    judges = _judges(run, train)
    found = evaluate_swaps(
        interpreter,
        a.images(),
        b.images(),
        run.attributes(a),
        run.attributes(b),
        judges,
        latents=_judged_in_z(run),
        linear=LinearEdits.fit(train.mean, concepts),
        truths=truths,
        start=interpreter.without_flow() if interpreter.has_start else None,
        pictures=(a.item, b.item),
    )
    tested = {
        name: {
            "kind": judge.kind,
            "held_out_accuracy": judge.test_accuracy,
            "held_out_error": getattr(judge, "test_error", None),
        }
        for name, judge in judges.items()
        if isinstance(judge, (ShapeJudge, ConvolutionalJudge))
    }
    return {**found, "judges": tested}


def _swap_sides(run: Run) -> tuple[ImageSet, ImageSet]:
    """Both halves of the pairs that are swapped, in fresh colours if painted."""
    count, drawn = run.experiment.evaluate.pairs, run.swap_items()
    first, second = (
        run.image_set(
            drawn[:, side],
            run.colors(purpose, count)[: len(drawn)] if run.colored else None,
        )
        for side, purpose in enumerate(("swap a", "swap b"))
    )
    return first, second


def _judges(run: Run, train: LatentCache) -> dict[str, Judge]:
    """Who reads each concept: from pictures if there are any, else from z."""
    if run.network.output == "images":
        return _picture_judges(run)
    if not _judged_in_z(run):
        return {run.classified: LogitsJudge()}
    images = run.cached_set("train")
    rng = np.random.default_rng([run.experiment.seed, 0x10DC])
    few = np.sort(rng.permutation(len(images))[:JUDGE_LATENTS])
    judges: dict[str, Judge] = {}
    for name, values in run.attributes(images, few).items():
        judges[name] = LatentJudge.train(train.mean[few], values)
    return judges


def _picture_judges(run: Run) -> dict[str, Judge]:
    """Trained on pictures as they are: no autoencoder, flow or test image is in it."""
    painted = [name for name in run.concepts if name == COLOR and run.colored]
    judges: dict[str, Judge] = {name: ColorJudge() for name in painted}
    read = [name for name in run.concepts if name not in painted]
    if not read:
        return judges
    rng = np.random.default_rng([run.experiment.seed, 0x7D6E])
    part = np.sort(rng.permutation(run.splits["train"])[:JUDGE_IMAGES])
    held_out = run.splits[run.experiment.evaluate.split]
    seen, unseen = run.dataset.images[part], run.dataset.images[held_out]
    for name in read:
        values = run.dataset.labels[name]
        pictures = seen, values[part]
        options = {"test": (unseen, values[held_out]), "seed": run.experiment.seed}
        if run.colored:
            judges[name] = shape_judge(*pictures, **options)
        else:
            epochs = run.experiment.evaluate.judge_epochs or None
            judges[name] = ConvolutionalJudge.train(
                *pictures, view="color", epochs=epochs, **options
            )
    return {name: judges[name] for name in run.concepts}


def _judged_in_z(run: Run) -> bool:
    """Whether neither pictures nor logits of digits come out of the network."""
    shows_digits = isinstance(run.network, (AutoencoderNetwork, ClassifierNetwork))
    return not shows_digits


def _test_scores(run: Run, test: LatentCache) -> dict[str, Any]:
    """Scores and the sizes that they would give, on pairs of test images."""
    images = run.paired_test_set
    if images is not run.test_set:
        test = encode_all(run.network, images.images, len(images))
    count = run.experiment.concept.score_pairs
    pairs, scores = run.scores(images, test.mean, count, _published(run))
    return {
        "scores": dict(scores),
        "score_intervals": scores.intervals,
        "estimator": scores.estimator,
        "sizes": factor_sizes(scores, test.mean.shape[1]).as_dict(),
        "pairs": len(pairs.a),
    }


def _published(run: Run) -> str:
    """The estimator of scores that compare from layer to layer, and with the paper."""
    estimator = run.experiment.concept.estimator
    return estimator if estimator in ("pooled", "correlation") else "pooled"


def _layer_scores(run: Run) -> dict[str, Any]:
    """The sizes' scores at every layer of the network, on validation pairs."""
    images, concept = run.validation_set, run.experiment.concept
    pairs = run.pairs(images, min(concept.score_pairs, LAYER_PAIRS))
    scored = layer_scores(
        run.network,
        images.images,
        len(images),
        pairs,
        run.concepts,
        _published(run),
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


def _distances(run: Run, interpreter: iin_jax.Interpreter) -> dict[str, Any]:
    """Samples through T, samples without T and reconstructions, from test images."""
    evaluate = run.experiment.evaluate
    judge = networks.load(evaluate.distance, download=run.experiment.network.download)
    size = evaluate.distance_size or judge.image_size[0]
    layer, real = FEATURES[evaluate.distance], run.test_set
    count = min(evaluate.distance_images, len(real))
    rng = np.random.default_rng([run.experiment.seed, 0xF1D])
    draws = rng.standard_normal((count, interpreter.layout.dim)).astype(np.float32)

    def through(part: slice) -> Images:
        return interpreter.decode(interpreter.untranslate(draws[part]))

    def without(part: slice) -> Images:
        return interpreter.decode(draws[part])

    def reconstructed(part: slice) -> Images:
        return interpreter.decode(interpreter.encode(real.images(part)))

    def features(images) -> np.ndarray:
        return image_features(judge, layer, images, count, resize=size)

    reference = features(real.images)
    result = {}
    for name, images in {
        "samples": through,
        "samples_without_flow": without,
        "reconstructions": reconstructed,
    }.items():
        found = distances(judge, layer, features(images), reference, size)
        result[name] = {kind: each.as_dict() for kind, each in found.items()}
    return result


def _peak_memory_mb() -> int:
    """Of this process so far; a resumed run says what its last process needed."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return math.ceil(peak / (2**20 if sys.platform == "darwin" else 2**10))


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
    gaussian = fit_whitening(parts["train"])
    result: dict[str, Any] = {}
    for name, z in parts.items():
        nll = -float(interpreter.log_prob(z).mean())
        result[name] = float(bits_per_dim(nll, dim))
        result[f"gaussian_{name}"] = gaussian.bits_per_dim(z)
        result[f"{name}_latents"] = len(z)
    return result
