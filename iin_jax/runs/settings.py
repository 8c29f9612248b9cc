"""All settings of an experiment, as values; the published ones are the defaults."""

import dataclasses
from typing import Annotated, Literal

import tyro

from iin_jax.analysis.distances import FEATURES
from iin_jax.concepts.rules import Others
from iin_jax.concepts.scores import ESTIMATORS
from iin_jax.concepts.sketches import STYLISERS
from iin_jax.concepts.sketches.stylisers import MOST
from iin_jax.data import SOURCES, Affine
from iin_jax.data.painted import Coloring
from iin_jax.flows import FLOWS
from iin_jax.losses import TERMS
from iin_jax.networks.perceptual import LAYERS
from iin_jax.runs.bounds import (
    AtLeast,
    Count,
    CountOrZero,
    OneOf,
    PartShare,
    Share,
)
from iin_jax.training.defaults import StartKind
from iin_jax.training.optim import PUBLISHED_RATE_PER_EXAMPLE, Schedule


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """Images and their split.

    Attributes:
      source: Where images come from: digits (embedded, real, no download); mnist,
        fashion_mnist, cifar10, celeb_a (TFDS); folder (your own, with a CSV); or any in
        ``iin_jax.data.SOURCES``.
      root: Folder of the TFDS sets, or of your images; none: TFDS's own.
      attributes: CSV of your images' attributes, one row per image.
      image_column: Its column of image files, relative to the root.
      classes: Its columns whose numbers are names (of persons, of places), so that each
        is a class; none: whole numbers of up to 20 different values are.
      max_unreadable: Share of your images that may be unreadable; they are named.
      max_memory: Mebibytes up to which images are held in memory; more of them stay on
        disk and are decoded at use.
      download: Let TFDS fetch and prepare a missing set.
      image_size: Height and width, in pixels.
      coloring: Paint grey images: on black, or as the authors' code does, with the
        colour's negative as background; none: take images as they are.
      limit: Images of each split at most, drawn by the seed; 0: all.
      palette: Number of colours that training images are painted in; fewer where
        each would be on less than 8 images.
      validation: Share of the images that settings are chosen on; of the training
        images, where the set has a test part of its own.
      test: Share of the images that nothing is trained or chosen on, where the set
        has no test part of its own.
    """

    source: Annotated[str, OneOf(SOURCES)] = "digits"
    root: str | None = None
    attributes: str | None = None
    image_column: str = "image"
    classes: tuple[str, ...] | None = None  # as in settings of runs without the field
    max_unreadable: Share = 0.01
    max_memory: CountOrZero = 1024
    download: bool = False
    image_size: int = 32
    coloring: Coloring = "black"
    limit: CountOrZero = 0
    palette: Count = 4096
    validation: Share = 0.1
    test: Share = 0.2


@dataclasses.dataclass(frozen=True)
class NetworkSettings:
    """The network that gets interpreted, and its training on the published schedule.

    Attributes:
      steps: Training steps.
      batch_size: Images per step, over all devices.
      rate_per_example: Peak learning rate over the batch size.
      warmup: Share of the steps over which the learning rate rises.
      decay_start: Share of the steps after which it falls to zero.
      accumulate: Micro-batches per step.
      checkpoint_every: Steps between checkpoints.
      kind: autoencoder (z is the posterior's mean), classifier (z before the head), or
        pretrained (z is the output of a layer; nothing is trained).
      from_run: A finished run whose network is reused instead of training one.
      name: Architecture of a pretrained network.
      layer: Layer at which a pretrained network is cut; none: a late one.
      weights: File or folder of its weights; none: looked for in the folders of
        $IIN_JAX_WEIGHTS and in the cache folder.
      download: Fetch missing weights from their publisher.
      color_follows: Share of a classifier's training images that are painted in a
        colour of their class's own (a stretch of the palette, by hue): a shortcut that
        other images do not have.
      latent_dim: Number N of latent dimensions; of a pretrained network, that of its
        layer at this image size.
      num_down: Number of halvings of the image.
      base: Channels after the first halving.
      kl_weight: Weight of the KL term of the autoencoder's loss.
      squared: Share of the steps, at the start, with squared in place of absolute
        errors: at high learning rates these stick at an empty image.
      perceptual: Backbone of LPIPS in the autoencoder's loss (squeeze, alex, vgg);
        none: train without.
      discriminator: Normalisation of the autoencoder's discriminator; none: train
        without one.
      discriminator_base: Channels after the discriminator's first layer.
      discriminator_start: Share of the steps after which it takes part.
      discriminator_weight: Factor on its adaptive weight.
    """

    steps: Count = 120_000
    batch_size: int = 25
    rate_per_example: Annotated[float, AtLeast(0)] = PUBLISHED_RATE_PER_EXAMPLE
    warmup: Share = 0.0
    decay_start: Share = 0.83
    accumulate: int = 1
    checkpoint_every: Count = 500
    kind: Literal["autoencoder", "classifier", "pretrained"] = "autoencoder"
    from_run: Annotated[str | None, tyro.conf.arg(name="from")] = None
    name: str = "squeezenet1_1"
    layer: str | None = None
    weights: str | None = None
    download: bool = False
    color_follows: Share = 0.0
    latent_dim: Annotated[int, AtLeast(2)] = 64
    num_down: Count = 4
    base: Count = 64
    kl_weight: float = 1.0
    squared: Share = 0.0
    perceptual: Annotated[str, OneOf(LAYERS, ("none",))] = "vgg"
    discriminator: Literal["none", "batch", "spectral"] = "batch"
    discriminator_base: Count = 64
    discriminator_start: Share = 25_001 / 120_000
    discriminator_weight: float = 1.0

    @property
    def schedule(self) -> Schedule:
        """The learning rate over the steps."""
        return Schedule(
            self.steps, self.rate_per_example, self.warmup, self.decay_start
        )


