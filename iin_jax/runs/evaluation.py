"""The stages after training: the scorecard on held-out images, and the report."""

import dataclasses
import math
import resource
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

import iin_jax
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
from iin_jax.data import COLOR, ImageSet
from iin_jax.files.machine import commit, cores, processor, versions
from iin_jax.report import RunRecord, write
from iin_jax.runs.invariances import invariance_grids, learned_invariances
from iin_jax.runs.run import Run
from iin_jax.training.log import MetricsLog

REPORT_IMAGES = 2048
SHOWN_PICTURES = 10  # test images that a report shows in all manners


def evaluate_stage(run: Run) -> None:
    """Measures everything the scorecard says, on held-out images."""
    start = time.monotonic()
    evidence, devices = evidence_of(run), jax.devices()
    split = run.experiment.evaluate.split
    card: dict[str, Any] = {
        **run.folder.read_json("sizes.json"),
        "training": run.folder.read_json("training.json"),
        **scorecard(evidence, progress=True),
        "split": split,
        "split_images": run.images.describe()["images"],
        "test_indices": run.images.judged.tolist(),
        "test_images": len(run.images.judged),
        "latents": run.latents.encoding_speed(),
        "peak_memory_mb": _peak_memory_mb(),
        "command": run.command,
        "seed": run.experiment.seed,
        "commit": commit(),
        "versions": versions(),
        "device": f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform})",
        "processor": f"{cores()} cores of {processor()}",
        "seconds": _seconds(run, time.monotonic() - start),
    }
    run.folder.write_json("scorecard.json", card)


def report_stage(run: Run) -> None:
    """Draws the pictures and writes the report."""
    card = run.folder.read_json("scorecard.json")
    curves = {
        stage: lines
        for stage in ("network", "flow")
        if (lines := MetricsLog.read(run.folder.path, stage))
    }
    rng = np.random.default_rng(run.experiment.seed)
    order = rng.permutation(len(run.images.test_set))[:REPORT_IMAGES]
    title = f"{run.name}: {run.network.architecture} of {_data_name(run)}"
    attributes = run.concepts.values(run.images.test_set, order)
    grids = _grids(run) | invariance_grids(run)
    write(
        iin_jax.load(run.folder.path),
        run.images.test_set.images(order),
        {name: run.images.dataset.named(name, x) for name, x in attributes.items()},
        run.folder.path / "report.html",
        scorecard=card,
        record=RunRecord(title, run.command, curves, _data_name(run), grids),
        figures_folder=run.folder.path / "figures",
    )


def _grids(run: Run) -> dict[str, tuple[str, np.ndarray]]:
    """Pictures of a run's sketches; empty without any."""
    dataset, sketches = run.images.dataset, run.images.sketches
    if sketches is None:
        return {}
    rng = np.random.default_rng([run.experiment.seed, 0x96D])
    pictures = np.unique(dataset.picture_of(run.images.judged))
    pictures = rng.permutation(pictures)[:SHOWN_PICTURES]
    rows = [
        run.images.view.singles(pictures + k * dataset.pictures, "test").images()
        for k in range(dataset.versions)
    ]
    concept = run.experiment.concept
    title = f"{concept.sketched}: the two sketches"
    return {
        "sketches": (title, sketches[None]),
        "sketched_images": (
            "test images, and the same in the manner of each sketch",
            np.stack([np.asarray(row) for row in rows]),
        ),
    }


def _seconds(run: Run, here: float) -> dict[str, float]:
    """Of all stages so far, with the seconds of this one ``here``."""
    seconds = {name: entry["seconds"] for name, entry in run.folder.stages.items()}
    seconds["evaluate"] = round(seconds.get("evaluate", 0.0) + here, 2)
    return seconds


def _data_name(run: Run) -> str:
    """Name of the images; of a folder, the name that its owner gave it."""
    settings = run.experiment.data
    if settings.source == "folder" and settings.root is not None:
        return f"the folder {Path(settings.root).resolve().name!r}"
    return run.images.dataset.name


def evidence_of(run: Run) -> Evidence:
    """What the analyses of a run share."""
    settings, concept = run.experiment.evaluate, run.experiment.concept
    train_set = run.latents.images("train")
    train = _examples(run, train_set, encoded=run.latents.cached("train"))
    test = _examples(run, run.images.test_set)
    paired, layered = test, test
    if run.concepts.names:
        if run.images.paired_test_set is not run.images.test_set:
            paired = _examples(run, run.images.paired_test_set)
        layered = _examples(run, run.images.validation_set)
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
        interpreter=iin_jax.load(run.folder.path),
        train=train,
        test=test,
        judges=_judges(run, train) if run.concepts.names else {},
        swapped=_swapped(run) if run.concepts.names else None,
        paired=paired,
        layered=layered,
        estimator=estimator,
        score_pairs=concept.score_pairs,
        certified=settings.latents,
        features=features,
        invariances=learned_invariances(run),
        seed=run.experiment.seed,
    )


def _examples(run: Run, images: ImageSet, **known: Any) -> Examples:
    return Examples(
        run.network,
        images.images,
        len(images),
        run.concepts.values(images),
        images.pictures,
        source=run.concepts.source(images),
        classes=run.images.dataset.classes,
        **known,
    )


def _swapped(run: Run) -> Swapped:
    """Pairs of test images that differ, painted in fresh colours."""
    a, b = run.concepts.swap_sides()
    truths = {}
    shown = run.images.painted and run.network.output == "images"
    if shown and COLOR in run.concepts.names:
        truths = {COLOR: a.in_colors(b.rgb).images()}
    dataset, sketched = run.images.dataset, run.concepts.sketched
    if dataset.versions > 1 and run.network.output == "images":
        items = a.pictures + b.item - b.pictures  # a's picture in the version of b
        truths[sketched] = dataclasses.replace(a, item=items, variant=items).images()
    return Swapped(_examples(run, a), _examples(run, b), truths)


def _judges(run: Run, train: Examples) -> dict[str, Judge]:
    """Trained on pictures as they are: no autoencoder, flow or test image is in it."""

    def pictures() -> tuple[Pictures, Pictures]:
        rng = np.random.default_rng([run.experiment.seed, 0x7D6E])
        part = np.sort(rng.permutation(run.images.splits["train"])[:MOST_PICTURES])
        unseen = run.images.judged
        labels, images = run.images.view.labels, run.images.dataset.images
        seen, test = (
            (images[rows], {name: x[rows] for name, x in labels.items()})
            for rows in (part, unseen)
        )
        return seen, test

    return choose_judges(
        run.concepts.attributes,
        train,
        pictures,
        by_shape=run.images.painted,
        epochs=run.experiment.evaluate.judge_epochs or None,
        seed=run.experiment.seed,
        progress=True,
    )


def _peak_memory_mb() -> int:
    """Of this process so far; a resumed run says what its last process needed."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return math.ceil(peak / (2**20 if sys.platform == "darwin" else 2**10))
