"""From arrays, or from a network with images and labels, to an Interpreter."""

import dataclasses
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from iin_jax.concepts.base import PairSource
from iin_jax.concepts.closed_form import LinearView
from iin_jax.concepts.explicit_pairs import ExplicitPairs
from iin_jax.concepts.label_pairs import LabelPairs
from iin_jax.concepts.labels import entry_codes
from iin_jax.concepts.map_view import MapView
from iin_jax.concepts.pair_forms import some_latents
from iin_jax.concepts.rules import Others, check_others
from iin_jax.concepts.scores import images_of_rows
from iin_jax.data.values import label_columns
from iin_jax.factors import FactorLayout
from iin_jax.flows import Bijector
from iin_jax.flows.feature_map import positions_of
from iin_jax.held_out_swaps import HeldOutSwaps
from iin_jax.inputs import (
    check_channels,
    check_flow,
    check_layout,
    check_pairs,
    check_several_images,
    latents_of,
    warn_of_constants,
    warn_of_crossing,
    warn_of_dependence,
    warn_of_idle_pairs,
    warn_of_self_pairs,
    warn_of_small_set,
)
from iin_jax.interpreter import Interpreter, check_fits
from iin_jax.latents import LatentCache, encode_all
from iin_jax.losses import Loss, check_sigma, wrong_share
from iin_jax.networks import Network
from iin_jax.networks.base import check_image_values
from iin_jax.prepared import PreparedLatents, estimated_sizes
from iin_jax.training.checkpoints import Checkpoints
from iin_jax.training.defaults import (
    Training,
    flow_behind,
    flow_defaults,
    planned,
)
from iin_jax.training.flow_training import Trained, minimised, train_flow
from iin_jax.training.log import MetricsLog
from iin_jax.training.loop import TrainingInterrupt
from iin_jax.training.parallel import Feed, divisible_batch
from iin_jax.types import Images, Latents, Shared

HOW_TO_GET = "except KeyboardInterrupt as e, or sys.last_value in a notebook"
MOST_HELD_OUT = 4096  # held-out latents that edits are compared with
FEWEST_TO_CHOOSE = 6  # held-out pairs of a concept by which a state can be chosen
FEW_TO_CHOOSE = (
    "{} held-out pairs of a concept cannot tell whether training helps: T is the "
    "linear start T_0; give about 50 pairs or more, or held_out=0 to train unwatched"
)
TOLERANCE = 0.02  # excess bits per dimension of held-out latents without a warning


