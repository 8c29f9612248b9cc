"""The autoencoder's step with LPIPS and a discriminator, against plain gradients."""

import dataclasses
import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from iin_jax import losses
from iin_jax.adversarial import adaptive_weight, discriminator_loss, generator_loss
from iin_jax.networks import Autoencoder, Discriminator, Perceptual
from iin_jax.networks.backbones.base import Backbone
from iin_jax.networks.trained.autoencoder import (
    apply_with_last_inputs,
    last_kernel,
    last_layer,
)
from iin_jax.training.adversarial_step import (
    Adversarial,
    adversarial_state,
    both_gradients,
)
from iin_jax.training.autoencoder_objective import AutoencoderObjective, ImageBatch
from iin_jax.training.autoencoder_step import autoencoder_step
from iin_jax.training.checkpoints import Checkpoints
from iin_jax.training.image_draws import TrainingImages
from iin_jax.training.loop import train
from iin_jax.training.parallel import Feed, Runner
from iin_jax.training.state import TrainState
from tests.conftest import normal, perturbed

LOSS = losses.weighted_sum(
    {
        "reconstruction": (1.0, losses.reconstruction_nll),
        "kl": (0.5, losses.kl_to_standard_normal),
    }
)
TINY, GREY = Autoencoder(4, 8, 3, 1, 4), Autoencoder(4, 32, 1, 1, 2)


class TinyBackbone(Backbone):
    """Five layers under the names of the ones that LPIPS compares in AlexNet."""

    def chain(self):
        for index in (1, 4, 7, 9, 11):
            yield f"features.{index}", nn.Conv(4, (3, 3), 2, name=f"conv{index}")


