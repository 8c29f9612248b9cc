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
from iin_jax.analysis import (
    Evidence,
    Examples,
    FeatureNetwork,
    Judge,
    Swapped,
    choose_judges,
    scorecard,
)
from iin_jax.analysis.choice import MOST_PICTURES, Pictures
from iin_jax.data import ImageSet
from iin_jax.files.machine import cores, processor, versions
from iin_jax.report import RunRecord, write
from iin_jax.training.log import MetricsLog

REPORT_IMAGES = 2048


def evaluate_stage(run: Run) -> None:
    """Measures everything the scorecard says, on held-out images."""
    evidence, devices = _evidence(run), jax.devices()
    split = run.experiment.evaluate.split
    card: dict[str, Any] = {
        **run.read_json("sizes.json"),
        "training": run.read_json("training.json"),
        **scorecard(evidence),
        "split": split,
        "test_indices": run.splits[split].tolist(),
        "test_images": len(run.splits[split]),
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
    attributes = run.attributes(run.test_set, order)
    write(
        iin_jax.load(run.folder),
        run.test_set.images(order),
        {name: run.dataset.named(name, x) for name, x in attributes.items()},
        run.folder / "report.html",
        scorecard=card,
        record=RunRecord(title, run.command, curves),
        figures_folder=run.folder / "figures",
    )


def _evidence(run: Run) -> Evidence:
    """What the analyses of a run share."""
    settings, concept = run.experiment.evaluate, run.experiment.concept
    train_set = run.cached_set("train")
    train = _examples(run, train_set, encoded=run.latents("train"))
    test = _examples(run, run.test_set)
    paired, layered = test, test
    if run.concepts:
        if run.paired_test_set is not run.test_set:
            paired = _examples(run, run.paired_test_set)
        layered = _examples(run, run.validation_set)
    features = None
    if settings.distance != "none":
        features = FeatureNetwork(
            settings.distance,
            settings.distance_images,
            settings.distance_size,
            run.experiment.network.download,
        )
    published = ("pooled", "correlation")
    estimator = concept.estimator if concept.estimator in published else "pooled"
    return Evidence(
        interpreter=iin_jax.load(run.folder),
        train=train,
        test=test,
        judges=_judges(run, train) if run.concepts else {},
        swapped=_swapped(run) if run.concepts else None,
        paired=paired,
        layered=layered,
        estimator=estimator,
        score_pairs=concept.score_pairs,
        certified=settings.latents,
        features=features,
        seed=run.experiment.seed,
    )


def _examples(run: Run, images: ImageSet, **known: Any) -> Examples:
    return Examples(
        run.network,
        images.images,
        len(images),
        run.attributes(images),
        images.item,
        source=run.source(images),
        classes=run.dataset.classes,
        **known,
    )


def _swapped(run: Run) -> Swapped:
    """Pairs of test images that differ, painted in fresh colours."""
    count, drawn = run.experiment.evaluate.pairs, run.swap_items()
    a, b = (
        run.image_set(
            drawn[:, side],
            run.colors(purpose, count)[: len(drawn)] if run.colored else None,
        )
        for side, purpose in enumerate(("swap a", "swap b"))
    )
    truths = {}
    if run.colored and run.network.output == "images" and COLOR in run.concepts:
        truths = {COLOR: run.image_set(a.item, b.rgb).images()}
    return Swapped(_examples(run, a), _examples(run, b), truths)


def _judges(run: Run, train: Examples) -> dict[str, Judge]:
    """Trained on pictures as they are: no autoencoder, flow or test image is in it."""

    def pictures() -> tuple[Pictures, Pictures]:
        rng = np.random.default_rng([run.experiment.seed, 0x7D6E])
        part = np.sort(rng.permutation(run.splits["train"])[:MOST_PICTURES])
        unseen = run.splits[run.experiment.evaluate.split]
        labels, images = run.dataset.labels, run.dataset.images
        seen, test = (
            (images[rows], {name: x[rows] for name, x in labels.items()})
            for rows in (part, unseen)
        )
        return seen, test

    return choose_judges(
        run.concepts,
        train,
        pictures,
        by_shape=run.colored,
        epochs=run.experiment.evaluate.judge_epochs or None,
        seed=run.experiment.seed,
    )


def _peak_memory_mb() -> int:
    """Of this process so far; a resumed run says what its last process needed."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return math.ceil(peak / (2**20 if sys.platform == "darwin" else 2**10))
