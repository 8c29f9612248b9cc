"""From arrays, or from a network with images and labels, to an Interpreter."""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from iin_jax.concepts import pair_table
from iin_jax.concepts.closed_form import LinearView, mask_pairs
from iin_jax.concepts.hold_out import hold_out_entries, hold_out_pairs
from iin_jax.concepts.scores import images_of_rows
from iin_jax.data.latents import check_finite, encode_all
from iin_jax.factors import RESIDUAL, FactorLayout
from iin_jax.flows import InterpretationFlow
from iin_jax.flows.base import check_even
from iin_jax.flows.linear_start import DEAD_SPREAD
from iin_jax.interpreter import Interpreter, check_fits
from iin_jax.losses import check_sigma
from iin_jax.networks import Network
from iin_jax.networks.base import check_image_values
from iin_jax.prepared import PreparedLatents, Rules, estimated_sizes, prepared
from iin_jax.training.defaults import (
    Sigma,
    Wanted,
    flow_behind,
    flow_defaults,
    suited_training,
)
from iin_jax.training.flow_step import (
    LatentPairs,
    draw_arrays,
    draw_cached,
    draw_samples,
)
from iin_jax.training.flow_training import FlowTraining, Trained, train_flow
from iin_jax.training.parallel import Draw
from iin_jax.types import Images, Latents, Shared

HELD_OUT = 0.1  # share of the images that a training never sees
STARTS = ("closed_form", "published")
WORSE = 0.02  # bits per dimension by which held-out latents may cost more, unsaid

StartKind = Literal["closed_form", "published"]


def fit_flow(
    flow: InterpretationFlow,
    layout: FactorLayout,
    draw: Draw,
    data: Any,
    training: FlowTraining,
    **options: Any,
) -> tuple[Interpreter, dict[str, float]]:
    """Trains T on drawn latents; what ``fit``, ``interpret`` and experiments share.

    Warns where held-out latents cost more than under a Gaussian, or where no state of
    the training did better than the linear start.

    Args:
      flow, layout, draw, data, training, options: as in
        ``training.flow_training.train_flow``.

    Returns:
      The interpreter, and the ``record`` of its training.

    Raises:
      ValueError: sizes that do not sum to the flow's N, and as ``train_flow``.
    """
    check_fits(flow.dim, layout, None)
    trained = train_flow(flow, layout, draw, data, training, **options)
    for line in losses_of(trained):
        warnings.warn(line, stacklevel=3)
    it = Interpreter(trained.flow, trained.variables, layout, None, trained.sigma)
    return it, trained.record


def losses_of(trained: Trained) -> list[str]:
    """What a training has to admit, one line each."""
    record, lines = trained.record, []
    held_out = record.get("held_out_bits_per_dim")
    if held_out is None:
        return ["nothing was held out, so memorising would not be noticed"]
    gaussian = record["gaussian_bits_per_dim"]
    if held_out > gaussian + WORSE:
        lines.append(
            f"held-out latents cost {held_out:.2f} bits per dimension through T, "
            f"{gaussian:.2f} under a Gaussian fitted to the training latents: T does "
            "not generalise in density"
        )
    if "start_bits_per_dim" in record and record["step"] == 0:
        lines.append(
            f"none of {record['steps']} steps of training did better on held-out "
            "images than the linear start T_0: T is T_0"
        )
    return lines


