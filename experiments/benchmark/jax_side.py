"""The JAX side: ``iin_jax`` as its users run it."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np

from experiments.benchmark.arrays import read_arrays
from experiments.benchmark.cases import (
    BACKBONES,
    PROOF_BATCH,
    PROOF_PHOTOS,
    Case,
    Task,
)
from experiments.benchmark.contract import (
    ADAM_GRADIENTS,
    RATE,
    Run,
    Side,
    best_rate,
    peak_rss,
)
from experiments.benchmark.problem import (
    autoencoder_of,
    flow_of,
    layout_of,
    read_variables,
)
from iin_jax.concepts import pair_table
from iin_jax.convert.published_flow import flow_params
from iin_jax.losses import pair_term, unsupervised_term, weighted_sum
from iin_jax.networks import ARCHITECTURES, AutoencoderNetwork, PretrainedNetwork
from iin_jax.training.flow_step import (
    CachedLatents,
    FlowObjective,
    LatentPairs,
    draw_cached,
)
from iin_jax.training.flow_training import SIMILARITY_RATE
from iin_jax.training.optim import Schedule, adam
from iin_jax.training.parallel import Draw, Feed, Runner
from iin_jax.training.state import TrainState
from iin_jax.training.step import gradient_step
from iin_jax.types import Array, Images, Key, Latents, Shared, Tree

ENDLESS = 10**9  # steps of a schedule that does not end


class Posteriors(NamedTuple):
    """Posteriors of both halves of pairs (2B, N), first all a; shared (B, K+1)."""

    mean: Latents
    log_var: Latents
    shared: Shared


class ImagePairs(NamedTuple):
    """Images of both halves (2B, H, W, C), first all a; shared (B, K+1); E's arrays."""

    images: Images
    shared: Shared
    variables: Tree


