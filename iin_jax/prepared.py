"""Encoded images with their labels, ready for pairs, sizes, a linear start and a flow.

What ``fit.interpret`` and the experiments do between the encoder and the training.
"""

import dataclasses
import functools
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from iin_jax.concepts import PairTable, pair_table, pairs_from_labels, quantile_classes
from iin_jax.concepts.closed_form import LinearView, some_latents
from iin_jax.concepts.label_pairs import label_pairs
from iin_jax.concepts.pair_forms import PairForm
from iin_jax.concepts.rules import Others
from iin_jax.concepts.scores import (
    ESTIMATORS,
    FactorScores,
    factor_scores,
    scores_of_directions,
)
from iin_jax.concepts.shared_directions import SharedDirections
from iin_jax.concepts.size_choice import SizeChoice, choose_sizes
from iin_jax.concepts.sizes import factor_sizes
from iin_jax.data.latents import NO_SPREAD
from iin_jax.factors import RESIDUAL, FactorLayout
from iin_jax.training.flow_step import CachedLatents
from iin_jax.types import Latents

SIZE_PAIRS = 10_000  # pairs from which published estimates of sizes are made
OURS = ("shared_rank", "calibrated")
LINEAR_LATENTS = 65_536  # latents that a linear view looks at, at most


@dataclasses.dataclass(frozen=True, eq=False)
class Rules:
    """Which entries form pairs.

    Attributes:
      agree, differ, others: as in ``concepts.pair_table``.
    """

    agree: tuple[str, ...] | None = None
    differ: tuple[str, ...] = ()
    others: Others = "free"


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedLatents:
    """Latents of one side of a split.

    Attributes:
      mean, log_var: (n, N), the posterior; ``data.latents.NO_SPREAD`` stands for none.
      labels: concept -> discrete values, (n,).
      graded: concept -> numbers, (n,).
      image: int (n,), which image each entry is of, 0 .. images - 1.
      identity: (n,), what is the same thing, where pairs differ in one concept alone;
        None: nothing is said of it.
      rules: which pairs.
    """

    mean: np.ndarray
    log_var: np.ndarray
    labels: Mapping[str, np.ndarray]
    graded: Mapping[str, np.ndarray]
    image: np.ndarray
    identity: np.ndarray | None = None
    rules: Rules = dataclasses.field(default_factory=Rules)

    @property
    def concepts(self) -> tuple[str, ...]:
        """Labels, then graded concepts."""
        return (*self.labels, *self.graded)

    @property
    def images(self) -> int:
        """Number of different images."""
        return int(self.image.max()) + 1 if len(self.image) else 0

    @property
    def spread(self) -> Latents | None:
        """Variance of each posterior, (n, N); None if there is none."""
        if len(self.log_var) == 0 or self.log_var.max() <= NO_SPREAD:
            return None
        return np.exp(self.log_var)

    @functools.cached_property
    def table(self) -> PairTable | None:
        """Who can form a pair with whom; None without concepts.

        Raises:
          ValueError: a concept of which no two entries form a pair.
        """
        if not self.concepts:
            return None
        return pair_table(
            self.labels,
            agree=self.rules.agree,
            differ=self.rules.differ,
            identity=self.identity,
            graded=self.graded,
            others=self.rules.others,
            drop_alone=True,
            image=self.image,
        )

    @property
    def pairing_fault(self) -> str | None:
        """Why these entries form no pairs; None if they do."""
        if not len(self.image):
            return "there is no image"
        try:
            _ = self.table
        except ValueError as error:
            return str(error)
        return None

    def feed(self) -> CachedLatents:
        """What ``draw_cached`` and ``draw_samples`` read."""
        return CachedLatents(
            jnp.asarray(self.mean), jnp.asarray(self.log_var), self.table
        )

    def pairs(self, seed: int) -> dict[str, PairForm]:
        """Concept -> its pairs."""
        if not self.concepts:
            return {}
        return label_pairs(
            self.labels,
            graded=self.graded,
            agree=self.rules.agree,
            differ=self.rules.differ,
            identity=self.identity,
            image=self.image,
            seed=seed,
        )

    def view(self, seed: int) -> LinearView:
        """These latents and pairs as a linear method sees them; 65,536 at most."""
        few = self.subset(some_latents(self.image, LINEAR_LATENTS, seed))
        return LinearView.of(few.mean, few.pairs(seed), few.image, few.spread)

    def subset(self, rows: np.ndarray) -> "PreparedLatents":
        """Some entries, in the given order."""
        if len(rows) == len(self.image):
            return self
        return prepared(
            self.mean[rows],
            self.log_var[rows],
            {name: x[rows] for name, x in self.labels.items()},
            {name: x[rows] for name, x in self.graded.items()},
            self.image[rows],
            None if self.identity is None else self.identity[rows],
            self.rules,
        )


