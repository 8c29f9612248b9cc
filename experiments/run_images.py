"""The images of a run: which they are, how they are split, painted and paired."""

import dataclasses
import functools
import hashlib
import json
from typing import Any

import numpy as np

from experiments.settings import Experiment
from iin_jax.data import (
    SOURCES,
    Affine,
    Background,
    Dataset,
    ImageSet,
    SourceOptions,
    colored_set,
    palette,
    plain_set,
    split_dataset,
)

PAIRED_COLORS = 64  # most colours of images in estimates
MAX_PAIRED = 16_384  # entries, unless there are more images
STREAM_CACHED = 16_384  # entries that probes and references stand on, if streamed
IMAGES_PER_COLOR = 8  # least number of training images in one colour
COLOR_SEEDS = {
    "train": 0,
    "validation": 1,
    "test": 2,
    "swap a": 3,
    "swap b": 4,
    "test pairs": 5,
}
# settings that say where images are, not which
WHERE_DATA_LIES = ("data.root", "data.attributes", "data.download", "data.max_memory")


class RunImages:
    """What the settings of a run say of its images; all of it follows from them.

    Attributes:
      experiment: the settings.
    """

    experiment: Experiment

    @functools.cached_property
    def dataset(self) -> Dataset:
        """The images; says what was converted or left out."""
        data = self.experiment.data
        options = SourceOptions(
            image_size=data.image_size,
            root=data.root,
            attributes=data.attributes,
            download=data.download,
            image_column=data.image_column,
            max_unreadable=data.max_unreadable,
            max_memory=data.max_memory * 2**20,
        )
        dataset = SOURCES[data.source](options)
        for note in dataset.notes:
            print(f"{dataset.name}: {note}")
        return dataset

    @functools.cached_property
    def splits(self) -> dict[str, np.ndarray]:
        """split -> indices of images; no image is in two."""
        data = self.experiment.data
        fractions = {"validation": data.validation, "test": data.test}
        parts = split_dataset(self.dataset, fractions, self.experiment.seed)
        rng = np.random.default_rng([self.experiment.seed, 0x11417])
        most = data.limit or len(self.dataset)
        return {
            name: part if len(part) <= most else np.sort(rng.permutation(part)[:most])
            for name, part in parts.items()
        }

    @property
    def colored(self) -> bool:
        """Whether images are painted."""
        return self.experiment.data.coloring != "none"

    @property
    def channels(self) -> int:
        """Of the images that the network takes."""
        return 3 if self.colored else self.dataset.images.shape[-1]

    @functools.cached_property
    def train_colors(self) -> np.ndarray:
        """The palette, cut so that each colour is on many images and has partners."""
        latents = self.experiment.latents
        entries = len(self.splits["train"]) * latents.variants * latents.colors
        most = max(latents.colors, entries // IMAGES_PER_COLOR)
        return self.colors("train", min(self.experiment.data.palette, most))

    @functools.cached_property
    def train_set(self) -> ImageSet:
        """Training images, distorted and coloured, that the flow sees.

        Where they are encoded in the training step they are distorted there, anew.
        """
        latents = self.experiment.latents
        colors = self.train_colors if self.colored else None
        chosen = self.splits["train"], colors, latents.colors, self.experiment.seed
        if latents.mode == "stream":
            return self._image_set(*chosen)
        return self._image_set(*chosen, latents.variants, latents.augment)

    @functools.cached_property
    def validation_set(self) -> ImageSet:
        """Validation images, undistorted, in colours of their own."""
        return self._paired_set("validation", "validation", self.experiment.seed + 1)

    @functools.cached_property
    def paired_test_set(self) -> ImageSet:
        """Test images in few colours, so that every entry has partners."""
        if not self.colored:
            return self.test_set
        split = self.experiment.evaluate.split
        return self._paired_set(split, "test pairs", self.experiment.seed + 2)

    @functools.cached_property
    def test_set(self) -> ImageSet:
        """The images that are judged by, undistorted, in colours outside the palette.

        Those of the test split, or of validation where settings are chosen by them.
        """
        evaluate = self.experiment.evaluate
        copies, indices = evaluate.colors, self.splits[evaluate.split]
        colors = self.colors("test", len(indices) * copies) if self.colored else None
        return self._image_set(indices, colors, copies, self.experiment.seed)

    def image_set(self, items: np.ndarray, colors: np.ndarray | None) -> ImageSet:
        """Given images, each in a colour of its own, (n, 3), where they are painted."""
        if colors is None:
            return ImageSet(self.dataset.images, items, items)
        each = np.arange(len(items))
        return ImageSet(
            self.dataset.images, items, items, colors, each, self.background
        )

    def _paired_set(self, split: str, purpose: str, seed: int) -> ImageSet:
        indices = self.splits[split]
        count = min(PAIRED_COLORS, len(indices) // 2)
        copies = min(8, max(2, MAX_PAIRED // len(indices)))
        copies = max(1, min(copies, count))
        colors = self.colors(purpose, max(1, count)) if self.colored else None
        return self._image_set(indices, colors, copies, seed)

    def _image_set(
        self,
        indices: np.ndarray,
        colors: np.ndarray | None,
        copies: int,
        seed: int,
        variants: int = 1,
        augment: Affine | None = None,
    ) -> ImageSet:
        images = self.dataset.images
        changed = {"variants": variants, "augment": augment, "seed": seed}
        if colors is None:
            return plain_set(images, indices, **changed)
        return colored_set(
            images,
            indices,
            colors,
            copies=copies,
            background=self.background,
            **changed,
        )

    @property
    def background(self) -> Background:
        """Of painted images."""
        return "negative" if self.experiment.data.coloring == "negative" else "black"

    def colors(self, purpose: str, count: int) -> np.ndarray:
        """Colours (count, 3); two purposes have none in common."""
        return palette(count, 10 * self.experiment.seed + COLOR_SEEDS[purpose])

    def describe_data(self) -> dict[str, Any]:
        """Which images these are, for the run's folder."""
        return {
            "name": self.dataset.name,
            "digest": self.dataset.digest,
            "images": {split: len(part) for split, part in self.splits.items()},
            "notes": list(self.dataset.notes),
            "unreadable": self.dataset.unreadable,
            "citation": self.dataset.citation,
        }

    def cached_set(self, split: str) -> ImageSet:
        """The entries of a split that are in the cache: all, or a part if streamed."""
        images = self.validation_set if split == "validation" else self.train_set
        if self.experiment.latents.mode == "cache" or len(images) <= STREAM_CACHED:
            return images
        rng = np.random.default_rng([self.experiment.seed, 0xCAC4E])
        return images.subset(np.sort(rng.permutation(len(images))[:STREAM_CACHED]))

    def digest_of(self, split: str) -> str:
        """Of everything beside the network that a split's latents depend on."""
        experiment = self.experiment
        made_of = {
            "images": self.dataset.digest,
            "data": dataclasses.asdict(experiment.data),
            "latents": dataclasses.asdict(experiment.latents),
            "seed": experiment.seed,
            "split": split,
        }
        for name in WHERE_DATA_LIES:
            made_of["data"].pop(name.removeprefix("data."))
        text = json.dumps(made_of, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
