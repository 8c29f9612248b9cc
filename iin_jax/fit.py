"""From arrays, or from a network with images and labels, to an Interpreter."""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from iin_jax.concepts import (
    factor_scores,
    factor_sizes,
    pair_table,
    pairs_from_labels,
    quantile_classes,
)
from iin_jax.data.latents import LatentCache, check_finite, encode_all
from iin_jax.factors import RESIDUAL, FactorLayout
from iin_jax.flows import InterpretationFlow
from iin_jax.flows.base import check_even
from iin_jax.interpreter import Interpreter, check_fits
from iin_jax.networks import Network
from iin_jax.networks.base import check_image_values
from iin_jax.training.flow_step import (
    CachedLatents,
    LatentPairs,
    draw_arrays,
    draw_cached,
    draw_samples,
)
from iin_jax.training.flow_training import FlowTraining, train_flow
from iin_jax.training.optim import Schedule
from iin_jax.training.parallel import Draw
from iin_jax.types import Images, Latents, Shared

SIZE_PAIRS = 10_000  # pairs from which sizes are estimated
FIT_RATE_PER_EXAMPLE = 4e-6  # 1e-3 at a batch of 256


def fit_flow(
    flow: InterpretationFlow,
    layout: FactorLayout,
    draw: Draw,
    data: Any,
    training: FlowTraining,
    **options: Any,
) -> Interpreter:
    """Trains T on drawn latents; what ``fit``, ``interpret`` and experiments share.

    Args:
      flow, layout, draw, data, training, options: as in
        ``training.flow_training.train_flow``.

    Raises:
      ValueError: sizes that do not sum to the flow's N, and as ``train_flow``.
    """
    check_fits(flow.dim, layout, None)
    variables, sigma = train_flow(flow, layout, draw, data, training, **options)
    return Interpreter(flow, variables, layout, None, sigma)


def fit(
    za: Latents,
    zb: Latents,
    shared: Shared,
    layout: FactorLayout,
    sigma: float | None = 0.975,
    flow: InterpretationFlow | None = None,
    steps: int = 2000,
    batch_size: int = 256,
    seed: int = 0,
    *,
    rate_per_example: float = FIT_RATE_PER_EXAMPLE,
    progress: bool = True,
) -> Interpreter:
    """Trains T on pairs of latents, given as arrays of any framework.

    Args:
      za, zb: (n, N), latents of the two halves of each pair; any values.
      shared: bool (n, K+1), which factors a pair shares; columns in layout order.
      layout: names and sizes, summing to N.
      sigma: similarity of pairs, in (0, 1); None: learned, one per factor.
      flow: T; None: the published one, 12 blocks of width 512.
      steps: training steps; the learning rate falls linearly over the last 70 %.
      batch_size: pairs per step.
      seed: of everything random.
      rate_per_example: peak learning rate over the batch size.
      progress: shows a bar with the time left.

    Returns:
      An Interpreter without a network: attach one with ``with_network``.

    Raises:
      ValueError: empty arrays, unlike lengths, NaN, odd N, sizes that do not sum to N,
        sigma outside (0, 1).
    """
    za, zb = _latents(za, "za"), _latents(zb, "zb")
    shared = np.asarray(shared)
    if za.shape != zb.shape or shared.shape[:1] != za.shape[:1]:
        raise ValueError(
            f"za, zb and shared must be of one length, za and zb of one shape; got "
            f"{za.shape}, {zb.shape} and {shared.shape}"
        )
    if shared.dtype != bool or shared.shape != (len(za), len(layout)):
        raise ValueError(
            f"shared must be bool of shape {(len(za), len(layout))}, one column per "
            f"factor of {layout}; got {shared.dtype} of shape {shared.shape}"
        )
    flow = _flow_for(za.shape[1], flow)
    check_fits(flow.dim, layout, None)
    _warn_of_constants(np.concatenate([za, zb]))
    data = LatentPairs(*map(jnp.asarray, (za, zb, shared)))
    schedule = Schedule(steps, rate_per_example, warmup=0.03, decay_start=0.3)
    training = FlowTraining(schedule, batch_size, sigma, seed)
    label = "flow" if progress else None
    return fit_flow(flow, layout, draw_arrays, data, training, progress=label)


