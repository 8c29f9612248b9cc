"""What the flow is trained on, and what a step of it minimises; pure.

A batch is ``LatentPairs`` or, without concepts, ``LatentSamples``: each knows which
latents the flow reads, and what a term of the loss sees of them.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from iin_jax.concepts.base import PairDraw, uniform_indices
from iin_jax.concepts.similarity import MAX_SIMILARITY
from iin_jax.flows import Bijector
from iin_jax.flows.map_start import start_of
from iin_jax.linen import apply
from iin_jax.losses import WeightedSum, bits_per_dim, gaussian_nll
from iin_jax.networks import Network
from iin_jax.outputs import PairOutputs, SampleOutputs, StepMaps
from iin_jax.training.parallel import Draw, Feed, Metrics, Streamed
from iin_jax.types import Array, Images, Key, Latents, LogDet, Shared, Tree

NOISE_STREAM = 2**31 + 1  # folded into a batch key; larger than any example index
QUIET = 0.9  # share of the steps over which the noise on latents fades to none

# indices (b,) of entries -> mean and log-variance of their latents, (b, N) each; no
# log-variance where latents are deterministic
Posterior = Callable[[Array], tuple[Latents, Latents | None]]


class LatentPairs(NamedTuple):
    """A batch of pairs.

    Attributes:
      z_a, z_b: (B, N) each.
      shared: (B, K+1).
      sigma: (B, K+1), how similar each pair is at most in each factor, where concepts
        are graded; None: all pairs as similar as the step says.
      noise: (B, 2, N), standard normal, for both halves; None: none is ever added.
      labels_a, labels_b: int (B, K), codes of the values; None: there are none.
    """

    z_a: Latents
    z_b: Latents
    shared: Shared
    sigma: Array | None = None
    noise: Array | None = None
    labels_a: Array | None = None
    labels_b: Array | None = None

    def latents(self, noise_scale: float | Array = 0.0) -> Latents:
        """Both halves, (2B, N), with noise of this scale."""
        z = jnp.concatenate([self.z_a, self.z_b])
        if self.noise is None:
            return z
        noise = jnp.concatenate([self.noise[:, 0], self.noise[:, 1]])
        return z + noise_scale * noise

    def outputs(
        self,
        z: Latents,
        z_tilde: Latents,
        log_det: LogDet,
        sigma: Array,
        maps: StepMaps,
    ) -> PairOutputs:
        """What a term sees.

        Args:
          z: (2B, N), what T was given.
          z_tilde, log_det: (2B, N) and (2B,), T's outputs.
          sigma: the step's similarity.
          maps: of the step.
        """
        count = len(self.shared)
        chex.assert_shape([self.z_a, self.z_b], (count, z_tilde.shape[1]))
        if self.sigma is not None:
            sigma = jnp.minimum(sigma, self.sigma)
        halves = (z_tilde[:count], z_tilde[count:], log_det[:count], log_det[count:])
        return PairOutputs(
            *halves,
            self.shared,
            sigma,
            z[:count],
            z[count:],
            self.labels_a,
            self.labels_b,
            **vars(maps),
        )


class LatentSamples(NamedTuple):
    """A batch of single latents z, (B, N), for a flow without concepts.

    Attributes:
      z: (B, N).
      noise: (B, N), standard normal; None: none is ever added.
    """

    z: Latents
    noise: Array | None = None

    def latents(self, noise_scale: float | Array = 0.0) -> Latents:
        """All latents, (B, N), with noise of this scale."""
        return self.z if self.noise is None else self.z + noise_scale * self.noise

    def outputs(
        self,
        z: Latents,
        z_tilde: Latents,
        log_det: LogDet,
        sigma: Array,
        maps: StepMaps,
    ) -> SampleOutputs:
        """What a term sees; nothing here is similar to anything."""
        del sigma
        return SampleOutputs(z_tilde, log_det, z, **vars(maps))


class CachedLatents(NamedTuple):
    """Latents of a set's entries, from which batches are drawn.

    Attributes:
      mean, log_var: (n, N), the posterior; no log-variance where there is none.
      table: draws the pairs; None where there are no concepts.
      variables: of the network, for a loss that looks through it.
    """

    mean: Array
    log_var: Array | None
    table: PairDraw | None = None
    variables: Tree | None = None


def draw_cached(
    data: CachedLatents, key: Key, examples: Array
) -> LatentPairs | LatentSamples:
    """Draws pairs, or without a table entries, and samples of their posteriors."""
    look_up = functools.partial(_look_up, data)
    if data.table is None:
        return samples_of(data.mean.shape[0], key, examples, look_up)
    return pairs_of(data.table, key, examples, look_up)


class Started(NamedTuple):
    """What a draw reads, and the linear start T_0 that its latents go through.

    Attributes:
      data: of the draw.
      constants: of the start, see ``flows.map_start``; empty: there is no start.
      objective: what a step minimises; here, so that its numbers are no part of the
        compiled program.
    """

    data: Any
    constants: Tree
    objective: "FlowObjective | None" = None


@dataclasses.dataclass(frozen=True)
class StartedDraw:
    """A draw whose latents have gone through T_0; its data are ``Started``.

    Equal ones share a compiled program.

    Attributes:
      draw: gives ``LatentPairs`` or ``LatentSamples`` of z.
      noisy: the batches bring noise for the step to add.
    """

    draw: Draw
    noisy: bool = False

    def __call__(
        self, data: Any, key: Key, examples: Array
    ) -> LatentPairs | LatentSamples:
        """As ``Draw``."""
        if isinstance(data, Streamed):
            constants = data.resident.constants
            inner: Any = Streamed(data.resident.data, data.batch)
        else:
            constants, inner = data.constants, data.data
        batch = self.draw(inner, key, examples)
        if isinstance(batch, LatentSamples):
            shape: tuple[int, ...] = batch.z.shape[1:]
            batch = batch._replace(z=_started(constants, batch.z))
        else:
            shape = (2, *batch.z_a.shape[1:])
            halves = (_started(constants, z) for z in (batch.z_a, batch.z_b))
            batch = batch._replace(**dict(zip(("z_a", "z_b"), halves, strict=True)))
        if not self.noisy:
            return batch
        noise_key = jax.random.fold_in(key, NOISE_STREAM)
        return batch._replace(noise=_noise(noise_key, examples, shape))


def started_feed(feed: Feed, constants: Tree, *, noisy: bool) -> Feed:
    """A feed whose latents have gone through T_0, if its constants are not empty."""
    draw = StartedDraw(feed.draw, noisy)
    return Feed(draw, Started(feed.data, constants), feed.stream)


def objective_of_data(
    params: Tree, batch: "LatentPairs | LatentSamples", state: Any, data: Started
) -> tuple[Array, Metrics]:
    """What ``data.objective`` says of a batch; a ``training.step.Objective``."""
    if data.objective is None:
        raise ValueError("these data have no objective")
    return data.objective(params, batch, state, data)


def pairs_of(
    table: PairDraw, key: Key, examples: Array, posterior: Posterior
) -> LatentPairs:
    """Draws pairs and samples of their posteriors, wherever these come from.

    Args:
      table: draws the pairs.
      key: of the batch.
      examples: (B,), indices in the global batch.
      posterior: called once, with the pairs' a and b in turn, (2B,).
    """
    pair_key, noise_key = jax.random.split(key)
    count = len(examples)
    drawn = table.draw(pair_key, examples)
    # a beside its b, so that a batch divided among devices stays where it is
    index = jnp.stack([drawn.index_a, drawn.index_b], axis=1)
    mean, log_var = posterior(index.reshape(-1))
    z = _sampled(mean, log_var, noise_key, examples).reshape(count, 2, -1)
    labels = (drawn.labels_a, drawn.labels_b)
    return LatentPairs(z[:, 0], z[:, 1], drawn.shared, drawn.sigma, None, *labels)


def samples_of(
    entries: int, key: Key, examples: Array, posterior: Posterior
) -> LatentSamples:
    """Draws from 0 .. entries - 1 and samples the posteriors; see ``pairs_of``."""
    index_key, noise_key = jax.random.split(key)
    mean, log_var = posterior(uniform_indices(entries, index_key, examples))
    return LatentSamples(_sampled(mean, log_var, noise_key, examples))


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("sigma", "floor", "log_det"),
    meta_fields=("flow", "loss", "noise", "steps", "network"),
)
@dataclasses.dataclass(frozen=True)
class FlowObjective:
    """What a step of the flow minimises; a ``training.step.Objective``.

    A tree of arrays, whose leaves are the numbers that follow from data.

    Attributes:
      flow: T, or the part of it that is trained.
      loss: a sum of terms of ``PairOutputs`` for pairs, of ``SampleOutputs`` for single
        latents.
      sigma: similarity of pairs, a number or one per factor; None: learned per factor,
        from ``params["similarity"]`` (1, K+1), through a logistic function.
      noise: standard deviation of what is added to latents at the first step; it falls
        linearly, to none in the last tenth.
      steps: number of steps of the training.
      floor: least value of a learned similarity, per factor.
      log_det: of the linear start that latents have gone through, if any.
      network: for terms that look through E and G; its variables are those of the
        draws' data.
    """

    flow: Bijector
    loss: WeightedSum
    sigma: Any  # a number, a tuple, None, or what a transformation makes of them
    noise: float = 0.0
    steps: int = 0
    floor: tuple[float, ...] | None = None
    log_det: float = 0.0
    network: Network | None = None

    def __call__(
        self, params: Tree, batch: LatentPairs | LatentSamples, state: Any, data: Any
    ) -> tuple[Array, Metrics]:
        """Mean loss over a batch, each term, and z's own bits per dimension."""
        noise = self.noise_at(state.step) if self.noise else 0.0
        return self.metrics(params, state.constants, batch, noise, data)

    def metrics(
        self,
        params: Tree,
        constants: Tree,
        batch: LatentPairs | LatentSamples,
        noise_scale: float | Array = 0.0,
        data: Any = None,
    ) -> tuple[Array, Metrics]:
        """``__call__`` with noise of this scale; ``data`` is what the draws read."""
        results = self.outputs(params, constants, batch, noise_scale, data)
        return self.metrics_of(*results)

    def metrics_of(
        self, z_tilde: Latents, log_det: LogDet, outputs: PairOutputs | SampleOutputs
    ) -> tuple[Array, Metrics]:
        """``metrics`` from the results of ``outputs``."""
        total = self.loss(outputs).mean()
        terms = {name: value.mean() for name, value in self.loss.terms(outputs).items()}
        marginal = bits_per_dim(gaussian_nll(z_tilde, log_det).mean(), z_tilde.shape[1])
        return total, {**terms, "loss": total, "bits_per_dim": marginal}

    def outputs(
        self,
        params: Tree,
        constants: Tree,
        batch: LatentPairs | LatentSamples,
        noise_scale: float | Array = 0.0,
        data: Any = None,
    ) -> tuple[Latents, LogDet, PairOutputs | SampleOutputs]:
        """z_tilde and log-determinants of all latents, and the batch's outputs."""
        variables = {"params": params["flow"], "constants": constants}
        latents = batch.latents(noise_scale)
        z_tilde, log_det = apply(self.flow, variables, latents)
        log_det = log_det + self.log_det
        sigma = similarity(params, self.sigma, self.floor)
        start = data.constants if isinstance(data, Started) else {}
        maps = self._maps(variables, start, data)
        z = _through(start, latents, "inverse") if start else latents
        return z_tilde, log_det, batch.outputs(z, z_tilde, log_det, sigma, maps)

    def noise_at(self, step: Array) -> Array:
        """Standard deviation of the noise in a step."""
        return self.noise * jnp.maximum(0.0, 1.0 - step / (QUIET * self.steps))

    def _maps(self, variables: Tree, start: Tree, data: Any) -> StepMaps:
        def translate(z: Latents) -> Latents:
            z_start = _through(start, z, "forward") if start else z
            return apply(self.flow, variables, z_start)[0]

        def invert(z_tilde: Latents) -> Latents:
            z_start = apply(self.flow, variables, z_tilde, method="inverse")
            return _through(start, z_start, "inverse") if start else z_start

        network = self.network
        if network is None:
            return StepMaps(translate=translate, invert=invert)
        source = data.data if isinstance(data, Started) else data
        frozen = source.variables

        def encode(images: Images) -> Latents:
            return network.encode_pure(frozen, images).reshape(len(images), -1)

        def decode(z: Latents) -> Array:
            return network.decode_pure(frozen, z.reshape(-1, *network.latent_shape))

        has_images = network.output == "images"
        return StepMaps(
            translate=translate,
            invert=invert,
            encode=encode if has_images else None,
            decode=decode,
        )