def prepared(
    mean: np.ndarray,
    log_var: np.ndarray,
    labels: Mapping[str, np.ndarray],
    graded: Mapping[str, np.ndarray],
    image: np.ndarray,
    identity: np.ndarray | None,
    rules: Rules,
) -> PreparedLatents:
    """``PreparedLatents`` with images numbered anew."""
    image = np.unique(image, return_inverse=True)[1].reshape(-1)
    return PreparedLatents(mean, log_var, labels, graded, image, identity, rules)


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes, and what every estimator says.

    Attributes:
      layout: the sizes.
      estimator: what they follow from.
      scores: estimator -> its scores.
      choices: concept -> the multiple of its rank; empty if not from ranks.
    """

    layout: FactorLayout
    estimator: str
    scores: Mapping[str, FactorScores]
    choices: Mapping[str, SizeChoice]

    def describe(self) -> str:
        """One line: each concept's size, and where it comes from."""
        parts = []
        for name in self.layout.concepts:
            text = f"{name} {self.layout[name]}"
            if name in self.choices:
                choice = self.choices[name]
                found = self.scores["shared_rank"]
                low, high = found.intervals[name]
                text += (
                    f" ({choice.multiple:g} x rank {choice.rank}, 95 % interval "
                    f"{low:.0f} to {high:.0f}, a lower bound)"
                )
            parts.append(text)
        parts.append(f"{RESIDUAL} {self.layout[RESIDUAL]}")
        return f"sizes by {self.estimator}: " + ", ".join(parts)


def estimated_sizes(
    train: PreparedLatents,
    held_out: PreparedLatents | None,
    estimator: str,
    seed: int,
    *,
    ours: bool = False,
    view: LinearView | None = None,
) -> Sizes:
    """How many dimensions each concept gets.

    Args:
      train: what is trained on.
      held_out: what multiples of ranks are chosen on; None: ranks are taken once.
      estimator: as in ``concepts.factor_scores``.
      seed: of pairs and resampling.
      ours: scores by both of our estimators, not by this one alone.
      view: ``train.view``, if it is at hand.

    Raises:
      ValueError: an unknown estimator.
    """
    dim = train.mean.shape[1]
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator is one of {list(ESTIMATORS)}; got {estimator!r}")
    if not train.concepts:
        return Sizes(FactorLayout({RESIDUAL: dim}), "none", {}, {})
    wanted = OURS if ours else (estimator,)
    directions: dict[str, SharedDirections] = {}
    if any(name in OURS for name in wanted):
        view = train.view(seed) if view is None else view
        directions = view.counted(seed)
    scores = {
        name: scores_of_directions(directions, name, dim)
        if name in OURS
        else published_scores(train, name, seed)
        for name in wanted
    }
    if estimator != "shared_rank" or view is None:
        return Sizes(factor_sizes(scores[estimator], dim), estimator, scores, {})
    ranks = {name: found.rank for name, found in directions.items()}
    if held_out is None or not len(held_out.image):
        return Sizes(factor_sizes(scores[estimator], dim), estimator, scores, {})
    choices = choose_sizes(view, ranks, held_out.mean, held_out.pairs(seed), seed)
    sizes = FactorScores(
        {name: float(choice.size) for name, choice in choices.items()},
        estimator,
        scores[estimator].intervals,
        scores[estimator].null,
    )
    return Sizes(factor_sizes(sizes, dim), estimator, scores, choices)


def published_scores(
    latents: PreparedLatents, estimator: str, seed: int, count: int = SIZE_PAIRS
) -> FactorScores:
    """Scores by ``"pooled"`` or ``"correlation"``, of drawn pairs."""
    classes = {
        name: quantile_classes(values, what=f"concept {name!r}")
        for name, values in latents.graded.items()
    }
    pairs = pairs_from_labels(
        {**latents.labels, **classes},
        count,
        seed,
        drop_alone=True,
        image=latents.image,
    )
    return factor_scores(
        latents.mean[pairs.a],
        latents.mean[pairs.b],
        pairs.concept,
        pairs.names,
        estimator,
        index_a=latents.image[pairs.a],
        index_b=latents.image[pairs.b],
        seed=seed,
    )
