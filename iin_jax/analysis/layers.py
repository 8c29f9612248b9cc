"""Scores of concepts at every layer of a network, without training any T."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from iin_jax.analysis.base import (
    Evidence,
    Examples,
    Record,
    Section,
    Table,
)
from iin_jax.analysis.layer_curves import LayerScore, layers_figure, layers_in_words
from iin_jax.concepts import FactorScores, Pairs, factor_scores
from iin_jax.concepts.labels import entry_codes
from iin_jax.data.values import is_vector
from iin_jax.latents.batches import in_batches
from iin_jax.networks import Network
from iin_jax.types import Array, Images, Tree

MAX_COMPONENTS = 256  # most components of a layer that are scored
MOST_PAIRS = 1000  # most pairs behind the scores of a layer


@dataclasses.dataclass(frozen=True)
class ScoredLayer:
    """The scores of one layer.

    Attributes:
      shape: shape of the layer's output for one image.
      components: number of its components behind the scores.
      scores: concept -> similarity of its pairs, with interval and null.
    """

    shape: tuple[int, ...]
    components: int
    scores: FactorScores


@functools.lru_cache(maxsize=4)
def _compiled_components(
    network: Network, seed: int
) -> Callable[[Tree, Images], dict[str, Array]]:
    """Some components of every layer's output, compiled once for all calls."""
    rng = np.random.default_rng([seed, 0x1A7E])
    chosen = {
        layer: np.sort(rng.permutation(int(np.prod(shape)))[:MAX_COMPONENTS])
        for layer, shape in network.layers().items()
    }

    @jax.jit
    def components(variables: Tree, batch: Images) -> dict[str, Array]:
        features = network.features_pure(variables, batch)
        return {
            layer: features[layer].reshape(len(batch), -1)[:, jnp.asarray(indices)]
            for layer, indices in chosen.items()
        }

    return components


def layer_scores(
    network: Network,
    images: Images,
    labels: Mapping[str, Any],
    *,
    identity: np.ndarray | None = None,
    estimator: str = "pooled",
    count: int = MOST_PAIRS,
    seed: int = 0,
) -> dict[str, dict[str, LayerScore]]:
    """Which layer of a network encodes which concept, without training any T.

    ``layers_in_words`` says where each rises and falls, ``layers_figure`` draws it.

    Args:
      network: the frozen network.
      images: (n, H, W, C) in [-1, 1].
      labels: attribute -> values of the images, in any form that ``Examples.of`` takes:
        classes, or real numbers, which are cut into quantile classes.
      identity: which picture each image shows, (n,), equal for copies of one; None: all
        different.
      estimator: ``"pooled"`` or ``"correlation"``, as in ``concepts.factor_scores``.
      count: number of pairs behind the scores.
      seed: of pairs, of the components of large layers and of the resampling.

    Returns:
      layer -> concept -> score, in the network's order. A layer whose output does not
      vary is left out.

    Raises:
      ValueError: images or labels of another form or length, an attribute in which no
        two images agree, vectors as labels, or an unknown estimator.
    """
    examples = Examples.of(network, images, labels)
    vectors = [name for name, x in examples.values.items() if is_vector(x)]
    if vectors:
        raise ValueError(
            f"attribute {vectors[0]!r} has vectors, of which no two agree: give "
            "classes or numbers"
        )
    if identity is not None:
        picture = entry_codes(identity, "identity", len(examples))
        examples = dataclasses.replace(examples, picture=picture)
    source = examples.pairs
    if source is None:
        raise ValueError("no attribute to pair images by")
    pairs = source.scored(count, seed)
    scored = scored_layers(
        network,
        examples.read,
        len(examples),
        pairs,
        pairs.names,
        estimator,
        picture=examples.picture,
        seed=seed,
    )
    return {layer: by_concept(x.scores) for layer, x in scored.items()}


def by_concept(scores: FactorScores) -> dict[str, LayerScore]:
    """Concept -> its score with interval and null."""
    return {
        name: LayerScore(score, scores.intervals[name], scores.null[name])
        for name, score in scores.items()
    }