def similarity(
    params: Tree,
    sigma: float | tuple[float, ...] | None,
    floor: tuple[float, ...] | None = None,
) -> Array:
    """The similarity that a step uses: scalar if given as one, else (1, K+1)."""
    if sigma is not None:
        fixed = jnp.asarray(sigma, jnp.float32)
        return fixed if fixed.ndim == 0 else fixed[None]
    share = jax.nn.sigmoid(params["similarity"])
    if floor is None:
        return MAX_SIMILARITY * share
    least = jnp.asarray(floor, jnp.float32)[None]
    return least + (MAX_SIMILARITY - least) * share


def _started(constants: Tree, z: Latents) -> Latents:
    return _through(constants, z, "forward_and_log_det")[0] if constants else z


def _through(start: Tree, z: Latents, method: str) -> Latents:
    """What T_0 makes of latents, or its inverse."""
    return apply(start_of(start), {"constants": start}, z, method=method)


def _look_up(data: CachedLatents, index: Array) -> tuple[Latents, Latents | None]:
    return data.mean[index], None if data.log_var is None else data.log_var[index]


def _sampled(
    mean: Latents, log_var: Latents | None, key: Key, examples: Array
) -> Latents:
    """Draws from posteriors (b, N), as many for each example; means without spread."""
    if log_var is None:
        return mean
    shape = (len(mean) // len(examples), mean.shape[1])
    eps = _noise(key, examples, shape).reshape(mean.shape)
    return mean + jnp.exp(0.5 * log_var) * eps


def _noise(key: Key, examples: Array, shape: tuple[int, ...]) -> Array:
    def draw(example):
        return jax.random.normal(jax.random.fold_in(key, example), shape)

    return jax.vmap(draw)(examples)