def filled(module, *inputs):
    """Random variables of a module's shapes; nothing is compiled for them."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda x: jnp.asarray(0.1 + 0.2 * rng.standard_normal(x.shape), x.dtype), shapes
    )


def tiny_perceptual():
    module = TinyBackbone()
    backbone = filled(module, jnp.zeros((1, 32, 32, 3)))
    heads = {f"lin{i}": jnp.abs(normal((4,), i)) for i in range(5)}
    return Perceptual("alex", "0.1", module, {"backbone": backbone, "heads": heads})


def batch_of(module, count=6, seed=0):
    shape = (count, module.image_size, module.image_size, module.channels)
    images = jnp.tanh(normal(shape, seed))
    return ImageBatch(images, normal((count, module.latent_dim), seed + 1))


def start(module):
    return filled(module, *batch_of(module))["params"]


def stacked(batch):
    """One micro-batch."""
    return jax.tree.map(lambda x: x[None], batch)


def with_discriminator(norm="batch", tx=None, **settings):
    tx = tx or optax.sgd(1e-2)
    adversarial = Adversarial(Discriminator(4, 1, norm), tx, **settings)
    key = jax.random.key(1, impl="rbg")
    state = adversarial_state(TINY, tx, start(TINY), adversarial, key)
    noisy = perturbed({"params": state.params["discriminator"]}, 0.2)["params"]
    return adversarial, state.replace(params={**state.params, "discriminator": noisy})


def compiled(step):
    return jax.jit(functools.partial(step, data=None))


def test_the_last_layer_alone_gives_the_reconstructions():
    module = Autoencoder(4, 8, 3, 2, 4)
    batch, params = batch_of(module), start(module)

    @jax.jit
    def three_ways(params):
        made, inputs = apply_with_last_inputs(module, params, *batch)
        alone = last_layer(module, last_kernel(module, params), inputs)
        return made, module.apply({"params": params}, *batch), alone

    made, plain, alone = three_ways(params)
    chex.assert_trees_all_close(made, plain, rtol=1e-6)
    np.testing.assert_allclose(alone, made[0], atol=1e-6)
    assert np.asarray(alone).std() > 0.01


@pytest.mark.thorough
@pytest.mark.parametrize("norm", ["batch", "spectral"])
def test_one_pass_back_equals_plain_gradients_of_the_whole(norm):
    adversarial, state = with_discriminator(norm, weight=0.7)
    params, stats, batch = state.params, state.stats, batch_of(TINY)
    objective = AutoencoderObjective(TINY, LOSS, None)

    def judge(own, stats, images):
        logits, new = adversarial.module.apply(
            {"params": own, "batch_stats": stats}, images, mutable=["batch_stats"]
        )
        return logits, new["batch_stats"]

    def nll(own):
        return objective(own, batch, None, None)[0]

    def logits(own, made):
        real, after = judge(own, stats, batch.images)
        fake, after = judge(own, after, made)
        return real, fake, after

    def reconstruct(own):
        return TINY.apply({"params": own}, *batch)[0]

    def generator(own):
        made = reconstruct(own)
        return generator_loss(logits(params["discriminator"], made)[1]).mean()

    def discriminator(own):
        made = reconstruct(params["autoencoder"])
        return discriminator_loss(*logits(own, made)[:2]).mean()

    @jax.jit
    def brute_force(params):
        own = params["autoencoder"]
        of_nll, of_gan = jax.grad(nll)(own), jax.grad(generator)(own)
        norms = [
            jnp.sqrt(jnp.square(last_kernel(TINY, gradient)).sum())
            for gradient in (of_nll, of_gan)
        ]
        weight = 0.7 * norms[0] / (norms[1] + 1e-4)
        whole = jax.tree.map(lambda a, b: a + weight * b, of_nll, of_gan)
        after = logits(params["discriminator"], reconstruct(own))[2]
        judged = jax.grad(discriminator)(params["discriminator"])
        return weight, {"autoencoder": whole, "discriminator": judged}, after

    weight, expected, expected_stats = brute_force(params)
    found_stats, (found, metrics) = jax.jit(
        functools.partial(both_gradients, objective, adversarial, None)
    )(params=params, stats=stats, batch=batch)
    assert float(metrics["generator_weight"]) == pytest.approx(float(weight), rel=1e-4)
    assert float(weight) > 1.0
    scales = jax.tree.map(lambda x: float(jnp.abs(x).max()), expected)
    assert min(jax.tree.leaves(scales)) > 1e-6
    for tree, other in ((found, expected), (found_stats, expected_stats)):
        chex.assert_trees_all_close(tree, other, rtol=2e-3, atol=2e-5)
    total = metrics["reconstruction"] + 0.5 * metrics["kl"]
    total += weight * metrics["generator"]
    assert float(metrics["loss"]) == pytest.approx(float(total), rel=1e-5)


@pytest.mark.thorough
def test_micro_batches_are_averaged_and_judged_one_after_the_other():
    adversarial, state = with_discriminator("spectral")
    batches = [batch_of(TINY, seed=seed) for seed in (0, 5)]
    gradients_of = jax.jit(
        functools.partial(
            both_gradients,
            AutoencoderObjective(TINY, LOSS, None),
            adversarial,
            None,
            state.params,
        )
    )
    stats, totals = state.stats, []
    for batch in batches:
        stats, (gradients, metrics) = gradients_of(stats, batch)
        totals.append((gradients, metrics))
    mean, metrics = jax.tree.map(lambda a, b: (a + b) / 2, *totals)
    step = compiled(
        autoencoder_step(TINY, LOSS, optax.sgd(1e-4), adversarial=adversarial)
    )
    new, found = step(state, jax.tree.map(lambda *x: jnp.stack(x), *batches))
    for name, rate in (("autoencoder", 1e-4), ("discriminator", 1e-2)):
        expected = jax.tree.map(
            lambda p, g, rate=rate: p - rate * g, state.params[name], mean[name]
        )
        chex.assert_trees_all_close(new.params[name], expected, atol=1e-6)
    chex.assert_trees_all_close(found, metrics, rtol=1e-5)
    chex.assert_trees_all_close(new.stats, stats, rtol=1e-5, atol=1e-6)


def test_adaptive_weight_by_hand():
    nll, gan = np.random.default_rng(0).standard_normal((2, 4, 4, 3, 2))
    expected = np.sqrt((nll**2).sum()) / (np.sqrt((gan**2).sum()) + 1e-4)
    assert float(adaptive_weight(nll, gan)) == pytest.approx(expected, rel=1e-5)
    assert float(adaptive_weight(nll, 0.0 * gan)) == 1e4
    assert float(adaptive_weight(0.0 * nll, gan)) == 0.0


def test_discriminators_loss_is_cross_entropy():
    from scipy.special import log_expit

    real, fake = np.random.default_rng(0).normal(0.0, 5.0, (2, 3, 2, 2, 1))
    expected = -0.5 * (log_expit(real) + log_expit(-fake)).mean((1, 2, 3))
    np.testing.assert_allclose(discriminator_loss(real, fake), expected, rtol=1e-5)
    np.testing.assert_allclose(generator_loss(fake), -fake.mean((1, 2, 3)), rtol=1e-5)


@pytest.mark.thorough
def test_before_it_joins_the_discriminator_is_untouched_and_the_rest_as_without():
    adversarial, state = with_discriminator(active=False)
    tx = optax.adam(1e-3)
    both = state.replace(
        opt_state={
            **state.opt_state,
            "autoencoder": tx.init(state.params["autoencoder"]),
        }
    )
    alone = TrainState.create(tx, state.params["autoencoder"])
    step = compiled(autoencoder_step(TINY, LOSS, tx, adversarial=adversarial))
    plain = compiled(autoencoder_step(TINY, LOSS, tx))
    for seed in range(3):
        batches = stacked(batch_of(TINY, seed=seed))
        both, metrics = step(both, batches)
        alone, plain_metrics = plain(alone, batches)
        chex.assert_trees_all_equal(metrics, plain_metrics)
    for before, after in (
        (state.params, both.params),
        (state.opt_state, both.opt_state),
    ):
        chex.assert_trees_all_equal(before["discriminator"], after["discriminator"])
    chex.assert_trees_all_equal(state.stats, both.stats)
    chex.assert_trees_all_equal(alone.params, both.params["autoencoder"])
    chex.assert_trees_all_equal(alone.opt_state, both.opt_state["autoencoder"])
    assert int(both.step) == int(alone.step) == 3


def moves(before, after, name):
    same = jax.tree.map(np.array_equal, before.params[name], after.params[name])
    return not all(jax.tree.leaves(same))


@pytest.mark.thorough
def test_schedules_follow_the_steps_of_the_run():
    tx = optax.sgd(lambda count: jnp.where(count == 2, 1e-2, 0.0))
    adversarial, state = with_discriminator(tx=tx)
    before = dataclasses.replace(adversarial, active=False)
    steps = [
        compiled(autoencoder_step(TINY, LOSS, tx, adversarial=chosen))
        for chosen in (before, adversarial)
    ]
    moved = []
    for number in range(4):
        new, _ = steps[number >= 2](state, stacked(batch_of(TINY, seed=number)))
        moved.append([name for name in state.params if moves(state, new, name)])
        state = new
    assert moved == [[], [], ["autoencoder", "discriminator"], []]


@pytest.mark.thorough
def test_training_through_both_phases_resumes_bit_for_bit(tmp_path):
    tx = optax.adam(1e-3)
    adversarial, state = with_discriminator("spectral", tx)
    data = batch_of(TINY, 32)

    def draw(data, key, examples):
        chosen = jax.vmap(lambda e: jax.random.bits(jax.random.fold_in(key, e)))
        return jax.tree.map(lambda x: x[chosen(examples) % 32], data)

    def runner(active):
        chosen = dataclasses.replace(adversarial, active=active)
        step = autoencoder_step(TINY, LOSS, tx, adversarial=chosen)
        return Runner(step, Feed(draw, data), state, batch_size=8, seed=0)

    before, after = runner(False), runner(True)
    whole = train(after, train(before, state, 4), 12)
    train(before, state, 4, checkpoints=Checkpoints(tmp_path))
    train(after, state, 7, checkpoints=Checkpoints(tmp_path))
    resumed = train(after, state, 12, checkpoints=Checkpoints(tmp_path))
    assert int(whole.step) == 12
    chex.assert_trees_all_equal(jax.device_get(whole), jax.device_get(resumed))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(whole))
    assert moves(state, whole, "discriminator")


def test_lpips_counts_at_every_pixel_and_has_the_gradient_of_its_formula():
    perceptual, batch, params = tiny_perceptual(), batch_of(GREY, 2), start(GREY)
    data = TrainingImages(None, perceptual=perceptual.variables)
    objective = AutoencoderObjective(GREY, LOSS, perceptual)
    found, metrics = jax.jit(
        lambda own: jax.grad(objective, has_aux=True)(own, batch, None, data)
    )(params)

    def expected(own):
        made, mean, log_var, gamma = GREY.apply({"params": own}, *batch)
        rgb = [jnp.concatenate([x] * 3, -1) for x in (batch.images, made)]
        distance = perceptual.distance(perceptual.variables, *rgb)
        error = jnp.abs(batch.images - made).sum((1, 2, 3)) + 32 * 32 * distance
        kl = 0.5 * (mean**2 + jnp.exp(log_var) - 1 - log_var).sum(-1)
        total = error / jnp.exp(gamma) + 32 * 32 * gamma + 0.5 * kl
        return total.mean(), distance.mean()

    whole = jax.jit(jax.value_and_grad(expected, has_aux=True))
    (total, distance), gradient = whole(params)
    assert float(distance) > 1e-3
    assert float(metrics["perceptual"]) == pytest.approx(float(distance), rel=1e-5)
    assert float(metrics["loss"]) == pytest.approx(float(total), rel=1e-5)
    chex.assert_trees_all_close(found, gradient, rtol=2e-3, atol=1e-2)


def constants_in(jaxpr) -> int:
    """Numbers that a program carries within itself."""
    return sum(np.size(constant) for constant in jaxpr.consts)


def test_frozen_weights_are_arguments_of_the_program():
    perceptual, batch = tiny_perceptual(), batch_of(GREY, 2)
    tx = optax.sgd(1e-3)
    state = TrainState.create(tx, start(GREY))
    step = autoencoder_step(GREY, LOSS, tx, perceptual=perceptual)
    data = TrainingImages(None, perceptual=perceptual.variables)
    weights = sum(map(np.size, jax.tree.leaves(data)))
    assert weights > 600
    program = jax.make_jaxpr(step)(state, stacked(batch), data)
    assert constants_in(program) < 50
    closed = functools.partial(step, data=data)
    closed_over = jax.make_jaxpr(closed)(state, stacked(batch))
    assert constants_in(closed_over) >= weights


def test_lpips_without_weights_or_of_small_images_is_refused():
    perceptual, batch = tiny_perceptual(), batch_of(GREY, 2)
    tx = optax.sgd(1e-3)
    state = TrainState.create(tx, start(GREY))
    step = autoencoder_step(GREY, LOSS, tx, perceptual=perceptual)
    with pytest.raises(ValueError, match=r"TrainingImages\(perceptual=perceptual.va"):
        step(state, stacked(batch), TrainingImages(None))
    with pytest.raises(ValueError, match="at least 32 pixels; got 8: "):
        autoencoder_step(TINY, LOSS, tx, perceptual=perceptual)
