"""The concepts of a run: which attributes they are, and who can form a pair."""

import functools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from experiments.run_images import RunImages
from experiments.settings import COLOR
from iin_jax.concepts import (
    FactorScores,
    LabelPairs,
    Pairs,
    factor_scores,
    quantile_classes,
)
from iin_jax.data import ImageSet
from iin_jax.data.values import MISSING, is_class, known_rows
from iin_jax.factors import RESIDUAL
from iin_jax.files.hints import nearest
from iin_jax.latents import LatentCache
from iin_jax.prepared import PreparedLatents

RESERVED = (RESIDUAL, "z", "pca")  # other rows of the scorecard's tables


class Labels(NamedTuple):
    """Concepts of entries: ``discrete`` values, and ``graded`` real ones."""

    discrete: dict[str, np.ndarray]
    graded: dict[str, np.ndarray]


class RunConcepts(RunImages):
    """What the settings of a run say of its concepts; see ``RunImages``."""

    def check_images(self) -> None:
        """Raises ValueError for data or concepts that could only fail later."""
        if self.colored and self.dataset.images.shape[-1] != 1:
            raise ValueError(
                f"{self.dataset.name} has colours already: set --data.coloring none"
            )
        for name in self.attributes_of_interest:
            self._check_attribute(name)
        if len(self.splits["test"]) < 2:
            raise ValueError(
                "a report needs at least two test images; there is 1: set --data.test "
                "or --data.limit higher"
            )
        _ = self.train_set, self.validation_set, self.test_set
        if self.concepts:
            self._check_pairs()
            self.swap_items()
        if self.experiment.network.kind == "classifier":
            _ = self.classified

    def _check_attribute(self, name: str) -> None:
        """Judges and probes need two values to learn from, and one to be tested on."""
        if self._is_painted(name):
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

    def _check_pairs(self) -> None:
        """All that is paired later, in training or for estimates, can be."""
        count = self.experiment.concept.score_pairs
        try:
            for images in (self.train_set, self.validation_set):
                self._say_who_is_alone(images)
            self.pairs(self.validation_set, count)
            self.pairs(self.paired_test_set, count)
        except ValueError as error:
            raise ValueError(
                f"{error} (--concept.names chooses the attributes)"
            ) from error

    def _say_who_is_alone(self, images: ImageSet) -> None:
        source = self.source(images)
        for name, alone in ({} if source is None else source.alone).items():
            print(f"{name}: {alone} of {len(images)} entries have no partner")

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
    def given_sizes(self) -> dict[str, int] | None:
        """Concept -> its dimensions, in the concepts' order; None: to be estimated.

        The settings give them in the order of ``attributes_of_interest``.
        """
        concepts, sizes = self.concepts, self.experiment.concept.sizes
        if not sizes:
            return None
        given = dict(zip(self.attributes_of_interest, sizes, strict=True))
        return {name: given[name] for name in concepts}

    @property
    def classified(self) -> str:
        """The attribute that a classifier is trained on: the first with classes.

        Raises:
          ValueError: there is none, or its values are not known for all images.
        """
        names = self.attributes_of_interest
        known = [name for name in names if not self._is_painted(name)]
        classes = [name for name in known if is_class(self.dataset.labels[name])]
        if not classes or np.ma.is_masked(self.dataset.labels[classes[0]]):
            raise ValueError(
                f"a classifier needs an attribute with classes, known for all images; "
                f"{self.dataset.name} has {known}"
            )
        return classes[0]

    def labels(self, images: ImageSet) -> Labels:
        """Concepts of entries for pairing: discrete, and graded where asked for."""
        discrete, graded = {}, {}
        values = self.attributes(images)
        for name in self.concepts:
            if self._is_painted(name):
                discrete[name] = images.color
            elif self._is_graded(name):
                graded[name] = values[name]
            elif is_class(values[name]):
                discrete[name] = values[name]
            else:
                discrete[name] = self._quantiles(name, values[name])
        return Labels(discrete, graded)

    def source(self, images: ImageSet) -> LabelPairs | None:
        """Which entries form pairs; None without concepts."""
        if not self.concepts:
            return None
        discrete, graded = self.labels(images)
        concept = self.experiment.concept
        return LabelPairs(
            discrete,
            graded,
            np.unique(images.item, return_inverse=True)[1].reshape(-1),
            images.variant if concept.recolored else None,
            differ=(COLOR,) if concept.recolored else (),
            others=concept.others,
            bins=concept.bins,
            classes=self._classes(images, discrete, graded),
        )

    def _classes(
        self,
        images: ImageSet,
        discrete: Mapping[str, np.ndarray],
        graded: Mapping[str, np.ndarray],
    ) -> dict[str, np.ndarray]:
        """Concept -> codes that mean the same in every split; colours have none."""
        codes = {}
        for name in (*discrete, *graded):
            if self._is_painted(name):
                is_train = images.colors is self.train_colors
                first = 0 if is_train else len(self.train_colors)
                codes[name] = first + np.asarray(images.color)
                continue
            values = np.ma.asanyarray(self.dataset.labels[name])
            if not is_class(values):
                values = self._quantiles(name, values)
            known = known_rows(values)
            each = np.full(len(values), MISSING)
            plain = np.ma.getdata(values)[known]
            each[known] = np.unique(plain, return_inverse=True)[1].reshape(-1)
            codes[name] = each[images.item]
        return codes

    def prepared(self, images: ImageSet, latents: LatentCache) -> PreparedLatents:
        """Encoded entries with their pairs."""
        image = np.unique(images.item, return_inverse=True)[1].reshape(-1)
        source = self.source(images)
        return PreparedLatents(latents.mean, latents.log_var, source, image)

    def swap_items(self) -> np.ndarray:
        """Pairs of test images for swaps, (n, 2): unlike in a concept with classes.

        Raises:
          ValueError: the test images are all alike in these.
        """
        count = self.experiment.evaluate.pairs
        test = self.splits[self.experiment.evaluate.split]
        rng = np.random.default_rng([self.experiment.seed, 0x5A])
        drawn = rng.choice(test, (8 * count, 2))
        unlike = drawn[:, 0] != drawn[:, 1]
        names = [name for name in self.concepts if not self._is_painted(name)]
        columns = {name: self.dataset.labels[name] for name in names}
        classes = {name: x for name, x in columns.items() if is_class(x)}
        if classes:
            differ = [x[drawn[:, 0]] != x[drawn[:, 1]] for x in classes.values()]
            unlike &= np.ma.filled(np.ma.stack(differ), False).any(axis=0)
        if not unlike.any():
            raise ValueError(
                f"no two of {len(test)} test images differ in {list(classes)}, so no "
                "swap can be judged: set --data.test higher, or choose others with "
                "--concept.names"
            )
        return drawn[unlike][:count]

    def _is_painted(self, name: str) -> bool:
        """Whether an attribute is the colour that images are painted in."""
        return name == COLOR and self.colored

    def _quantiles(self, name: str, values: np.ndarray) -> np.ma.MaskedArray:
        bins = self.experiment.concept.bins
        return quantile_classes(values, bins, f"attribute {name!r}")

    def _is_graded(self, name: str) -> bool:
        """Whether any two values of a concept form a pair, more or less similar."""
        values = self.dataset.labels.get(name)
        wanted = self.experiment.concept.continuous == "sigma"
        return wanted and values is not None and not is_class(values)

    def scores(
        self,
        images: ImageSet,
        z: np.ndarray,
        count: int,
        estimator: str | None = None,
    ) -> tuple[Pairs, FactorScores]:
        """Pairs of entries, and how similar their latents z (n, N) are."""
        pairs, settings = self.pairs(images, count), self.experiment
        scores = factor_scores(
            z[pairs.a],
            z[pairs.b],
            pairs.concept,
            self.concepts,
            estimator or settings.concept.estimator,
            index_a=images.item[pairs.a],
            index_b=images.item[pairs.b],
            seed=settings.seed,
        )
        return pairs, scores

    def pairs(self, images: ImageSet, count: int) -> Pairs:
        """Pairs of entries that agree in a concept or a quantile; for estimates."""
        source = self.source(images)
        if source is None:
            raise ValueError("without concepts there are no pairs")
        return source.scored(count, self.experiment.seed)

    def attributes(
        self, images: ImageSet, entries: np.ndarray | slice = slice(None)
    ) -> dict[str, np.ndarray]:
        """True values of entries, for judges, probes and pictures: colours as RGB."""
        items, result = images.item[entries], {}
        for name in self.attributes_of_interest:
            painted = self._is_painted(name)
            result[name] = (
                images.rgb[entries] if painted else self.dataset.labels[name][items]
            )
        return result
