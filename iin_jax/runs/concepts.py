"""The concepts of a run: which attributes they are, and who can form a pair."""

import dataclasses
import functools
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from iin_jax.analysis.scorecard import unlike_pairs
from iin_jax.concepts import (
    FactorScores,
    LabelPairs,
    Pairs,
    factor_scores,
    quantile_classes,
)
from iin_jax.data import COLOR, ImageSet, class_codes, is_class
from iin_jax.files.hints import nearest
from iin_jax.runs.images import RunImages
from iin_jax.runs.settings import Experiment


class ConceptLabels(NamedTuple):
    """Concepts of entries: ``discrete`` values, and ``graded`` real ones."""

    discrete: dict[str, np.ndarray]
    graded: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class RunConcepts:
    """What the settings of a run say of its concepts; all of it follows from them.

    Attributes:
      experiment: the settings.
      images: the images, and their labels.
    """

    experiment: Experiment
    images: RunImages

    @functools.cached_property
    def attributes(self) -> tuple[str, ...]:
        """What judges read: the concepts; all there is without any, or with sketches.

        Raises:
          ValueError: an attribute that the images do not have.
        """
        concept, known = self.experiment.concept, self.images.view.names
        names = concept.names
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(
                f"concept.names: {self.images.dataset.name} has no attribute "
                f"{unknown[0]!r}{nearest(unknown[0], known)}"
            )
        return known if concept.source == "sketches" else names or known

    @property
    def sketched(self) -> str:
        """Name of the concept that sketches show, or that they would show."""
        return self.experiment.concept.sketched

    @property
    def _asked(self) -> tuple[str, ...]:
        """What becomes a concept, in the order of the settings."""
        attributes = self.attributes
        concept = self.experiment.concept
        if concept.source != "sketches":
            return attributes
        return tuple(dict.fromkeys((*concept.names, self.sketched)))

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the concepts, in order; empty for a flow without any.

        Raises:
          ValueError: no concept, unknown ones, or another number of given sizes.
        """
        concept = self.experiment.concept
        if concept.source == "none":
            return ()
        names = self._asked
        if not names:
            raise ValueError(
                f"{self.images.dataset.name} has no attribute that could be a concept; "
                "set --concept.source none for a flow without concepts"
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

        The settings give them in the order of ``names``, with what is sketched last.
        """
        sizes = self.experiment.concept.sizes
        if not self.names or not sizes:
            return None
        given = dict(zip(self._asked, sizes, strict=True))
        return {name: given[name] for name in self.names}

    @property
    def classified(self) -> str:
        """The attribute that a classifier is trained on: the first with classes.

        Raises:
          ValueError: there is none, or its values are not known for all images.
        """
        labels = self.images.view.labels
        known = [name for name in self.attributes if name in labels]
        classes = [name for name in known if is_class(labels[name])]
        if not classes or np.ma.is_masked(labels[classes[0]]):
            raise ValueError(
                f"a classifier needs an attribute with classes, known for all images; "
                f"{self.images.dataset.name} has {known}"
            )
        return classes[0]

    def values(
        self, images: ImageSet, entries: np.ndarray | slice = slice(None)
    ) -> dict[str, np.ndarray]:
        """True values of entries, for judges, probes and pictures: colours as RGB."""
        labels = images.labels
        return {name: labels[name][entries] for name in self.attributes}

    def labels(self, images: ImageSet) -> ConceptLabels:
        """Concepts of entries for pairing: discrete, and graded where asked for."""
        discrete, graded = {}, {}
        codes = images.codes
        for name in self.names:
            if self._is_graded(name):
                graded[name] = codes[name]
            elif is_class(codes[name]):
                discrete[name] = codes[name]
            else:
                discrete[name] = self._quantiles(name, codes[name])
        return ConceptLabels(discrete, graded)

    def source(self, images: ImageSet) -> LabelPairs | None:
        """Which entries form pairs; None without concepts."""
        if not self.names:
            return None
        discrete, graded = self.labels(images)
        concept = self.experiment.concept
        differ = (COLOR,) if concept.recolored else ()
        agree = None
        if concept.source == "sketches":
            agree = tuple(name for name in self.names if name != self.sketched)
            differ = (self.sketched, *differ)
        return LabelPairs(
            discrete,
            graded,
            image_numbers(images),
            self._identity(images) if differ else None,
            agree=agree,
            differ=differ,
            others=concept.others,
            bins=concept.bins,
            classes=self._classes(images, (*discrete, *graded)),
        )

    def _identity(self, images: ImageSet) -> np.ndarray:
        """Equal for entries that are alike but for their concepts, (n,)."""
        variant = images.variant if images.original is None else images.original
        if images.color is None or COLOR in self.names:
            return variant
        return variant.astype(np.int64) * len(images.rgb) + images.color

    def pairs(self, images: ImageSet, count: int) -> Pairs:
        """Pairs of entries that agree in a concept or a quantile; for estimates."""
        source = self.source(images)
        if source is None:
            raise ValueError("without concepts there are no pairs")
        return source.scored(count, self.experiment.seed)

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
            self.names,
            estimator or settings.concept.estimator,
            index_a=images.pictures[pairs.a],
            index_b=images.pictures[pairs.b],
            seed=settings.seed,
        )
        return pairs, scores

    def swap_items(self) -> np.ndarray:
        """Pairs of test images for swaps, (n, 2): unlike in a concept with classes.

        Raises:
          ValueError: the test images are all alike in these.
        """
        count, test = self.experiment.evaluate.pairs, self.images.judged
        labels = self.images.view.labels
        columns = {name: labels[name] for name in self.names if name in labels}
        pairs = unlike_pairs(test, columns, count, self.experiment.seed)
        if not len(pairs):
            names = [name for name, values in columns.items() if is_class(values)]
            raise ValueError(
                f"no two of {len(test)} test images differ in {names}, so no swap can "
                "be judged: set --data.test higher, or choose others with "
                "--concept.names"
            )
        return pairs

    def swap_sides(self) -> tuple[ImageSet, ImageSet]:
        """Both halves of the pairs for swaps, painted ones in colours of their own."""
        items, view = self.swap_items(), self.images.view
        return view.singles(items[:, 0], "swap a"), view.singles(items[:, 1], "swap b")

    def _classes(self, images: ImageSet, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Concept -> codes of entries, which mean the same in every split."""
        labels, codes = self.images.view.labels, images.codes
        classes = {}
        for name in names:
            if name not in labels:
                classes[name] = codes[name]
                continue
            values = labels[name]
            if not is_class(values):
                values = self._quantiles(name, values)
            classes[name] = class_codes(values)[0][images.item]
        return classes

    def _quantiles(self, name: str, values: np.ndarray) -> np.ma.MaskedArray:
        bins = self.experiment.concept.bins
        return quantile_classes(values, bins, f"attribute {name!r}")

    def _is_graded(self, name: str) -> bool:
        """Whether any two values of a concept form a pair, more or less similar."""
        values = self.images.view.labels.get(name)
        wanted = self.experiment.concept.continuous == "sigma"
        return wanted and values is not None and not is_class(values)


def image_numbers(images: ImageSet) -> np.ndarray:
    """Which image each entry is of, (n,), 0 .. images - 1."""
    return np.unique(images.pictures, return_inverse=True)[1].reshape(-1)
