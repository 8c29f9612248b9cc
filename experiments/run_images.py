"""The images of a run: which they are, how they are split, painted and paired."""

import dataclasses
import functools
import hashlib
import json
from typing import Any, NamedTuple

import numpy as np

from experiments.settings import COLOR, Experiment
from iin_jax.analysis import is_class, known_rows
from iin_jax.concepts import (
    FactorScores,
    Pairs,
    PairTable,
    factor_scores,
    pair_table,
    pairs_from_labels,
    quantile_classes,
)
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
from iin_jax.factors import RESIDUAL
from iin_jax.weights.hints import nearest

VALIDATION_COLORS = 64
MAX_VALIDATION = 16_384  # entries, unless there are more images
STREAM_CACHED = 16_384  # entries that probes and references stand on, if streamed
RESERVED = (RESIDUAL, "z", "pca")  # other rows of the scorecard's tables
IMAGES_PER_COLOR = 8  # at least, in training
COLOR_SEEDS = {"train": 0, "validation": 1, "test": 2, "swap a": 3, "swap b": 4}
# settings that say where images are, not which
WHERE_DATA_LIES = ("data.root", "data.attributes", "data.download")


class Labels(NamedTuple):
    """Concepts of entries: ``discrete`` values, and ``graded`` real ones."""

    discrete: dict[str, np.ndarray]
    graded: dict[str, np.ndarray]


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

    def check_images(self) -> None:
        """Raises ValueError for data or concepts that could only fail later."""
        if self.colored and self.dataset.images.shape[-1] != 1:
            raise ValueError(
                f"{self.dataset.name} has colours already: set --data.coloring none"
            )
        for name in self.attributes_of_interest:
            self._check_attribute(name)
        _ = self.train_set, self.validation_set, self.test_set
        if self.concepts:
            self.pair_table(self.train_set)
            self.validation_pairs(self.experiment.concept.score_pairs)
        if self.experiment.network.kind == "classifier":
            _ = self.classified

    def _check_attribute(self, name: str) -> None:
        """Judges and probes need two values to learn from, and one to be tested on."""
        if name == COLOR and self.colored:
            return
        if name in RESERVED:
            raise ValueError(f"no attribute can be called {name!r}: rename that column")
        for split, least in (("train", 2), ("test", 1)):
            values = self.dataset.labels[name][self.splits[split]]
            known = np.unique(np.ma.getdata(values)[known_rows(values)])
            if len(known) < least:
                raise ValueError(
                    f"attribute {name!r} has {len(known)} known values among the "
                    f"{len(values)} {split} images, but {least} are needed: choose "
                    "others with --concept.names, or another --seed"
                )

    @property
    def colored(self) -> bool:
        """Whether images are painted."""
        return self.experiment.data.coloring != "none"

    @property
    def channels(self) -> int:
        """Of the images that the network takes."""
        return 3 if self.colored else self.dataset.images.shape[-1]

    @functools.cached_property
    def attributes_of_interest(self) -> tuple[str, ...]:
        """What is asked about: the concepts, or without any what judges can see.

        Raises:
          ValueError: an attribute that the images do not have.
        """
        names = self.experiment.concept.names
        known = (*self.dataset.labels, *([COLOR] if self.colored else []))
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(
                f"concept.names: {self.dataset.name} has no attribute {unknown[0]!r}"
                f"{nearest(unknown[0], known)}"
            )
        return names or known

    @functools.cached_property
    def concepts(self) -> tuple[str, ...]:
        """Names of the concepts, in order; empty for a flow without any.

        Raises:
          ValueError: no concept, unknown ones, or another number of given sizes.
        """
        concept = self.experiment.concept
        if concept.source == "none":
            return ()
        names = self.attributes_of_interest
        if not names:
            raise ValueError(
                f"{self.dataset.name} has no attribute that could be a concept; set "
                "--concept.source none for a flow without concepts"
            )
        if concept.sizes and len(concept.sizes) != len(names):
            raise ValueError(
                f"concept.sizes gives the concepts {list(names)} their dimensions; got "
                f"{list(concept.sizes)}"
            )
        graded = [name for name in names if self._is_graded(name)]
        return (*(name for name in names if name not in graded), *graded)

    @property
    def classified(self) -> str:
        """The attribute that a classifier is trained on: the first with classes.

        Raises:
          ValueError: there is none, or its values are not known for all images.
        """
        known = [name for name in self.attributes_of_interest if name != COLOR]
        classes = [name for name in known if is_class(self.dataset.labels[name])]
        if not classes or np.ma.is_masked(self.dataset.labels[classes[0]]):
            raise ValueError(
                f"a classifier needs an attribute with classes, known for all images; "
                f"{self.dataset.name} has {known}"
            )
        return classes[0]

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
        indices = self.splits["validation"]
        count = min(VALIDATION_COLORS, len(indices) // 2)
        copies = min(8, max(2, MAX_VALIDATION // len(indices)))
        copies = max(1, min(copies, count))
        colors = self.colors("validation", max(1, count)) if self.colored else None
        return self._image_set(indices, colors, copies, self.experiment.seed + 1)

    @functools.cached_property
    def test_set(self) -> ImageSet:
        """Test images, undistorted, in colours outside the palette."""
        copies, indices = self.experiment.evaluate.colors, self.splits["test"]
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

    def labels(self, images: ImageSet) -> Labels:
        """Concepts of entries for pairing: discrete, and graded where asked for."""
        discrete, graded = {}, {}
        values = self.attributes(images)
        for name in self.concepts:
            if name == COLOR and self.colored:
                discrete[name] = images.color
            elif self._is_graded(name):
                graded[name] = values[name]
            elif is_class(values[name]):
                discrete[name] = values[name]
            else:
                bins = self.experiment.concept.bins
                discrete[name] = quantile_classes(values[name], bins)
        return Labels(discrete, graded)

    def pair_table(self, images: ImageSet) -> PairTable | None:
        """Who can form a pair with whom; None without concepts. Says who cannot."""
        if not self.concepts:
            return None
        discrete, graded = self.labels(images)
        recolored = (COLOR,) if self.experiment.concept.recolored else ()
        table = pair_table(
            discrete,
            differ=recolored,
            identity=images.variant if recolored else None,
            graded=graded,
            drop_alone=True,
        )
        for name, alone in zip(self.concepts, np.asarray(table.alone), strict=False):
            if alone:
                print(f"{name}: {alone} of {len(images)} entries have no partner")
        return table

    def _is_graded(self, name: str) -> bool:
        """Whether any two values of a concept form a pair, more or less similar."""
        values = self.dataset.labels.get(name)
        wanted = self.experiment.concept.continuous == "sigma"
        return wanted and values is not None and not is_class(values)

    def validation_scores(
        self, z: np.ndarray, count: int
    ) -> tuple[Pairs, FactorScores]:
        """Pairs of validation entries, and how similar their latents (n, N) are."""
        pairs, settings = self.validation_pairs(count), self.experiment
        scores = factor_scores(
            z[pairs.a],
            z[pairs.b],
            pairs.concept,
            self.concepts,
            settings.concept.estimator,
            seed=settings.seed,
        )
        return pairs, scores

    def validation_pairs(self, count: int) -> Pairs:
        """Pairs of validation entries that agree in a concept, or a quantile of it."""
        discrete, graded = self.labels(self.validation_set)
        bins = self.experiment.concept.bins
        classes = {name: quantile_classes(x, bins) for name, x in graded.items()}
        return pairs_from_labels(
            {**discrete, **classes}, count, self.experiment.seed, drop_alone=True
        )

    def attributes(
        self, images: ImageSet, entries: np.ndarray | slice = slice(None)
    ) -> dict[str, np.ndarray]:
        """True values of entries, for judges, probes and pictures: colours as RGB."""
        items, result = images.item[entries], {}
        for name in self.attributes_of_interest:
            painted = name == COLOR and self.colored
            result[name] = (
                images.rgb[entries] if painted else self.dataset.labels[name][items]
            )
        return result
