"""Which layers of a network encode which concept, without training any T."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from iin_jax.concepts import FactorScores, Pairs, factor_scores
from iin_jax.latents.batches import in_batches
from iin_jax.networks import Network
from iin_jax.types import Images

MAX_COMPONENTS = 256  # most components of a layer that are scored


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