@dataclasses.dataclass(frozen=True)
class LatentSettings:
    """Which images the flow is trained on, and when they are encoded.

    Attributes:
      mode: cache: every entry is encoded once, before; stream: the network runs inside
        the training step, for augmentation without end and sets beyond any cache.
      variants: Distorted versions of each training image.
      colors: Colours that each version is painted in.
      augment: Range of the distortions, for the network's training too.
    """

    mode: Literal["cache", "stream"] = "cache"
    variants: Count = 1
    colors: Count = 8
    augment: Affine = dataclasses.field(default_factory=Affine)


@dataclasses.dataclass(frozen=True)
class ConceptSettings:
    """Concepts, pairs and sizes.

    Attributes:
      source: Where concepts come from: labels, sketches (what two sketches differ in),
        or none (then T is trained without any).
      names: Attributes that become concepts; empty: all there are, and the colour of
        coloured images; with sketches none, unless they are named here.
      sketch_a: Picture of one value of the concept that is sketched.
      sketch_b: Picture of another value of it, alike in all else.
      sketched: Name of that concept.
      styliser: What gives images the manner of a sketch, in
        ``iin_jax.concepts.STYLISERS``: transport, or neural (a style network).
      sketched_images: Images that are stylised, at most, drawn by the seed from all
        splits; the run is then of these alone. The usual number stands for the
        styliser's own: 1000 with neural on a CPU.
      continuous: What makes a pair agree in a continuous attribute: quantile (the same
        of ``bins`` quantiles), or sigma (any two, the nearer the more similar).
      bins: Number of quantiles.
      others: Of pairs that agree in a concept: free (all others keep their
        distribution) or differ (at least one other label is unlike).
      estimator: Of the sizes: pooled (authors' code), correlation (paper), shared_rank
        (directions above chance, once to twice) or calibrated (their correlations).
      score_pairs: Number of validation pairs behind the published estimates.
      sizes: Dimensions of the concepts, in order; empty: estimated.
      recolored: Also pair an image with itself in another colour; then all but the
        colour is shared, the residual too.
    """

    source: Literal["labels", "sketches", "none"] = "labels"
    names: tuple[str, ...] = ()
    sketch_a: str | None = None
    sketch_b: str | None = None
    sketched: str = "stroke"
    styliser: Annotated[str, OneOf(STYLISERS)] = "transport"
    sketched_images: Annotated[int, AtLeast(10)] = MOST
    continuous: Literal["quantile", "sigma"] = "quantile"
    bins: Annotated[int, AtLeast(2)] = 10
    others: Others = "free"
    estimator: Annotated[str, OneOf(ESTIMATORS)] = "pooled"
    score_pairs: Annotated[int, AtLeast(10)] = 10_000
    sizes: Annotated[tuple[int, ...], AtLeast(0)] = ()
    recolored: bool = False


