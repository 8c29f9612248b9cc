"""The images of a run: which they are, how they are split, and what is shown."""

import dataclasses
import functools
from typing import Any

import numpy as np

from iin_jax.data import (
    SOURCES,
    ColorChoice,
    Dataset,
    DatasetView,
    ImageSet,
    SourceOptions,
    split_dataset,
    view_of,
)
from iin_jax.runs.settings import Experiment
from iin_jax.runs.sketches import sketched_dataset

PAIRED_COLORS = 64  # most colours of images in estimates
MAX_PAIRED = 16_384  # entries, unless there are more images
IMAGES_PER_COLOR = 8  # least number of training images in one colour


@dataclasses.dataclass(frozen=True, eq=False)
class RunImages:
    """What the settings of a run say of its images; all of it follows from them.

    Attributes:
      experiment: the settings.
    """

    experiment: Experiment

    @functools.cached_property
    def dataset(self) -> Dataset:
        """The images, with versions like the sketches where there are some."""
        sketched = self._sketched
        return self._source if sketched is None else sketched[0]

    @property
    def sketches(self) -> np.ndarray | None:
        """Both sketches as used, (2, H, W, C) in [-1, 1]; None without any."""
        return None if self._sketched is None else self._sketched[1]

    @functools.cached_property
    def _sketched(self) -> tuple[Dataset, np.ndarray] | None:
        """The images in all versions, and the sketches; None without any."""
        if self.experiment.concept.source != "sketches":
            return None
        return sketched_dataset(self._source, self._source_splits, self.experiment)

    @property
    def splits(self) -> dict[str, np.ndarray]:
        """split -> indices of images; no picture is in two."""
        dataset = self.dataset
        if dataset.versions > 1 and dataset.parts is not None:
            return dataset.parts
        return self._source_splits

    @functools.cached_property
    def _source(self) -> Dataset:
        """The images of the source; says what was converted or left out."""
        data = self.experiment.data
        options = SourceOptions(
            image_size=data.image_size,
            root=data.root,
            attributes=data.attributes,
            download=data.download,
            image_column=data.image_column,
            classes=data.classes or (),
            max_unreadable=data.max_unreadable,
            max_memory=data.max_memory * 2**20,
        )
        dataset = SOURCES[data.source](options)
        for note in dataset.notes:
            print(f"{dataset.name}: {note}")
        return dataset

    @functools.cached_property
    def _source_splits(self) -> dict[str, np.ndarray]:
        """split -> indices of the source's images, so many as the settings allow."""
        data = self.experiment.data
        fractions = {"validation": data.validation, "test": data.test}
        parts = split_dataset(self._source, fractions, self.experiment.seed)
        rng = np.random.default_rng([self.experiment.seed, 0x11417])
        most = data.limit or len(self._source)
        return {
            name: part if len(part) <= most else np.sort(rng.permutation(part)[:most])
            for name, part in parts.items()
        }

    @functools.cached_property
    def view(self) -> DatasetView:
        """The images as they are shown, with their labels: as they are, or painted."""
        experiment = self.experiment
        return view_of(
            self.dataset, experiment.data.coloring, self._palette, experiment.seed
        )

    @property
    def painted(self) -> bool:
        """Whether images are grey ones that are shown in colour."""
        return self.view.train_colors is not None

    @functools.cached_property
    def train_set(self) -> ImageSet:
        """Training images, distorted and coloured, that the flow sees.

        Where they are encoded in the training step they are distorted there, anew.
        """
        latents, seed = self.experiment.latents, self.experiment.seed
        indices = self.splits["train"]
        colors = ColorChoice("train", self._palette, latents.colors)
        if latents.mode == "stream":
            return self.view.entries(indices, colors, seed=seed)
        changed = {"variants": latents.variants, "augment": latents.augment}
        return self.view.entries(indices, colors, seed=seed, **changed)

    @functools.cached_property
    def validation_set(self) -> ImageSet:
        """Validation images, undistorted, in colours of their own."""
        return self._paired_set("validation", "validation", self.experiment.seed + 1)

    @functools.cached_property
    def test_set(self) -> ImageSet:
        """The images that are judged by, undistorted, in colours outside the palette.

        Those of the test split, or of validation where settings are chosen by them.
        """
        indices, copies = self.judged, self.experiment.evaluate.colors
        colors = ColorChoice("test", len(indices) * copies, copies)
        return self.view.entries(indices, colors, seed=self.experiment.seed)

    @functools.cached_property
    def paired_test_set(self) -> ImageSet:
        """Test images in few colours, so that every entry has partners."""
        if not self.painted:
            return self.test_set
        split = self.experiment.evaluate.split
        return self._paired_set(split, "test pairs", self.experiment.seed + 2)

    @property
    def judged(self) -> np.ndarray:
        """Indices of the images that are judged by."""
        return self.splits[self.experiment.evaluate.split]

    def describe(self) -> dict[str, Any]:
        """Which images these are, for the run's folder."""
        return {
            "name": self.dataset.name,
            "digest": self.dataset.digest,
            "images": {split: len(part) for split, part in self.splits.items()},
            "notes": list(self.dataset.notes),
            "unreadable": self.dataset.unreadable,
            "citation": self.dataset.citation,
        }

    @property
    def _palette(self) -> int:
        """Colours of training images, so few that each is on many of them."""
        latents = self.experiment.latents
        entries = len(self.splits["train"]) * latents.variants * latents.colors
        most = max(latents.colors, entries // IMAGES_PER_COLOR)
        return min(self.experiment.data.palette, most)

    def _paired_set(self, split: str, purpose: str, seed: int) -> ImageSet:
        indices = self.splits[split]
        count = min(PAIRED_COLORS, len(indices) // 2)
        copies = min(8, max(2, MAX_PAIRED // len(indices)))
        copies = max(1, min(copies, count))
        colors = ColorChoice(purpose, max(1, count), copies)
        return self.view.entries(indices, colors, seed=seed)