def fit_prepared(
    train: PreparedLatents,
    held_out: PreparedLatents | None,
    layout: FactorLayout,
    training: Training,
    *,
    flow: Bijector | None = None,
    loss: Loss | None = None,
    network: Network | None = None,
    view: LinearView | MapView | None = None,
    feed: Feed | None = None,
    images: int | None = None,
    checkpoints: Checkpoints | None = None,
    log: MetricsLog | None = None,
    progress: bool = True,
) -> tuple[Interpreter, dict[str, float]]:
    """Trains T on prepared latents; what ``fit``, ``interpret`` and runs share.

    Warns where held-out latents cost more than under a Gaussian, or where no state of
    the training did better than the linear start, in its loss or in swaps of concepts
    with classes. With fewer than six held-out pairs
    of a concept, given beside entries in no pair, T is that start: on ColorMNIST a
    state chosen by fewer, which is by density, was worse in five of six draws, never
    better.

    Args:
      train, held_out: both sides of a split.
      layout, flow, loss, training: as in ``fit``.
      network: what the latents come from; None: unknown.
      view: ``train.view``, if it is at hand.
      feed: where batches come from; None: the latents of ``train``.
      images: number of different images in ``feed``, if it is given.
      checkpoints, log: as in ``training.loop.train``.
      progress: shows a bar with the time left.

    Returns:
      The interpreter, and the ``record`` of its training.

    Raises:
      ValueError: sizes that do not sum to N, and as ``train_flow``.
    """
    dim = train.mean.shape[1]
    check_fits(dim, layout, network)
    if flow is not None and getattr(flow, "dim", None) != dim:
        raise ValueError(
            f"the flow acts on {getattr(flow, 'dim', None)} numbers, the latents have "
            f"{dim}: give it a field dim of {dim}"
        )
    check_channels(layout, positions_of(flow))
    train = train.seen_by(flow)
    if feed is None or feed.stream is None:
        size = divisible_batch(training.batch_size, training.accumulate)
        training = dataclasses.replace(training, batch_size=size)
    start = None
    if training.start == "closed_form":
        warn_of_small_set(train, dim)
        view = train.view(training.seed) if view is None else view
        if isinstance(view, LinearView):
            warn_of_dependence(view.whitening)
        start = view.start({name: layout[name] for name in layout.concepts})
        if layout.concepts:
            wrong = wrong_share(minimised(loss, layout, paired=True))
            start = start.among_right(wrong)
    # a concept's pairs are memorised first, so their number says what suits
    count = train.paired_images if images is None else images
    varied = dim
    if start is not None and isinstance(view, LinearView):
        varied = view.whitening.rank
    defaults = flow_defaults(count, varied)
    plan = planned(defaults, start, layout, training)
    pairs = None if held_out is None else held_out.fewest_pairs
    if start is not None and pairs is not None and pairs < FEWEST_TO_CHOOSE:
        warnings.warn(FEW_TO_CHOOSE.format(pairs), stacklevel=3)
        plan = dataclasses.replace(plan, patience=0)
    looks_through = None if loss is None else network
    swaps = None
    if start is not None and held_out is not None and plan.patience:
        swaps = HeldOutSwaps.of(train, held_out, layout, training.seed)
    try:
        trained = train_flow(
            flow_behind(flow, defaults, dim, start, varied),
            layout,
            train.feed(looks_through) if feed is None else feed,
            plan,
            start=start,
            loss=loss,
            network=looks_through,
            validation=None if held_out is None else held_out.feed(looks_through),
            gaussian=None if view is None else view.whitening,
            swaps=swaps,
            checkpoints=checkpoints,
            log=log,
            progress="flow" if progress else None,
        )
    except TrainingInterrupt as stopped:
        message = f"{stopped}; what was trained is this error's result: {HOW_TO_GET}"
        result = _interpreter(stopped.result, layout, network)
        raise TrainingInterrupt(message, result) from None
    for line in training_warnings(trained):
        warnings.warn(line, stacklevel=3)
    interpreter = _interpreter(trained, layout, network)
    if held_out is not None:
        rows = some_latents(held_out.image, MOST_HELD_OUT, training.seed)
        interpreter = interpreter.with_held_out(held_out.mean[rows])
    return interpreter, trained.record


def _interpreter(
    trained: Trained, layout: FactorLayout, network: Network | None
) -> Interpreter:
    return Interpreter(trained.flow, trained.variables, layout, network, trained.sigma)


def training_warnings(trained: Trained) -> list[str]:
    """Warnings about a finished training, one line each."""
    record, lines = trained.record, []
    held_out = record.get("held_out_bits_per_dim")
    if held_out is None:
        return ["nothing was held out, so memorising would not be noticed"]
    gaussian = record["gaussian_bits_per_dim"]
    if held_out > gaussian + TOLERANCE:
        lines.append(
            f"held-out latents cost {held_out:.2f} bits per dimension through T, "
            f"{gaussian:.2f} under a Gaussian fitted to the training latents: T does "
            "not generalise in density"
        )
    if "swaps" in record and record["step"] == 0:
        lines.append(
            f"what was trained swaps {100 * record['swaps']:.1f} % of held-out latents "
            f"right, the linear start T_0 {100 * record['start_swaps']:.1f} %: T is T_0"
        )
    elif "start_bits_per_dim" in record and record["step"] == 0 and record["steps"]:
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
    flow: Bijector | None = None,
    loss: Loss | None = None,
    index_a: np.ndarray | None = None,
    index_b: np.ndarray | None = None,
    *,
    training: Training | None = None,
    progress: bool = True,
    **changes: Any,
) -> Interpreter:
    """Trains T on pairs of latents, given as arrays of any framework.

    T begins with a linear start in closed form, computed from the same pairs; training
    refines it, and the state that does best on held-out pairs is kept, the start itself
    among them.

    Args:
      za, zb: (n, N), latents of the two halves of each pair; any values.
      shared: bool (n, K+1), which factors a pair shares; columns in layout order.
      layout: names and sizes, summing to N.
      flow: T behind the start, any ``Bijector`` with a field ``dim``; None: as large as
        suits the number of images and N. It begins as its shuffles alone; a flow of a
        class that cannot keeps its own initialisation. A ``FeatureMapFlow`` takes maps,
        and factors are then groups of channels.
      loss: a function of the layout that returns a term, see ``iin_jax.losses``; None:
        the likelihood of the pairs.
      index_a, index_b: (n,), which image each row is of; None: equal rows are of one
        image.
      training: how; None: as suits the data.
      progress: shows a bar with the time left.
      changes: fields of ``Training`` by name: ``steps=…``, ``batch_size=…``,
        ``seed=…``, ``start=…``, ``held_out=…``; ``sigma`` may also be (n, K+1), where
        pairs are graded (then no pair counts as more similar).

    Returns:
      An Interpreter without a network: attach one with ``with_network``.

    Raises:
      ValueError: empty arrays, unlike lengths, NaN, sizes that do not sum to N,
        sigma outside (0, 1), latents that never vary, a held-out share that leaves no
        pair.
      KeyboardInterrupt: Ctrl-C; its ``result`` is the Interpreter so far.
    """
    za, zb = latents_of(za, "za"), latents_of(zb, "zb")
    shared = np.asarray(shared)
    check_pairs(za, zb, shared, layout)
    changes, sigma = _separate_sigma(changes, shared.shape)
    training = _with_changes(training, changes)
    check_flow(flow)
    check_fits(za.shape[1], layout, None)
    z = np.concatenate([za, zb])
    warn_of_constants(z, carried=_carries(training, flow))
    count, image = len(za), images_of_rows(za, zb, index_a, index_b)
    first, second = np.arange(count), count + np.arange(count)
    check_several_images(int(image.max()) + 1)
    source = ExplicitPairs(layout.concepts, first, second, shared, image, sigma)
    warn_of_idle_pairs(source)
    warn_of_self_pairs(source)
    prepared = PreparedLatents(z, None, source, image)
    train, unseen = prepared.split(training.held_out, training.seed)
    warn_of_crossing(source, train, unseen)
    options = {"flow": flow, "loss": loss, "progress": progress}
    return fit_prepared(train, unseen, layout, training, **options)[0]


