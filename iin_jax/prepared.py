"""Encoded images and their pairs, ready for sizes, a linear start and a flow.

What ``fit.interpret`` and the experiments do between the encoder and the training.
"""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from iin_jax.concepts.base import PairSource
from iin_jax.concepts.closed_form import LinearView
from iin_jax.concepts.explicit_pairs import ExplicitPairs
from iin_jax.concepts.hold_out import hold_out_entries
from iin_jax.concepts.map_view import MOST_POSITIONS, MapView
from iin_jax.concepts.pair_forms import PairForm, some_latents
from iin_jax.concepts.scores import (
    ESTIMATORS,
    FactorScores,
    factor_scores,
    scores_of_directions,
)
from iin_jax.concepts.shared_directions import SharedDirections
from iin_jax.concepts.size_choice import SizeChoice, choose_sizes
from iin_jax.concepts.sizes import factor_sizes
from iin_jax.factors import RESIDUAL, FactorLayout
from iin_jax.flows.feature_map import positions_of
from iin_jax.networks import Network
from iin_jax.training.flow_step import CachedLatents, draw_cached
from iin_jax.training.parallel import Feed
from iin_jax.types import Latents

SIZE_PAIRS = 10_000  # pairs from which published estimates of sizes are made
OURS = ("shared_rank", "calibrated")
LINEAR_LATENTS = 65_536  # most latents of a linear view


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedLatents:
    """Latents of one side of a split.

    Attributes:
      mean, log_var: (n, N), the posterior; no log-variance where there is none.
      source: where pairs come from; None without concepts.
      image: int (n,), which image each entry is of, 0 .. images - 1.
      positions: H W of maps (H, W, C), flattened, whose linear start is shared by all
        positions; None: latents are vectors, or maps taken as such.
    """

    mean: np.ndarray
    log_var: np.ndarray | None
    source: PairSource | None
    image: np.ndarray
    positions: int | None = None

    @property
    def concepts(self) -> tuple[str, ...]:
        """Names, in the source's order."""
        return () if self.source is None else tuple(self.source.names)

    @property
    def images(self) -> int:
        """Number of different images."""
        return int(self.image.max()) + 1 if len(self.image) else 0

    @property
    def paired_images(self) -> int:
        """Number of different images that form pairs; all, but of explicit pairs."""
        source = self.source
        if not isinstance(source, ExplicitPairs):
            return self.images
        return len(np.unique(self.image[np.concatenate([source.a, source.b])]))

    @property
    def fewest_pairs(self) -> int | None:
        """Pairs of the concept that has fewest; None but for a few given ones.

        These are explicit pairs beside entries that are in no pair.
        """
        source = self.source
        if not isinstance(source, ExplicitPairs) or not source.free_share:
            return None
        return int(source.shared[:, : len(source.names)].sum(axis=0).min())

    @property
    def spread(self) -> Latents | None:
        """Variance of each posterior, (n, N); None if there is none."""
        return None if self.log_var is None else np.exp(self.log_var)

    @property
    def pairing_fault(self) -> str | None:
        """Why these entries form no pairs; None if they do."""
        if not len(self.image):
            return "there is no image"
        try:
            if self.source is not None:
                self.source.draws()
        except ValueError as error:
            return str(error)
        return None

    def feed(self, network: Network | None = None) -> Feed:
        """Where a training's batches come from.

        Args:
          network: for a loss that looks through it.
        """
        table = None if self.source is None else self.source.draws()
        variables = None if network is None else network.variables
        log_var = None if self.log_var is None else jnp.asarray(self.log_var)
        latents = CachedLatents(jnp.asarray(self.mean), log_var, table, variables)
        return Feed(draw_cached, latents)

    def pairs(self, seed: int) -> dict[str, PairForm]:
        """Concept -> its pairs."""
        return {} if self.source is None else self.source.forms(seed)

    def view(self, seed: int) -> LinearView | MapView:
        """These latents and pairs as a linear method sees them; 65,536 at most."""
        count = min(self.positions or 1, MOST_POSITIONS)
        part = self.subset(some_latents(self.image, LINEAR_LATENTS // count, seed))
        seen = part.mean, part.pairs(seed), part.image, part.spread
        if self.positions is None:
            return LinearView.of(*seen)
        return MapView.of(*seen, self.positions, seed)

    def seen_by(self, flow: object) -> "PreparedLatents":
        """The same latents as a flow takes them: as maps if it is one over maps."""
        return dataclasses.replace(self, positions=positions_of(flow))

    def subset(self, rows: np.ndarray) -> "PreparedLatents":
        """Some entries, in the given order."""
        if len(rows) == len(self.image):
            return self
        return PreparedLatents(
            self.mean[rows],
            None if self.log_var is None else self.log_var[rows],
            None if self.source is None else self.source.among(rows),
            np.unique(self.image[rows], return_inverse=True)[1].reshape(-1),
            self.positions,
        )

    def split(
        self, held_out: float, seed: int
    ) -> tuple["PreparedLatents", "PreparedLatents | None"]:
        """What is trained on, and what is held out; None where nothing is.

        Raises:
          ValueError: a share outside [0, 1), or one that leaves no pair on one side.
        """
        if self.source is None:
            held = hold_out_entries(self.image, held_out, seed)
        else:
            held = self.source.held_out(held_out, seed)
        if held_out == 0:
            return self, None
        train, unseen = (self.subset(np.flatnonzero(rows)) for rows in (~held, held))
        sides = {"train on": train, "judge by": unseen}
        for purpose, part in sides.items():
            if part.pairing_fault is not None:
                raise ValueError(
                    f"holding out {held_out:g} of {self.images} images leaves no pair "
                    f"to {purpose}: {part.pairing_fault}; give more images or pairs, "
                    "another held_out, or held_out=0 to go without"
                )
        return train, unseen


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes, and what every estimator says.

    Attributes:
      layout: the sizes.
      estimator: name of the estimator that they follow from.
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
                low, high = self.scores["shared_rank"].intervals[name]
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
    view: LinearView | MapView | None = None,
) -> Sizes:
    """How many dimensions each concept gets; of maps whole channels.

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
    positions = train.positions or 1
    dim = train.mean.shape[1] // positions
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator is one of {list(ESTIMATORS)}; got {estimator!r}")
    if not train.concepts:
        return Sizes(FactorLayout({RESIDUAL: positions * dim}), "none", {}, {})
    estimators = OURS if ours else (estimator,)
    directions: dict[str, SharedDirections] = {}
    if any(name in OURS for name in estimators):
        view = train.view(seed) if view is None else view
        directions = view.counted(seed)
    scores = {
        name: scores_of_directions(directions, name, dim)
        if name in OURS
        else published_scores(train, name, seed)
        for name in estimators
    }
    choices: dict[str, SizeChoice] = {}
    sizes = scores[estimator]
    unseen = None if held_out is None or not len(held_out.image) else held_out
    if estimator == "shared_rank" and view is not None and unseen is not None:
        ranks = {name: shared.rank for name, shared in directions.items()}
        choices = _choices(view, ranks, unseen, seed)
        sizes = dataclasses.replace(
            sizes, values_by_name={name: float(c.size) for name, c in choices.items()}
        )
    layout = _within(view, sizes, dim).times(positions)
    return Sizes(layout, estimator, scores, choices)


def _within(
    view: LinearView | MapView | None, scores: FactorScores, dim: int
) -> FactorLayout:
    """Sizes of concepts within what varies, as far as known; the residual has the rest.

    A linear start carries what never varies at the end of the residual.
    """
    if view is None:
        return factor_sizes(scores, dim)
    linear = view.channels if isinstance(view, MapView) else view
    layout = factor_sizes(scores, linear.whitening.rank)
    left = dim - linear.whitening.rank
    return FactorLayout({**layout.as_dict(), RESIDUAL: layout[RESIDUAL] + left})


def _choices(
    view: LinearView | MapView,
    ranks: Mapping[str, int],
    held_out: PreparedLatents,
    seed: int,
) -> dict[str, SizeChoice]:
    """Multiples of ranks, by what held-out latents say."""
    z, pairs = held_out.mean, held_out.pairs(seed)
    if isinstance(view, MapView):
        z, pairs = view.others(z, pairs)
        view = view.channels
    return choose_sizes(view, ranks, z, pairs, seed)


def published_scores(
    latents: PreparedLatents, estimator: str, seed: int, count: int = SIZE_PAIRS
) -> FactorScores:
    """Scores by ``"pooled"`` or ``"correlation"``, of drawn pairs."""
    if latents.source is None:
        raise ValueError("without concepts there are no pairs to score")
    pairs = latents.source.scored(count, seed)
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