def fit(
    za: Latents,
    zb: Latents,
    shared: Shared,
    layout: FactorLayout,
    flow: InterpretationFlow | None = None,
    *,
    index_a: np.ndarray | None = None,
    index_b: np.ndarray | None = None,
    start: StartKind = "closed_form",
    sigma: Sigma = "auto",
    held_out: float = HELD_OUT,
    steps: int | None = None,
    batch_size: int = 256,
    seed: int = 0,
    rate_per_example: float | None = None,
    noise: float | None = None,
    decay: float | None = None,
    progress: bool = True,
) -> Interpreter:
    """Trains T on pairs of latents, given as arrays of any framework.

    T begins with a linear start in closed form, computed from the same pairs; training
    refines it, and the state that does best on held-out pairs is kept, the start itself
    among them.

    Args:
      za, zb: (n, N), latents of the two halves of each pair; any values.
      shared: bool (n, K+1), which factors a pair shares; columns in layout order.
      layout: names and sizes, summing to N.
      flow: T behind the start; None: as large as suits the number of images and N. It
        begins as its shuffles alone; a flow of a class that cannot keeps its own
        initialisation.
      index_a, index_b: (n,), which image each row is of; None: equal rows are of one
        image.
      start: ``"closed_form"``, or ``"published"``: no start, ActNorm whitens, the last
        state is kept.
      sigma: similarity of pairs, in (0, 1): a number, one per factor, or (n, K+1) where
        pairs are graded (then no pair counts as more similar); "auto": held several
        times nearer to 1 than the start's eigenvalues (published start: 0.975);
        None: learned, but never below these.
      held_out: share of the images that are not trained on, in [0, 1).
      steps: training steps; the learning rate falls linearly over the last 70 %. None:
        as suits the number of images.
      batch_size: pairs per step.
      seed: of everything random.
      rate_per_example: peak learning rate over the batch size; None: as suits.
      noise, decay: as in ``training.flow_training.FlowTraining``; None: as suits.
      progress: shows a bar with the time left.

    Returns:
      An Interpreter without a network: attach one with ``with_network``.

    Raises:
      ValueError: empty arrays, unlike lengths, NaN, odd N, sizes that do not sum to N,
        sigma outside (0, 1), latents that never vary, a held-out share that leaves no
        pair.
    """
    wanted = Wanted(steps, batch_size, seed, rate_per_example, noise, decay)
    za, zb = _latents(za, "za"), _latents(zb, "zb")
    shared = np.asarray(shared)
    _check_pairs(za, zb, shared, layout)
    _check_start(start)
    check_even(za.shape[1])
    check_fits(za.shape[1], layout, None)
    both = np.concatenate([za, zb])
    _warn_of_constants(both)
    image = images_of_rows(za, zb, index_a, index_b)
    count = len(za)
    first, second = np.arange(count), count + np.arange(count)
    split = hold_out_pairs(image, first, second, held_out, seed)
    if split.crossing:
        warnings.warn(
            f"{split.crossing} of {count} pairs are left out, since one half is of a "
            "held-out image and the other is not (held_out sets the share)",
            stacklevel=2,
        )
    sigma, graded = _graded(sigma, shared.shape)

    def pairs_of(rows: np.ndarray) -> LatentPairs:
        a, b, masks = (jnp.asarray(x[rows]) for x in (za, zb, shared))
        similar = None if graded is None else jnp.asarray(graded[rows])
        return LatentPairs(a, b, masks, similar)

    parts = [pairs_of(rows) for rows in (split.train, split.held_out)]
    kept = np.r_[split.train, count + split.train]
    where = np.unique(image[kept], return_inverse=True)[1].reshape(-1)
    defaults = flow_defaults(int(where.max()) + 1, za.shape[1])
    begun = None
    if start == "closed_form":
        _warn_of_few(int(where.max()) + 1, za.shape[1])
        masks = shared[split.train]
        similar = np.ones(masks.shape) if graded is None else graded[split.train]
        pairs = mask_pairs(masks, layout.concepts, where, similar)
        view = LinearView.of(both[kept], pairs, where)
        begun = view.start(concept_sizes(layout))
    training = suited_training(defaults, begun, layout, sigma, wanted)
    flow = flow_behind(flow, defaults, za.shape[1], begun)
    options = {
        "start": begun,
        "validation": parts[1] if len(split.held_out) else None,
        "progress": "flow" if progress else None,
    }
    return fit_flow(flow, layout, draw_arrays, parts[0], training, **options)[0]


def interpret(
    network: Network,
    images: Images,
    labels: Mapping[str, np.ndarray],
    flow: InterpretationFlow | None = None,
    *,
    graded: Mapping[str, np.ndarray] | None = None,
    layout: FactorLayout | None = None,
    estimator: str = "shared_rank",
    agree: Iterable[str] | None = None,
    differ: Iterable[str] = (),
    identity: np.ndarray | None = None,
    start: StartKind = "closed_form",
    sigma: Sigma = "auto",
    held_out: float = HELD_OUT,
    steps: int | None = None,
    batch_size: int = 256,
    seed: int = 0,
    rate_per_example: float | None = None,
    noise: float | None = None,
    decay: float | None = None,
    progress: bool = True,
) -> Interpreter:
    """Encodes images, forms pairs from labels, estimates the sizes and trains T.

    Without any concept T is trained on single latents, and all of z is its residual.

    Args:
      network: frozen.
      images: (n, H, W, C) in [-1, 1], values and size as the network takes them.
      labels: concept -> discrete values, (n,) each; masked where missing.
      flow: as in ``fit``.
      graded: concept -> numbers, (n,) each, NaN where missing: the closer two are, the
        more similar the pair. Continuous values can also be labels: see
        ``concepts.quantile_classes``.
      layout: sizes of the labels, in their order, of the graded concepts, and of the
        residual, last; None: estimated.
      estimator: of the sizes, as in ``concepts.factor_scores``; a ``"shared_rank"`` is
        taken once, 1.5 times or twice, by what held-out images say.
      agree, differ, identity: which pairs, as in ``concepts.pair_table``.
      start, sigma, held_out, steps, batch_size, seed, rate_per_example, noise, decay,
        progress: as in ``fit``.

    Raises:
      ValueError: images outside [-1, 1], labels of another length, a value that can
        form no pair, and all that ``fit`` raises.
    """
    wanted = Wanted(steps, batch_size, seed, rate_per_example, noise, decay)
    images = np.asarray(images)
    check_image_values(images)
    _check_start(start)
    graded = {} if graded is None else graded
    concepts = {**labels, **graded}
    for name, column in concepts.items():
        if len(column) != len(images):
            raise ValueError(
                f"concept {name!r} has {len(column)} labels for {len(images)} images"
            )
    rules = Rules(None if agree is None else tuple(agree), tuple(differ))
    paired = bool(concepts or rules.differ or identity is not None)
    if paired:  # raises for a value without a partner, before anything is encoded
        pair_table(
            labels,
            agree=rules.agree,
            differ=rules.differ,
            identity=identity,
            graded=graded,
        )
    dim = int(np.prod(network.latent_shape))
    check_even(dim)
    if layout is not None:
        _check_layout(layout, tuple(concepts), network)
    label = "encode" if progress else None
    cache = encode_all(network, lambda part: images[part], len(images), progress=label)
    _warn_of_constants(cache.mean)
    image = np.arange(len(images)) if identity is None else np.asarray(identity)
    whole = prepared(cache.mean, cache.log_var, labels, graded, image, identity, rules)
    train, unseen = _split(whole, held_out, seed)
    view = train.view(seed) if start == "closed_form" else None
    if layout is None:
        sizes = estimated_sizes(train, unseen, estimator, seed, view=view)
        layout = sizes.layout
        if progress and concepts:
            print(sizes.describe())
    defaults = flow_defaults(train.images, dim)
    begun = None
    if view is not None:
        _warn_of_few(train.images, dim)
        begun = view.start(concept_sizes(layout))
    training = suited_training(defaults, begun, layout, sigma, wanted)
    options = {
        "start": begun,
        "validation": None if unseen is None else unseen.feed(),
        "progress": "flow" if progress else None,
    }
    flow = flow_behind(flow, defaults, dim, begun)
    draw = draw_cached if paired else draw_samples
    fitted, _ = fit_flow(flow, layout, draw, train.feed(), training, **options)
    return fitted.with_network(network)