@dataclasses.dataclass(frozen=True)
class FlowSettings:
    """The interpretation network T.

    Attributes:
      start: Before the first step: closed_form (a linear map from the same pairs, which
        training refines; the best state on validation images is kept) or published.
      kind: Kind of flow, in ``iin_jax.flows.FLOWS``: interpretation (published),
        householder (a learned rotation after each block), or feature_map (over the
        channels of a map, shared by its positions; factors are whole channels).
      num_blocks: Number of blocks; 0: as suits images and latent dimensions.
      hidden_dim: Width of the couplings' networks; 0: as suits.
      hidden_depth: Number of their hidden-to-hidden layers.
      sigma: Similarity of pairs, in (0, 1); auto: from the start's eigenvalues; none:
        learned, one per factor.
    """

    start: StartKind = "published"
    kind: Annotated[str, OneOf(FLOWS)] = "interpretation"
    num_blocks: CountOrZero = 12
    hidden_dim: CountOrZero = 512
    hidden_depth: int = 2
    sigma: float | Literal["auto"] | None = 0.975


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """The flow's training; 0 steps or a rate of 0: as suits images and dimensions.

    Attributes:
      steps: Training steps.
      batch_size: Pairs per step, over all devices.
      rate_per_example: Peak learning rate over the batch size, as published: linear in
        the batch; 0: one that suits the images, at any batch.
      warmup: Share of the steps over which the learning rate rises.
      decay_start: Share of the steps after which it falls to zero.
      accumulate: Micro-batches per step.
      checkpoint_every: Steps between checkpoints.
      parallel: How several devices share a batch: jit (sharded) or pmap.
      noise: Standard deviation of what is added to latents behind a closed-form start,
        where their own is 1; none: as suits.
      decay: Weight decay behind a closed-form start; none: as suits.
      patience: Checkpoints without a better state on validation images after which
        training behind a closed-form start ends.
      terms: Terms that are added to the likelihood, with their weights: independence
        (factors of a batch have no covariance), cycle (what is decoded and encoded
        again keeps a swapped factor), or any in ``iin_jax.losses.TERMS``.
      wrong_pairs: Share of the pairs that may be wrong, nobody knows which: the
        likelihood is a mixture, in which a pair may also share nothing.
    """

    steps: CountOrZero = 120_000
    batch_size: int = 25
    rate_per_example: Annotated[float, AtLeast(0)] = PUBLISHED_RATE_PER_EXAMPLE
    warmup: Share = 0.0
    decay_start: Share = 0.83
    accumulate: int = 1
    checkpoint_every: Count = 500
    parallel: Literal["jit", "pmap"] = "jit"
    noise: Annotated[float | None, AtLeast(0)] = None
    decay: Annotated[float | None, AtLeast(0)] = None
    patience: Count = 10
    terms: Annotated[dict[str, float], OneOf(TERMS)] = dataclasses.field(
        default_factory=dict
    )
    wrong_pairs: PartShare = 0.0


@dataclasses.dataclass(frozen=True)
class EvaluateSettings:
    """What the scorecard stands on.

    Attributes:
      split: Held-out images that are looked at: test, or validation to choose settings
        by.
      pairs: Pairs of held-out images for swaps.
      latents: Held-out latents for the certificate.
      colors: Colours per held-out image for the probes.
      judge_epochs: Passes over the images in a convolutional judge's training; 0: as
        many as suit their number.
      distance: Network whose features judge samples (Frechet and kernel distance):
        squeezenet1_1, or inception_v3_fid as published; none: no distances.
      distance_size: Pixels that images are resized to for it; 0: its own.
      distance_images: Images on each side, at most.
      invariances: A finished run on the same images whose autoencoder shows what
        layers of a classifier no longer distinguish.
    """

    split: Literal["test", "validation"] = "test"
    pairs: Count = 2000
    latents: Count = 1000
    colors: Count = 6
    judge_epochs: CountOrZero = 0
    distance: Annotated[str, OneOf(FEATURES, ("none",))] = "none"
    distance_size: CountOrZero = 0
    distance_images: Annotated[int, AtLeast(2)] = 10_000
    invariances: str | None = None


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A whole experiment.

    Attributes:
      data: Images and their split.
      network: What gets interpreted.
      latents: What is encoded.
      concept: Concepts, pairs, sizes.
      flow: The interpretation network.
      train: The flow's training.
      evaluate: The scorecard.
      seed: Of everything random.
    """

    data: DataSettings = dataclasses.field(default_factory=DataSettings)
    network: NetworkSettings = dataclasses.field(default_factory=NetworkSettings)
    latents: LatentSettings = dataclasses.field(default_factory=LatentSettings)
    concept: ConceptSettings = dataclasses.field(default_factory=ConceptSettings)
    flow: FlowSettings = dataclasses.field(default_factory=FlowSettings)
    train: TrainSettings = dataclasses.field(default_factory=TrainSettings)
    evaluate: EvaluateSettings = dataclasses.field(default_factory=EvaluateSettings)
    seed: CountOrZero = 0


def smoke(experiment: Experiment) -> Experiment:
    """The same experiment on schedules of seconds; its figures mean nothing."""
    shrink = dataclasses.replace
    data, network, train = experiment.data, experiment.network, experiment.train
    return shrink(
        experiment,
        data=shrink(data, palette=min(data.palette, 64), limit=data.limit or 1500),
        network=shrink(
            network,
            base=min(network.base, 8),
            perceptual="none",
            discriminator_base=min(network.discriminator_base, 8),
            steps=min(network.steps, 20),
            batch_size=min(network.batch_size, 16),
            checkpoint_every=10,
        ),
        latents=shrink(
            experiment.latents, variants=1, colors=1 + experiment.concept.recolored
        ),
        concept=shrink(
            experiment.concept,
            score_pairs=500,
            sketched_images=min(experiment.concept.sketched_images, 150),
        ),
        flow=shrink(
            experiment.flow,
            num_blocks=1,
            hidden_dim=min(experiment.flow.hidden_dim or 16, 16),
        ),
        train=shrink(
            train, steps=min(train.steps or 20, 20), batch_size=16, checkpoint_every=10
        ),
        evaluate=EvaluateSettings(
            split=experiment.evaluate.split,
            pairs=100,
            latents=50,
            colors=1,
            judge_epochs=1,
        ),
    )