def interpret(
    network: Network,
    images: Images,
    labels: Mapping[str, np.ndarray] | None = None,
    flow: Bijector | None = None,
    loss: Loss | None = None,
    pairs: PairSource | None = None,
    *,
    graded: Mapping[str, np.ndarray] | None = None,
    layout: FactorLayout | None = None,
    estimator: str = "shared_rank",
    agree: Iterable[str] | None = None,
    differ: Iterable[str] = (),
    others: Others = "free",
    identity: np.ndarray | None = None,
    latents: Latents | None = None,
    training: Training | None = None,
    progress: bool = True,
    **changes: Any,
) -> Interpreter:
    """Encodes images, forms pairs from labels, estimates the sizes and trains T.

    Without any concept T is trained on single latents, and all of z is its residual.

    Args:
      network: frozen.
      images: (n, H, W, C) in [-1, 1], values and size as the network takes them.
      labels: concept -> discrete values, (n,) each; a dictionary or data frame, whose
        columns are lists, arrays, tensors or of pandas (numbers, truth values, text,
        categories, dates), with missing values masked, None, NaN, NA or NaT. A value
        of one image alone forms no pair, and a warning counts these.
      flow, loss: as in ``fit``.
      pairs: where pairs come from in place of labels: ``concepts.ExplicitPairs.of``, or
        any ``concepts.PairSource`` of the n images. Of explicit pairs beside images in
        no pair, about 50 are needed for T to be more than its linear start.
      graded: concept -> numbers, (n,) each, NaN where missing: the closer two are, the
        more similar the pair. Continuous values can also be labels: see
        ``concepts.quantile_classes``.
      layout: sizes of the labels, in their order, of the graded concepts, and of the
        residual, last; None: estimated.
      estimator: of the sizes, as in ``concepts.factor_scores``; a ``"shared_rank"`` is
        taken once, 1.5 times or twice, by what held-out images say.
      agree, differ, others, identity: which pairs, as in ``concepts.pair_table``.
      latents: z of every image, (n, N) or of the network's own shape, where they are
        known, as those that a generator's images were drawn from; None: encoded.
      training, progress, changes: as in ``fit``.

    Raises:
      ValueError: images outside [-1, 1], labels of another form or length, a concept
        that forms no pair, labels beside ``pairs``, and all that ``fit`` raises.
    """
    training = _with_changes(training, changes)
    images = np.asarray(images)
    check_image_values(images)
    labels, graded = label_columns(labels), label_columns(graded)
    if pairs is None:
        pairs = _label_pairs(
            len(images), labels, graded, agree, tuple(differ), others, identity
        )
    elif labels or graded or agree is not None or tuple(differ) or others != "free":
        raise ValueError("pairs come from labels or from pairs=...; give one of them")
    elif len(pairs.image) != len(images):
        raise ValueError(
            f"the pairs are of {len(pairs.image)} entries; got {len(images)} images"
        )
    if isinstance(pairs, ExplicitPairs):
        warn_of_idle_pairs(pairs)
        warn_of_self_pairs(pairs)
    check_flow(flow, network.latent_shape)
    if layout is not None:
        check_layout(layout, () if pairs is None else pairs.names, network)
        check_channels(layout, positions_of(flow))
    prepared = _prepared(network, images, latents, pairs, progress).seen_by(flow)
    warn_of_constants(prepared.mean, carried=_carries(training, flow))
    train, unseen = prepared.split(training.held_out, training.seed)
    if isinstance(pairs, ExplicitPairs):
        warn_of_crossing(pairs, train, unseen)
    closed_form = training.start == "closed_form"
    view = train.view(training.seed) if closed_form else None
    if layout is None:
        sizes = estimated_sizes(train, unseen, estimator, training.seed, view=view)
        layout = sizes.layout
        if progress and train.concepts:
            print(sizes.describe())
    options = {"flow": flow, "loss": loss, "view": view, "progress": progress}
    return fit_prepared(train, unseen, layout, training, network=network, **options)[0]