def concept_sizes(layout: FactorLayout) -> dict[str, int]:
    """Concept -> size, without the residual."""
    return {name: layout[name] for name in layout.concepts}


def _split(
    whole: PreparedLatents, held_out: float, seed: int
) -> tuple[PreparedLatents, PreparedLatents | None]:
    """What is trained on, and what is held out; None where nothing is."""
    held = hold_out_entries(whole.image, held_out, seed)
    if not held.any() and held_out == 0:
        return whole, None
    train, unseen = (
        whole.subset(np.flatnonzero(rows)) if rows.any() else None
        for rows in (~held, held)
    )
    if train is None or unseen is None or unseen.pairing_fault is not None:
        reason = "" if unseen is None else f": {unseen.pairing_fault}"
        raise ValueError(
            f"holding out {held_out:g} of {whole.images} images leaves no pair to "
            f"judge by{reason}; give more images, another held_out, or held_out=0 to "
            "go without"
        )
    if train.pairing_fault is not None:
        raise ValueError(
            f"holding out {held_out:g} of {whole.images} images leaves no pair to "
            f"train on: {train.pairing_fault}; give more images, or held_out=0"
        )
    return train, unseen


def _graded(sigma: Any, shape: tuple[int, ...]) -> tuple[Any, np.ndarray | None]:
    """The similarity of all pairs, and that of each pair where they are graded."""
    if isinstance(sigma, str) or np.ndim(sigma) < 2:
        return sigma, None
    values = np.asarray(sigma, np.float32)
    if values.shape == (1, shape[1]):
        return tuple(values[0].tolist()), None
    if values.shape != shape:
        raise ValueError(
            f"sigma is one number, one per factor ({shape[1]}) or one per pair and "
            f"factor {shape}; got shape {values.shape}"
        )
    check_sigma(values)
    return "auto", values


def _check_pairs(za, zb, shared: np.ndarray, layout: FactorLayout) -> None:
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


def _check_layout(
    layout: FactorLayout, concepts: tuple[str, ...], network: Network
) -> None:
    expected = (*concepts, RESIDUAL)
    if layout.names != expected:
        raise ValueError(
            f"the layout's factors must be the labels, in order, then the residual: "
            f"{list(expected)}; got {list(layout.names)}"
        )
    check_fits(int(np.prod(network.latent_shape)), layout, network)


def _check_start(start: str) -> None:
    if start not in STARTS:
        raise ValueError(f"start is one of {list(STARTS)}; got {start!r}")


def _latents(z: Any, name: str) -> np.ndarray:
    z = np.asarray(z, np.float32)
    if z.ndim != 2 or z.size == 0:
        raise ValueError(f"{name} must be (n, N) with n >= 1; got shape {z.shape}")
    check_finite(z, f"{name} latent")
    return z


def _warn_of_few(images: int, dim: int) -> None:
    if images < dim:
        warnings.warn(
            f"{images} images for {dim} dimensions: the linear start stands on a "
            "covariance that is shrunk towards independence",
            stacklevel=3,
        )


def _warn_of_constants(z: np.ndarray) -> None:
    spread, most = z.std(axis=0), np.abs(z).max(axis=0)
    constant = np.flatnonzero(spread <= DEAD_SPREAD * most)
    if constant.size == z.shape[1]:
        raise ValueError(
            f"no component of the {len(z)} latents varies: they are all alike, and "
            "there is nothing to interpret"
        )
    if constant.size:
        warnings.warn(
            f"{constant.size} of {z.shape[1]} latent components never vary (first: "
            f"{constant[0]}); a flow has no density there: drop them or add noise",
            stacklevel=3,
        )
