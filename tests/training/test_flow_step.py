"""What a flow is trained on: pairs, graded pairs, single latents; E in the step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

import iin_jax
from iin_jax import losses
from iin_jax.concepts import pair_sigma, pair_table
from iin_jax.latents import encode_all
from iin_jax.networks import from_functions
from iin_jax.training.encoded_draws import (
    EncodedImages,
    PairImages,
    draw_encoded,
    draw_streamed,
    pair_indices,
    sample_indices,
)
from iin_jax.training.flow_start import INIT_LATENTS, first_batch
from iin_jax.training.flow_step import (
    CachedLatents,
    FlowObjective,
    LatentPairs,
    LatentSamples,
    draw_cached,
)
from iin_jax.training.flow_training import FlowPlan, train_flow
from iin_jax.training.optim import Schedule
from iin_jax.training.parallel import Feed, Runner, Streamed
from iin_jax.training.state import TrainState
from iin_jax.training.step import gradient_step
from tests.conftest import normal, perturbed

COUNT, BATCH, SEED = 40, 12, 5
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (COUNT, 8, 8, 3)).astype(np.uint8)
LABELS = {"digit": RNG.integers(0, 3, COUNT), "color": RNG.integers(0, 4, COUNT)}
AGE = RNG.standard_normal(COUNT)
LAYOUT = iin_jax.FactorLayout({"digit": 3, "color": 2, "residual": 3})
FLOW = iin_jax.InterpretationFlow(8, 1, 16, 1)


def images_of(images, index, keys):
    assert keys.shape == index.shape
    return images[index].astype(jnp.float32) / 127.5 - 1.0


def noisy_images_of(images, index, keys):
    noise = jax.vmap(lambda key: jax.random.uniform(key, images.shape[1:]))(keys)
    return (images[index] + noise) / 128.0 - 1.0


def cached(network, table):
    cache = encode_all(
        network, lambda part: PIXELS[part] / np.float32(127.5) - 1, COUNT
    )
    log_var = None if cache.log_var is None else jnp.asarray(cache.log_var)
    return CachedLatents(jnp.asarray(cache.mean), log_var, table)


@functools.cache
def flow_variables():
    return perturbed(FLOW.init(jax.random.key(0), normal((64, 8))), 0.1)


def loss_of(batch, layout, sigma=0.9):
    variables = flow_variables()
    params = {
        "flow": variables["params"],
        "similarity": jnp.full((1, len(layout)), 1.0),
    }
    paired = isinstance(batch, LatentPairs)
    loss = (losses.pair_loss if paired else losses.sample_loss)(layout)
    objective = FlowObjective(FLOW, loss, sigma)
    return jax.jit(objective.metrics)(params, variables["constants"], batch)


def step_key(step):
    return jax.random.fold_in(jax.random.key(SEED), step)


def assert_same(one, other, rtol=1e-5):
    assert type(one) is type(other)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol, 1e-5), one, other)


def deterministic():
    """A network whose z is no posterior and is spatial."""
    return from_functions(
        lambda w, x: x[:, ::4, ::4, :2] * w,
        lambda w, z: jnp.tile(z[..., :1], (1, 4, 4, 3)),
        jnp.float32(2.0),
        image_shape=(8, 8, 3),
    )


@pytest.mark.parametrize("with_table", [True, False])
@pytest.mark.parametrize("kind", ["autoencoder", "deterministic"])
def test_encoding_in_the_step_gives_the_same_loss_as_the_cache(
    autoencoder, kind, with_table
):
    network = autoencoder if kind == "autoencoder" else deterministic()
    table = pair_table(LABELS) if with_table else None
    expected = jax.jit(draw_cached)(
        cached(network, table), step_key(3), jnp.arange(BATCH)
    )
    data = EncodedImages(network.variables, jnp.asarray(PIXELS), table)
    encoded = jax.jit(functools.partial(draw_encoded, network, images_of))
    batch = encoded(data, step_key(3), jnp.arange(BATCH))
    assert_same(batch, expected)
    layout = LAYOUT if with_table else iin_jax.FactorLayout({"residual": 8})
    one, other = loss_of(batch, layout)[0], loss_of(expected, layout)[0]
    assert float(one) == pytest.approx(float(other), rel=1e-5)


@pytest.mark.parametrize("make_images", [images_of, noisy_images_of])
@pytest.mark.parametrize("with_table", [True, False])
def test_streamed_images_give_the_batch_that_resident_ones_give(
    with_table, make_images
):
    network = deterministic()
    table = pair_table(LABELS) if with_table else None
    step, key = 7, step_key(7)
    resident = EncodedImages(network.variables, jnp.asarray(PIXELS), table)
    if table is not None:
        index_a, index_b = pair_indices(table, SEED, BATCH)(step)
        batch = PairImages(PIXELS[index_a], PIXELS[index_b])
    else:
        batch = PIXELS[sample_indices(COUNT, SEED, BATCH)(step)]
    data = Streamed(resident._replace(images=None), jax.tree.map(jnp.asarray, batch))
    draws = [
        jax.jit(functools.partial(draw, network, make_images))
        for draw in (draw_encoded, draw_streamed)
    ]
    expected = draws[0](resident, key, jnp.arange(BATCH))
    assert_same(draws[1](data, key, jnp.arange(BATCH)), expected)
    part = draws[1](data, key, jnp.arange(4, 9))  # as another device draws it
    assert_same(part, jax.tree.map(lambda x: x[4:9], expected))


def test_every_image_of_a_batch_has_its_own_noise():
    network = deterministic()
    table = pair_table({"digit": np.zeros(2, int)})
    pixels = jnp.zeros((2, 8, 8, 3), jnp.uint8)
    data = EncodedImages(network.variables, pixels, table)
    seen = []

    def spy(images, index, keys):
        seen.append(noisy_images_of(images, index, keys))
        return seen[-1]

    for step in range(2):
        draw_encoded(network, spy, data, step_key(step), jnp.arange(6))
    whole = np.concatenate(seen).reshape(24, -1)
    assert len(np.unique(whole, axis=0)) == 24


@pytest.mark.thorough
def test_a_streamed_run_takes_the_steps_of_a_resident_one():
    network, table = deterministic(), pair_table(LABELS, graded={"age": AGE})
    layout = iin_jax.FactorLayout({"digit": 3, "color": 2, "age": 1, "residual": 2})
    data = EncodedImages(network.variables, jnp.asarray(PIXELS), table)
    tx = optax.sgd(1e-2)
    step = gradient_step(FlowObjective(FLOW, losses.pair_loss(layout), 0.9), tx)
    variables = flow_variables()
    state = TrainState.create(tx, {"flow": variables["params"]}, variables["constants"])
    settings = {"batch_size": BATCH, "seed": SEED, "accumulate": 2}

    def end_of(draw, data, stream):
        draw = functools.partial(draw, network, noisy_images_of)
        runner = Runner(step, Feed(draw, data, stream), state, **settings)
        return runner.run(runner.place(state), 3)[:2]

    resident, metrics = end_of(draw_encoded, data, None)
    bare = data._replace(images=None)
    streamed, other_metrics = end_of(draw_streamed, bare, pair_stream(table))
    assert metrics == pytest.approx(other_metrics, rel=1e-5)
    assert_same(resident.params, streamed.params)
    moved = jax.tree.map(
        lambda x, y: jnp.abs(x - y).max(), state.params, resident.params
    )
    assert max(jax.tree.leaves(moved)) > 1e-3


def pair_stream(table):
    indices = pair_indices(table, SEED, BATCH)
    return lambda step: PairImages(*(PIXELS[index] for index in indices(step)))


@pytest.mark.thorough
def test_a_streamed_flow_is_whitened_by_its_first_steps_and_validated():
    network, table = deterministic(), pair_table(LABELS)
    data = EncodedImages(network.variables, jnp.asarray(PIXELS), table)
    bare = data._replace(images=None)
    draw = functools.partial(draw_streamed, network, images_of)
    feed = Feed(draw, bare, pair_stream(table))
    z = first_batch(feed, SEED).latents()
    assert len(z) == 2 * BATCH * (INIT_LATENTS // (2 * BATCH) + 1)
    whole = jax.jit(functools.partial(draw_encoded, network, images_of))
    batches = [whole(data, step_key(step), jnp.arange(BATCH)) for step in range(2)]
    np.testing.assert_allclose(z[BATCH : 2 * BATCH], batches[1].z_a, rtol=1e-5)
    log = Log()
    train_flow(
        FLOW,
        LAYOUT,
        feed,
        FlowPlan(Schedule(2, 1e-5), BATCH, seed=SEED),
        validation=Feed(draw_cached, cached(network, table)),
        log=log,
    )
    assert np.isfinite(log.lines[-1]["validation_loss"])


class Log:
    """Keeps what is logged."""

    def __init__(self):
        self.lines = []

    def write(self, step, metrics):
        self.lines.append(metrics)


def test_no_gradient_reaches_the_network(autoencoder):
    def loss(variables):
        data = EncodedImages(variables, jnp.asarray(PIXELS), pair_table(LABELS))
        batch = draw_encoded(autoencoder, images_of, data, step_key(0), jnp.arange(4))
        return jnp.square(batch.z_a).sum()

    gradients = jax.jit(jax.grad(loss))(autoencoder.variables)
    assert all((np.asarray(leaf) == 0).all() for leaf in jax.tree.leaves(gradients))


def test_samples_are_uniform_over_entries_and_of_their_posterior():
    mean = jnp.asarray(np.arange(5.0)[:, None] * 10 + np.zeros((5, 2)), jnp.float32)
    data = CachedLatents(mean, jnp.full((5, 2), np.log(0.25)))
    z = np.asarray(draw_cached(data, jax.random.key(0), jnp.arange(8000)).z)
    entry = np.round(z[:, 0] / 10).astype(int)
    assert stats.chisquare(np.bincount(entry, minlength=5)).pvalue > 1e-3
    assert stats.kstest((z - mean[entry]).ravel() / 0.5, "norm").pvalue > 1e-3


def test_the_loss_of_samples_is_the_density_of_z():
    batch = LatentSamples(normal((16, 8), 4))
    total, metrics = loss_of(batch, iin_jax.FactorLayout({"residual": 8}))
    variables = flow_variables()
    z_tilde, _ = FLOW.apply(variables, batch.z)
    one = jax.jacfwd(lambda z: FLOW.apply(variables, z[None])[0][0])
    jacobian = jax.jit(jax.vmap(one))(batch.z)
    log_det = np.linalg.slogdet(np.asarray(jacobian, np.float64))[1]
    expected = -stats.norm.logpdf(z_tilde).sum(-1) - log_det
    assert float(total) == pytest.approx(expected.mean(), rel=1e-5)
    bits = expected.mean() / (8 * np.log(2))
    assert float(metrics["bits_per_dim"]) == pytest.approx(bits, rel=1e-5)


def graded_batch():
    table = pair_table({"digit": LABELS["digit"]}, graded={"age": AGE})
    data = CachedLatents(normal((COUNT, 8)), jnp.full((COUNT, 8), -2.0), table)
    return table, draw_cached(data, step_key(0), jnp.arange(BATCH))


@pytest.mark.thorough
@pytest.mark.parametrize("sigma", [0.9, None])
def test_graded_pairs_are_as_similar_as_their_values(sigma):
    """The likelihood of a graded pair is that with its own sigma given by hand."""
    table, batch = graded_batch()
    layout = iin_jax.FactorLayout({"digit": 3, "age": 3, "residual": 2})
    bound = 0.9 if sigma else 0.9995 / (1 + np.exp(-1.0))
    a, b = pair_indices(table, SEED, BATCH)(0)
    per_pair = pair_sigma(table, a, b, bound)
    assert 1e-3 < float(np.asarray(per_pair)[:, 1].mean()) < 0.8
    variables = flow_variables()
    halves = [FLOW.apply(variables, z) for z in (batch.z_a, batch.z_b)]
    expected = losses.pair_nll(
        halves[0][0],
        halves[1][0],
        halves[0][1],
        halves[1][1],
        batch.shared,
        layout,
        per_pair,
    ).mean()
    total = loss_of(batch, layout, sigma)[0]
    assert float(total) == pytest.approx(float(expected), rel=1e-5)


def test_ungraded_pairs_carry_no_similarity():
    table = pair_table(LABELS)
    data = CachedLatents(normal((COUNT, 8)), jnp.full((COUNT, 8), -2.0), table)
    assert draw_cached(data, step_key(0), jnp.arange(4)).sigma is None


@pytest.mark.thorough
def test_a_flow_without_concepts_learns_the_density():
    """A curved density: T comes closer to it than any Gaussian, held-out too."""

    def crescents(count, seed):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((count, 2))
        y = 0.5 * x**2 + 0.2 * rng.standard_normal((count, 2))
        z = jnp.asarray(np.hstack([x, y]), jnp.float32)
        return Feed(draw_cached, CachedLatents(z, jnp.full((count, 4), -80.0)))

    log = Log()
    train_flow(
        iin_jax.InterpretationFlow(4, 3, 32, 1),
        iin_jax.FactorLayout({"residual": 4}),
        crescents(4000, 0),
        FlowPlan(Schedule(300, 4e-6, warmup=0.03), 256, seed=1),
        validation=crescents(2000, 1),
        log=log,
    )
    last = log.lines[-1]
    truth = 2 * (stats.norm.entropy() + stats.norm.entropy(scale=0.2))
    assert last["loss"] == pytest.approx(last["samples"], rel=1e-6)
    gap = last["gaussian_bits_per_dim"] - last["validation_bits_per_dim"]
    assert gap > 0.3
    assert last["validation_bits_per_dim"] > truth / (4 * np.log(2)) - 0.05


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.sample_loss(LAYOUT), r"\{'residual': 8\}; got .*digit"),
        (
            lambda: train_flow(
                FLOW,
                iin_jax.FactorLayout({"residual": 8}),
                Feed(draw_cached, CachedLatents(normal((4, 8)), normal((4, 8)))),
                FlowPlan(Schedule(2, 1e-4), 2, None),
            ),
            "no similarity can be learned",
        ),
    ],
)
def test_mistakes_are_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