def _carries(training: Training, flow: Bijector | None) -> bool:
    """Whether T carries what never varies; a flow over maps moves every channel."""
    return training.start == "closed_form" and positions_of(flow) is None


def _prepared(
    network: Network,
    images: Images,
    latents: Latents | None,
    pairs: PairSource | None,
    progress: bool,
) -> PreparedLatents:
    """Latents of all images, given or encoded, with their pairs."""
    if latents is None:
        label = "encode" if progress else None
        cache = encode_all(
            network, lambda part: images[part], len(images), progress=label
        )
    else:
        cache = LatentCache(latents_of(latents, "latents"))
        expected = (len(images), int(np.prod(network.latent_shape)))
        if cache.mean.shape != expected:
            raise ValueError(
                f"latents of {expected[0]} images have shape {expected}; got "
                f"{cache.mean.shape}"
            )
    image = np.arange(len(images)) if pairs is None else pairs.image
    check_several_images(int(image.max()) + 1)
    return PreparedLatents(cache.mean, cache.log_var, pairs, image)


def _label_pairs(
    count: int,
    labels: Mapping[str, np.ndarray],
    graded: Mapping[str, np.ndarray],
    agree: Iterable[str] | None,
    differ: tuple[str, ...],
    others: Others,
    identity: np.ndarray | None,
) -> LabelPairs | None:
    """The source that labels define; None without any. Warns of values without partner.

    Raises:
      ValueError: a concept without pairs or no value of ``others``, before anything is
        encoded.
    """
    for name, column in {**labels, **graded}.items():
        if len(column) != count:
            raise ValueError(
                f"concept {name!r} has {len(column)} labels for {count} images"
            )
    check_others(others)
    agree = None if agree is None else tuple(agree)
    if not (labels or graded or differ or identity is not None):
        return None
    image = np.arange(count)
    if identity is not None:
        image = entry_codes(identity, "identity", count)
    source = LabelPairs(labels, graded, image, identity, agree, differ, others)
    for name, alone in source.alone.items():
        warnings.warn(
            f"concept {name!r}: {alone} of {count} entries have no partner, so its "
            "pairs are without them",
            stacklevel=3,
        )
    return source


def _with_changes(training: Training | None, changes: Mapping[str, Any]) -> Training:
    if not isinstance(training, Training | None):
        raise ValueError(
            f"training is an iin_jax.Training(...); got {type(training).__name__}"
        )
    return (training or Training()).with_changes(changes)


def _separate_sigma(
    changes: Mapping[str, Any], shape: tuple[int, ...]
) -> tuple[dict[str, Any], np.ndarray | None]:
    """Changes of the training, and the similarity of each pair if graded."""
    sigma = changes.get("sigma")
    if sigma is None or isinstance(sigma, str) or np.ndim(sigma) < 2:
        return dict(changes), None
    values = np.asarray(sigma, np.float32)
    check_sigma(values)
    if values.shape == (1, shape[1]):
        return {**changes, "sigma": tuple(values[0].tolist())}, None
    if values.shape != shape:
        raise ValueError(
            f"sigma is one number, one per factor ({shape[1]}) or one per pair and "
            f"factor {shape}; got shape {values.shape}"
        )
    highest = tuple(values.max(axis=0).tolist())  # a pair has its own, never more
    return {**changes, "sigma": highest}, values