class JaxSide(Side):
    """Every step goes through ``Runner``, as training does."""

    def __init__(self, task: Task):
        super().__init__(task)
        if task.precision == "highest":  # the encoder's convolutions follow it, too
            jax.config.update("jax_default_matmul_precision", "highest")
        problem = task.problem
        self.flow = flow_of(problem, task.precision)
        self.flow_variables = read_variables(task.folder, "flow")
        self.network = AutoencoderNetwork(
            autoencoder_of(problem), read_variables(task.folder, "autoencoder")
        )
        self.data = read_arrays(task.folder, "data")

    def describe(self) -> dict[str, Any]:
        device = jax.devices()[0]
        return {
            "versions": {"jax": jax.__version__, "jaxlib": jaxlib.__version__},
            "platform": device.platform,
            "device": device.device_kind,
        }

    def results(self) -> dict[str, np.ndarray]:
        with jax.default_matmul_precision("highest"):
            return {name: np.asarray(x) for name, x in self._results().items()}

    def _results(self) -> dict[str, Array]:
        flow = flow_of(self.task.problem)
        both = self._posteriors(self.data["proof_rows"])
        z = both.mean + jnp.exp(0.5 * both.log_var) * self.data["proof_noise"]
        pairs = LatentPairs(z[:PROOF_BATCH], z[PROOF_BATCH:], both.shared)
        constants = self.flow_variables["constants"]
        terms = {
            "pairs": pair_term(layout_of(self.task.problem)),
            "unsupervised": unsupervised_term,
        }

        def mean_loss(flow_params: Tree, name: str = "pairs") -> Array:
            loss = weighted_sum({name: (1.0, terms[name])})
            params = {"flow": flow_params}
            objective = FlowObjective(flow, loss, self.task.problem.sigma)
            return objective.metrics(params, constants, pairs)[0]

        published = read_arrays(self.task.folder, "published")
        trained = {name: x for name, x in published.items() if x.dtype == np.float32}
        gradient = jax.jit(jax.grad(lambda state: mean_loss(flow_params(state))))
        z_tilde, log_det = jax.jit(flow.apply)(self.flow_variables, z)
        inverse = functools.partial(flow.apply, method="inverse")
        codes = self.data["z_tilde"][:PROOF_BATCH]
        params = self.flow_variables["params"]
        unsupervised = functools.partial(mean_loss, name="unsupervised")
        posterior = self.network.posterior_pure(
            self.network.variables, self.data["images"][:PROOF_BATCH]
        )
        return {
            "loss": jax.jit(mean_loss)(params),
            "unsupervised_loss": jax.jit(unsupervised)(params),
            "forward": z_tilde,
            "log_det": log_det,
            "inverse": jax.jit(inverse)(self.flow_variables, codes),
            "encode": jnp.concatenate(posterior, axis=1),
            "adam": self._adam_steps(),
            **{f"gradient/{name}": x for name, x in gradient(trained).items()},
            **{
                f"logits/{name}": self._backbone(name).encode(
                    self._photos(PROOF_PHOTOS)
                )
                for name in self.task.problem.backbones
            },
        }

    def build(self, case: Case, batch: int) -> Run:
        if case == "update":
            return self._update()
        if case == "forward":
            z = self.data["mean"][np.arange(batch) % len(self.data["mean"])]
            return _repeated(jax.jit(self.flow.apply), self.flow_variables, z)
        if case == "inverse":
            inverse = jax.jit(functools.partial(self.flow.apply, method="inverse"))
            codes = self.data["z_tilde"][:batch]
            return _repeated(inverse, self.flow_variables, codes)
        if case == "encode":
            encode = jax.jit(self.network.encode_pure)
            return _repeated(
                encode, self.network.variables, self.data["images"][:batch]
            )
        if case in BACKBONES:
            network = self._backbone(case)
            run = jax.jit(network.encode_pure)
            return _repeated(run, network.variables, self._photos(batch))
        draws: dict[str, tuple[Draw, Callable[[], Any]]] = {
            "pair_step": (_draw_given, lambda: self._posteriors(slice(batch))),
            "pair_step_drawn": (draw_cached, self._cached),
            "pair_step_encoders": (self._draw_encoded, lambda: self._images(batch)),
            "unsupervised_step": (_draw_given, lambda: self._posteriors(slice(batch))),
        }
        draw, data = draws[case]
        return self._steps(draw, data(), batch, case == "unsupervised_step")

    def matmul(self, threads: int) -> float:
        size, precision = self.task.problem.matmul, self.task.precision
        matrix = jax.random.normal(jax.random.key(0), (size, size))
        product = jax.jit(functools.partial(jnp.matmul, precision=precision))
        return best_rate(lambda: jax.block_until_ready(product(matrix, matrix)), size)

    def peak_memory(self) -> int:
        device = jax.devices()[0]
        if device.platform == "cpu":
            return peak_rss()
        return device.memory_stats()["peak_bytes_in_use"]

    def _backbone(self, name: str) -> PretrainedNetwork:
        """A pretrained network cut at its last layer, whose outputs are the logits."""
        architecture = ARCHITECTURES[name]
        network = PretrainedNetwork(
            name,
            architecture.module,
            jax.tree.map(jnp.asarray, read_variables(self.task.folder, name)),
            architecture.layer,
            architecture.releases[0].preprocessing,
            self.task.problem.photo_size,
        )
        return network.cut_at(list(network.layers())[-1])

    def _photos(self, count: int) -> Images:
        return self.data["photos"][:count]

    def _steps(self, draw: Draw, data: Any, batch: int, unsupervised: bool) -> Run:
        problem = self.task.problem
        term = unsupervised_term if unsupervised else pair_term(layout_of(problem))
        loss = weighted_sum({"loss_term": (1.0, term)})
        tx, state = self._initial_state(batch)
        step = gradient_step(FlowObjective(self.flow, loss, problem.sigma), tx)
        first = jax.devices()[:1]
        feed = Feed(draw, data)
        runner = Runner(step, feed, state, batch_size=batch, seed=0, devices=first)
        placed = runner.place(state)

        def run(calls: int) -> None:
            nonlocal placed
            placed, _, bad = runner.run(placed, calls)
            if bad is not None:
                raise FloatingPointError(f"the loss is not finite at step {bad}")

        return run

    def _update(self) -> Run:
        tx, state = self._initial_state(1)
        gradients = jax.tree.map(lambda x: 1e-3 * jnp.ones_like(x), state.params)

        @functools.partial(jax.jit, donate_argnums=0)
        def update(state: TrainState, gradients: Tree) -> TrainState:
            return state.apply_gradients(tx, gradients)

        state = jax.tree.map(jnp.array, state)  # a copy, since update donates it

        def run(calls: int) -> None:
            nonlocal state
            for _ in range(calls):
                state = jax.block_until_ready(update(state, gradients))

        return run

    def _adam_steps(self) -> Array:
        tx, _ = self._initial_state(1)
        state = TrainState.create(tx, {"flow": jnp.zeros(ADAM_GRADIENTS.shape[1])})
        for gradient in ADAM_GRADIENTS:
            state = state.apply_gradients(tx, {"flow": jnp.asarray(gradient)})
        return state.params["flow"] / RATE

    def _initial_state(self, batch: int) -> tuple[Any, TrainState]:
        """The optimiser of ``iin_jax.fit`` and the state before its first step."""
        fast = (("similarity", SIMILARITY_RATE),)
        tx = adam(Schedule(ENDLESS, RATE / batch), batch, fast=fast)
        params = {"flow": self.flow_variables["params"]}
        return tx, TrainState.create(tx, params, self.flow_variables["constants"])

    def _posteriors(self, rows: Any) -> Posteriors:
        data = self.data
        both = np.concatenate([data["index_a"][rows], data["index_b"][rows]])
        return Posteriors(
            data["mean"][both], data["log_var"][both], data["shared"][rows]
        )

    def _cached(self) -> CachedLatents:
        data = self.data
        table = pair_table({"digit": data["digit"], "color": data["color"]})
        return CachedLatents(data["mean"], data["log_var"], table)

    def _images(self, batch: int) -> ImagePairs:
        images = self.data["images"][: 2 * batch]
        return ImagePairs(images, self.data["shared"][:batch], self.network.variables)

    def _draw_encoded(self, data: ImagePairs, key: Key, examples: Array) -> LatentPairs:
        # Each step draws other images, so that no loop can encode them beforehand.
        first = jax.random.randint(key, (), 0, len(data.shared))
        rows = (examples + first) % len(data.shared)
        images = data.images[jnp.concatenate([rows, rows + len(data.shared)])]
        mean, log_var = self.network.posterior_pure(data.variables, images)
        return _sampled(mean, log_var, data.shared[rows], key)


def _draw_given(data: Posteriors, key: Key, examples: Array) -> LatentPairs:
    both = jnp.concatenate([examples, examples + len(data.shared)])
    return _sampled(data.mean[both], data.log_var[both], data.shared[examples], key)


def _sampled(mean: Array, log_var: Array, shared: Shared, key: Key) -> LatentPairs:
    z = mean + jnp.exp(0.5 * log_var) * jax.random.normal(key, mean.shape)
    return LatentPairs(z[: len(shared)], z[len(shared) :], shared)


def _repeated(function: Callable[..., Any], *arguments: Any) -> Run:
    """Calls of a function on arrays that lie on the device, each waited for."""
    placed = jax.device_put(arguments)

    def run(calls: int) -> None:
        for _ in range(calls):
            jax.block_until_ready(function(*placed))

    return run
