"""Which layers of a network encode which concept, without training any T."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from iin_jax.analysis.base import Evidence, Record, Section
from iin_jax.concepts import FactorScores, Pairs, factor_scores
from iin_jax.latents.batches import in_batches
from iin_jax.networks import Network
from iin_jax.types import Images

MAX_COMPONENTS = 256  # most components of a layer that are scored
MOST_PAIRS = 1000  # pairs behind the scores of a layer, at most


@dataclasses.dataclass(frozen=True)
class LayerScores:
    """The scores of one layer.

    Attributes:
      shape: of the layer's output for one image.
      components: how many of its components were scored.
      scores: concept -> similarity, with interval and null.
    """

    shape: tuple[int, ...]
    components: int
    scores: FactorScores


def layer_scores(
    network: Network,
    images: Callable[[slice], Images],
    count: int,
    pairs: Pairs,
    names: Sequence[str],
    estimator: str = "pooled",
    *,
    seed: int = 0,
    batch_size: int = 256,
) -> dict[str, LayerScores]:
    """``factor_scores`` at every layer at which a network can be cut (paper, §3.3).

    Of a layer with more than 256 components that many are drawn at random: both
    estimators average over components.

    Args:
      network: frozen.
      images: slice -> images (b, H, W, C) in [-1, 1].
      count: number of images.
      pairs: indices into the images, and the concept each pair agrees in.
      names, estimator: as in ``factor_scores``.
      seed: of the drawn components and of the resampling.
      batch_size: images per call of the network.

    Returns:
      layer -> scores, in the network's order; a layer whose output does not vary is
      left out.
    """
    rng = np.random.default_rng([seed, 0x1A7E])
    chosen = {
        layer: np.sort(rng.permutation(int(np.prod(shape)))[:MAX_COMPONENTS])
        for layer, shape in network.layers().items()
    }

    @jax.jit
    def components(variables, batch):
        features = network.features_pure(variables, batch)
        return {
            layer: features[layer].reshape(len(batch), -1)[:, jnp.asarray(indices)]
            for layer, indices in chosen.items()
        }

    look = functools.partial(components, network.variables)
    parts = [
        jax.device_get(part) for _, part in in_batches(look, images, count, batch_size)
    ]
    result = {}
    for layer, shape in network.layers().items():
        z = np.concatenate([part[layer] for part in parts])
        if z.var(axis=0).max() == 0.0:
            continue
        scores = factor_scores(
            z[pairs.a], z[pairs.b], pairs.concept, names, estimator, seed=seed
        )
        result[layer] = LayerScores(shape, z.shape[1], scores)
    return result


@dataclasses.dataclass(frozen=True)
class LayerFigures:
    """The scores of one layer, as a scorecard has them.

    Attributes:
      shape: of the layer's output for one image.
      components: how many of its components were scored.
      pairs: number of pairs behind the scores.
      scores: concept -> score.
      score_intervals, score_null: concept -> 95 % bounds; of random pairs.
    """

    shape: tuple[int, ...]
    components: int
    pairs: int
    scores: dict[str, float]
    score_intervals: dict[str, tuple[float, float]]
    score_null: dict[str, tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class LayersRecord(Record):
    """Layer -> its scores, in the network's order."""

    layer_scores: dict[str, LayerFigures]


class LayersAnalysis:
    """The published score at every layer of the network."""

    record = LayersRecord

    def measure(self, evidence: Evidence) -> LayersRecord | None:
        images = evidence.layered
        if images.pairs is None:
            return None
        count = min(evidence.score_pairs, MOST_PAIRS)
        pairs = images.pairs.scored(count, evidence.seed)
        scored = layer_scores(
            evidence.network,
            images.read,
            len(images),
            pairs,
            pairs.names,
            evidence.estimator,
            seed=evidence.seed,
        )
        return LayersRecord(
            {
                layer: LayerFigures(
                    entry.shape,
                    entry.components,
                    len(pairs.a),
                    dict(entry.scores),
                    entry.scores.intervals,
                    entry.scores.null,
                )
                for layer, entry in scored.items()
            }
        )

    def section(self, record: LayersRecord) -> Section:
        text = (
            "The published score at every layer of the network, in its order, with "
            "95 % intervals; the pale bands are randomly matched pairs, 95 %: a score "
            "inside says nothing."
        )
        return Section(
            "Which layer encodes what",
            [text],
            figures={"layers": _figure(record.layer_scores)},
        )


def _figure(layers: dict[str, LayerFigures]) -> Figure:
    """How strongly every layer encodes each concept."""
    figure = Figure(figsize=(9.0, 3.2), layout="constrained")
    axis, places = figure.subplots(), np.arange(len(layers))
    for name in next(iter(layers.values())).scores:
        scores = [entry.scores[name] for entry in layers.values()]
        (line,) = axis.plot(places, scores, ".-", lw=1, label=name)
        bands = (
            ([entry.score_intervals[name] for entry in layers.values()], 0.3),
            ([entry.score_null[name] for entry in layers.values()], 0.12),
        )
        for bounds, alpha in bands:
            low, high = np.array(bounds).T
            color = line.get_color()
            axis.fill_between(places, low, high, color=color, alpha=alpha, lw=0)
    axis.set_xticks(places, list(layers), rotation=90, fontsize=6)
    axis.set_ylabel("score of the pairs", fontsize=8)
    axis.tick_params(axis="y", labelsize=7)
    axis.grid(axis="y", lw=0.3)
    axis.legend(fontsize=7)
    return figure