def interpret(
    network: Network,
    images: Images,
    labels: Mapping[str, np.ndarray],
    seed: int = 0,
    *,
    graded: Mapping[str, np.ndarray] | None = None,
    layout: FactorLayout | None = None,
    estimator: str = "pooled",
    differ: Iterable[str] = (),
    identity: np.ndarray | None = None,
    sigma: float | None = 0.975,
    flow: InterpretationFlow | None = None,
    steps: int = 2000,
    batch_size: int = 256,
    rate_per_example: float = FIT_RATE_PER_EXAMPLE,
    progress: bool = True,
) -> Interpreter:
    """Encodes images, forms pairs from labels, estimates the sizes and trains T.

    Without any concept T is trained on single latents, and all of z is its residual.

    Args:
      network: frozen.
      images: (n, H, W, C) in [-1, 1], values and size as the network takes them.
      labels: concept -> discrete values, (n,) each; masked where missing.
      seed: of everything random.
      graded: concept -> numbers, (n,) each, NaN where missing: the closer two are, the
        more similar the pair. Continuous values can also be labels: see
        ``concepts.quantile_classes``.
      layout: sizes of the labels, in their order, of the graded concepts, and of the
        residual, last; None: estimated from 10,000 pairs.
      estimator: of the sizes, as in ``concepts.factor_scores``.
      differ, identity: further pairs, as in ``concepts.pair_table``.
      sigma, flow, steps, batch_size, rate_per_example, progress: as in ``fit``.

    Raises:
      ValueError: images outside [-1, 1], labels of another length, a value that can
        form no pair, and all that ``fit`` raises.
    """
    images = np.asarray(images)
    check_image_values(images)
    graded = {} if graded is None else graded
    concepts = {**labels, **graded}
    for name, column in concepts.items():
        if len(column) != len(images):
            raise ValueError(
                f"concept {name!r} has {len(column)} labels for {len(images)} images"
            )
    table = None
    if concepts or differ or identity is not None:
        table = pair_table(labels, differ=differ, identity=identity, graded=graded)
    dim = int(np.prod(network.latent_shape))
    flow = _flow_for(dim, flow)
    label = "encode" if progress else None
    cache = encode_all(network, lambda part: images[part], len(images), progress=label)
    if layout is None:
        layout = _estimated_layout(cache, labels, graded, estimator, seed)
    expected = (*concepts, RESIDUAL)
    if layout.names != expected:
        raise ValueError(
            f"the layout's factors must be the labels, in order, then the residual: "
            f"{list(expected)}; got {list(layout.names)}"
        )
    check_fits(flow.dim, layout, network)
    _warn_of_constants(cache.mean)
    data = CachedLatents(jnp.asarray(cache.mean), jnp.asarray(cache.log_var), table)
    draw = draw_samples if table is None else draw_cached
    schedule = Schedule(steps, rate_per_example, warmup=0.03, decay_start=0.3)
    training = FlowTraining(schedule, batch_size, sigma, seed)
    label = "flow" if progress else None
    fitted = fit_flow(flow, layout, draw, data, training, progress=label)
    return fitted.with_network(network)


def _estimated_layout(
    cache: LatentCache,
    labels: Mapping[str, np.ndarray],
    graded: Mapping[str, np.ndarray],
    estimator: str,
    seed: int,
) -> FactorLayout:
    """Sizes from pairs; those of graded concepts agree in a quantile class."""
    dim = cache.mean.shape[1]
    classes = {
        name: quantile_classes(values, what=f"concept {name!r}")
        for name, values in graded.items()
    }
    if not (labels or classes):
        return FactorLayout({RESIDUAL: dim})
    # whether entries can form pairs at all, the training's own table has checked
    pairs = pairs_from_labels(
        {**labels, **classes}, SIZE_PAIRS, seed, others="free", drop_alone=True
    )
    scores = factor_scores(
        cache.mean[pairs.a],
        cache.mean[pairs.b],
        pairs.concept,
        pairs.names,
        estimator,
        seed=seed,
    )
    return factor_sizes(scores, dim)


def _latents(z: Any, name: str) -> np.ndarray:
    z = np.asarray(z, np.float32)
    if z.ndim != 2 or z.size == 0:
        raise ValueError(f"{name} must be (n, N) with n >= 1; got shape {z.shape}")
    check_finite(z, f"{name} latent")
    return z


def _flow_for(dim: int, flow: InterpretationFlow | None) -> InterpretationFlow:
    check_even(dim)
    return InterpretationFlow(dim=dim) if flow is None else flow


def _warn_of_constants(z: np.ndarray) -> None:
    constant = np.flatnonzero(z.std(axis=0) <= 1e-6 * max(z.std(), 1e-30))
    if constant.size:
        warnings.warn(
            f"{constant.size} of {z.shape[1]} latent components never vary (first: "
            f"{constant[0]}); a flow has no density there: drop them or add noise",
            stacklevel=3,
        )
