"""The images of a run in the manner of its sketches."""

import numpy as np

from iin_jax.analysis.judges.pictures import BRIGHT
from iin_jax.concepts import sketched
from iin_jax.concepts.sketches.entries import AS_IT_IS, LIKE_A, LIKE_B
from iin_jax.concepts.sketches.stylisers import MOST
from iin_jax.data import Dataset, with_versions
from iin_jax.files.paths import local_path
from iin_jax.runs.settings import Experiment

VERSIONS = (AS_IT_IS, LIKE_A, LIKE_B)


def sketched_dataset(
    dataset: Dataset, splits: dict[str, np.ndarray], experiment: Experiment
) -> tuple[Dataset, np.ndarray]:
    """The pictures of all splits as they are, and in the manner of both sketches.

    Args:
      dataset: the pictures.
      splits: split -> indices of its pictures.
      experiment: the settings, with both sketches.

    Returns:
      The data set, and both sketches as they were used, (2, H, W, C) in [-1, 1].

    Raises:
      ValueError: sketches that are no pictures, blank or alike, weights that a styliser
        misses, or an attribute that has the name of what they show.
      OSError: a sketch cannot be read.
    """
    concept = experiment.concept
    if concept.sketch_a is None or concept.sketch_b is None:
        raise ValueError("a concept from sketches needs both of them")
    candidates = np.sort(np.concatenate(list(splits.values())))
    images = dataset.images[candidates].astype(np.float32) / 127.5 - 1.0
    usual = concept.sketched_images == MOST
    entries = sketched(
        images,
        local_path(concept.sketch_a),
        local_path(concept.sketch_b),
        concept.styliser,
        experiment.seed,
        most=None if usual else concept.sketched_images,
    )
    count = len(entries.images) // len(VERSIONS)
    versions = 127.5 * (entries.images + 1.0)
    versions = versions.reshape(len(VERSIONS), count, *versions.shape[1:])
    if experiment.data.coloring != "none":
        versions = _equally_bright(versions)
    versions = np.round(versions).astype(np.uint8)
    stylised = with_versions(
        dataset,
        splits,
        candidates[entries.identity[:count]],
        dict(zip(VERSIONS, versions, strict=True)),
        concept.sketched,
        entries.notes,
    )
    return stylised, np.stack([entries.sketch_a, entries.sketch_b])


def _equally_bright(versions: np.ndarray) -> np.ndarray:
    """Grey pictures on black as bright as the first of them, since colours multiply.

    The colour of a painted picture is that of its brightest pixels, and a grey sketch
    shows none.

    Args:
      versions: (V, n, H, W, 1) in [0, 255].
    """
    flat = versions.reshape(*versions.shape[:2], -1)
    peaks = flat.max(axis=-1, keepdims=True)
    bright = flat >= BRIGHT * peaks
    brightness = (flat * bright).sum(axis=-1) / np.maximum(bright.sum(axis=-1), 1)
    scale = brightness[:1] / np.maximum(brightness, 1.0)
    return np.clip(versions * scale[..., None, None, None], 0.0, 255.0)