def scored_layers(
    network: Network,
    images: Callable[[slice], Images],
    count: int,
    pairs: Pairs,
    names: Sequence[str],
    estimator: str = "pooled",
    *,
    picture: np.ndarray | None = None,
    seed: int = 0,
    batch_size: int = 256,
) -> dict[str, ScoredLayer]:
    """``factor_scores`` at every layer at which a network can be cut (paper, §3.3).

    Of a layer with more than 256 components, 256 are drawn at random; both estimators
    average over components.

    Args:
      network: the frozen network.
      images: slice -> images (b, H, W, C) in [-1, 1].
      count: number of images.
      pairs: pairs of indices into the images, with the concept each pair agrees in.
      names: concepts, in the order of the indices in ``pairs.concept``.
      estimator: ``"pooled"`` or ``"correlation"``, as in ``factor_scores``.
      picture: which picture each image shows, (count,), equal for one in several
        colours; intervals and nulls take pictures as independent. None: all different.
      seed: seed of the drawn components and of the resampling.
      batch_size: images per call of the network.

    Returns:
      layer -> scores, in the network's order. A layer whose output does not vary is
      left out.

    Raises:
      ValueError: pairs or an estimator that ``factor_scores`` cannot use.
    """
    components = _compiled_components(network, seed)
    components_of = functools.partial(components, network.variables)
    parts = [
        jax.device_get(part)
        for _, part in in_batches(components_of, images, count, batch_size)
    ]
    result = {}
    for layer, shape in network.layers().items():
        z = np.concatenate([part[layer] for part in parts])
        if z.var(axis=0).max() == 0.0:
            continue
        scores = factor_scores(
            z[pairs.a],
            z[pairs.b],
            pairs.concept,
            names,
            estimator,
            index_a=None if picture is None else picture[pairs.a],
            index_b=None if picture is None else picture[pairs.b],
            seed=seed,
        )
        result[layer] = ScoredLayer(shape, z.shape[1], scores)
    return result


@dataclasses.dataclass(frozen=True)
class LayerFigures:
    """The scores of one layer in a scorecard.

    Attributes:
      shape: shape of the layer's output for one image.
      components: number of its components behind the scores.
      pairs: number of pairs behind the scores.
      scores: concept -> score.
      score_intervals: concept -> bounds of the score's 95 % interval.
      score_null: concept -> bounds that hold 95 % of the scores of random pairs.
    """

    shape: tuple[int, ...]
    components: int
    pairs: int
    scores: dict[str, float]
    score_intervals: dict[str, tuple[float, float]]
    score_null: dict[str, tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class LayersRecord(Record):
    """Scores of every layer.

    Attributes:
      layer_scores: layer -> scores, in the network's order.
    """

    layer_scores: dict[str, LayerFigures]

    @property
    def by_layer(self) -> dict[str, dict[str, LayerScore]]:
        """Layer -> concept -> score."""
        return {
            layer: {
                name: LayerScore(score, x.score_intervals[name], x.score_null[name])
                for name, score in x.scores.items()
            }
            for layer, x in self.layer_scores.items()
        }


class LayersAnalysis:
    """Scores concepts at every layer of the network, by the published estimate."""

    record = LayersRecord

    def measure(self, evidence: Evidence) -> LayersRecord | None:
        images = evidence.layered
        if images.pairs is None:
            return None
        count = min(evidence.score_pairs, MOST_PAIRS)
        pairs = images.pairs.scored(count, evidence.seed)
        scored = scored_layers(
            evidence.network,
            images.read,
            len(images),
            pairs,
            pairs.names,
            evidence.estimator,
            picture=images.picture,
            seed=evidence.seed,
        )
        if not scored:
            return None
        return LayersRecord(
            {
                layer: LayerFigures(
                    result.shape,
                    result.components,
                    len(pairs.a),
                    dict(result.scores),
                    result.scores.intervals,
                    result.scores.null,
                )
                for layer, result in scored.items()
            }
        )

    def section(self, record: LayersRecord) -> Section:
        if len(record.layer_scores) == 1:
            return _section_of_one(*next(iter(record.layer_scores.items())))
        layers = record.by_layer
        text = (
            "The score of every concept at every layer of the network, from input to "
            "output: how alike the outputs of the layer are for two images that agree "
            "in the concept, from 0 (no more than for any two images) to 1. The darker "
            "band of a line is its 95 % interval. The pale band holds 95 % of the "
            "scores of images paired at random: a score inside it shows nothing."
        )
        return Section(
            "Which layer encodes what",
            [text, *layers_in_words(layers).values()],
            figures={"layers": layers_figure(layers)},
        )


def _section_of_one(layer: str, figures: LayerFigures) -> Section:
    """What a report says of a network that can be cut at one layer only."""
    rows = [
        [
            name,
            f"{score:.3f}",
            "{:.3f} to {:.3f}".format(*figures.score_intervals[name]),
            "{:.3f} to {:.3f}".format(*figures.score_null[name]),
        ]
        for name, score in figures.scores.items()
    ]
    text = (
        f"The network can be cut at one layer, {layer!r}, with {figures.components} "
        f"components. The score of a concept there says how alike z is for two images "
        "that agree in the concept, from 0 (no more than for any two images) to 1, on "
        f"{figures.pairs} pairs. A score within the range of images paired at random "
        "shows nothing."
    )
    head = ["concept", "score", "95 % interval", "paired at random, 95 %"]
    return Section("What the latent encodes", [text], [Table(head, rows)])
