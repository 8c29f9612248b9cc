"""Run on four fake devices by test_parallel.py; prints differences as JSON.

With the argument ``all``: every variant of every step, in two minutes.

Every case trains three steps of plain SGD, whose updates, unlike Adam's, scale with the
gradient, so that a gradient summed instead of averaged shows.
"""

import functools
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

jax.config.update("jax_num_cpu_devices", 4)

from iin_jax import FactorLayout, InterpretationFlow, losses
from iin_jax.concepts import pair_table
from iin_jax.data import Affine, palette
from iin_jax.networks import Autoencoder, Classifier, Discriminator
from iin_jax.training.adversarial_step import Adversarial, adversarial_state
from iin_jax.training.autoencoder_step import autoencoder_step
from iin_jax.training.classifier_step import classifier_step
from iin_jax.training.flow_step import (
    CachedLatents,
    FlowObjective,
    draw_cached,
)
from iin_jax.training.image_draws import (
    Preparation,
    TrainingImages,
    draw_labelled,
    draw_with_noise,
)
from iin_jax.training.parallel import Feed, Runner
from iin_jax.training.state import TrainState
from iin_jax.training.step import gradient_step

BATCH, STEPS = 16, 3
AUTOENCODER_LOSS = losses.weighted_sum(
    {
        "reconstruction": (1.0, losses.reconstruction_nll),
        "kl": (1.0, losses.kl_to_standard_normal),
    }
)


def flow_case():
    rng = np.random.default_rng(0)
    z = rng.standard_normal((60, 8)).astype(np.float32)
    labels = {"digit": rng.integers(0, 4, 60), "color": rng.integers(0, 5, 60)}
    table = pair_table(labels)
    data = CachedLatents(jnp.asarray(z), jnp.full(z.shape, -2.0), table)
    flow = InterpretationFlow(8, 2, 16, 1)
    layout = FactorLayout({"digit": 3, "color": 2, "residual": 3})
    loss = losses.weighted_sum({"pairs": (1.0, losses.pair_term(layout))})
    variables = flow.init(jax.random.key(0), jnp.asarray(z))
    params = {"flow": variables["params"], "similarity": jnp.ones((1, 3))}
    tx = optax.sgd(1e-2)
    state = TrainState.create(tx, params, variables["constants"])
    return gradient_step(FlowObjective(flow, loss, None), tx), draw_cached, data, state


def image_data():
    rng = np.random.default_rng(1)
    grey = rng.integers(0, 255, (30, 8, 8, 1)).astype(np.uint8)
    return TrainingImages(jnp.asarray(grey), jnp.asarray(palette(16)))


def autoencoder_case():
    module, data = Autoencoder(8, 8, 3, 2, 4), image_data()
    draw = functools.partial(
        draw_with_noise, Preparation(Affine(degrees=10.0, shift=0.1)), latent_dim=8
    )
    batch = draw(data, jax.random.key(3), jnp.arange(32))
    params = module.init(jax.random.key(0), *batch)["params"]
    tx = optax.sgd(1e-4)
    state = TrainState.create(tx, params)
    return autoencoder_step(module, AUTOENCODER_LOSS, tx), draw, data, state


def adversarial_case(norm):
    module, data = Autoencoder(8, 8, 3, 1, 4), image_data()
    draw = functools.partial(draw_with_noise, Preparation(), latent_dim=8)
    key, rng = jax.random.key(0, impl="rbg"), np.random.default_rng(0)
    batch = jax.eval_shape(draw, data, key, jnp.arange(32))
    params = jax.tree.map(
        lambda x: (0.1 + 0.2 * rng.standard_normal(x.shape)).astype(x.dtype),
        jax.eval_shape(module.init, key, *batch)["params"],
    )
    tx = optax.sgd(1e-4)
    adversarial = Adversarial(Discriminator(4, 1, norm), optax.sgd(1e-2))
    state = adversarial_state(module, tx, params, adversarial, key)
    step = autoencoder_step(module, AUTOENCODER_LOSS, tx, adversarial=adversarial)
    return step, draw, data, state


def classifier_case():
    module = Classifier(10, 8, 8, 3, 2, 4)
    data = image_data()._replace(classes=jnp.arange(30) % 10)
    draw = functools.partial(draw_labelled, Preparation())
    batch = draw(data, jax.random.key(3), jnp.arange(32))
    params = module.init(jax.random.key(0), batch.images)["params"]
    tx = optax.sgd(1e-1)
    state = TrainState.create(tx, params)
    return classifier_step(module, tx), draw, data, state


def final_params(case, devices: int, **settings):
    step, draw, data, state = case
    chosen = jax.devices()[:devices]
    runner = Runner(
        step,
        Feed(draw, data),
        state,
        batch_size=BATCH,
        seed=7,
        devices=chosen,
        **settings,
    )
    placed, metrics, bad = runner.run(runner.place(state), STEPS)
    assert bad is None
    return jax.device_get(runner.fetch(placed).params), metrics["loss"]


def largest_difference(first, second) -> float:
    leaves = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in leaves)


ALL = {
    "jit": {"devices": 4},
    "pmap": {"devices": 4, "mode": "pmap"},
    "accumulated": {"devices": 1, "accumulate": 4},
    "fused jit": {"devices": 4, "fused": True},
    "fused pmap": {"devices": 4, "mode": "pmap", "fused": True},
    "accumulated jit": {"devices": 2, "accumulate": 2},
    "accumulated pmap": {"devices": 2, "accumulate": 2, "mode": "pmap"},
}
# batch-norm and the adaptive weight are those of a micro-batch, so no "accumulated"
WHOLE = ("jit", "pmap", "fused jit", "fused pmap")
FEW = {
    "flow": ("jit", "pmap", "fused jit", "accumulated"),
    "batch-norm": ("jit", "pmap"),
    "spectral norm": ("jit", "pmap"),
}
EVERY = {
    **dict.fromkeys(("flow", "autoencoder", "classifier"), tuple(ALL)),
    **dict.fromkeys(("batch-norm", "spectral norm"), WHOLE),
}
CASES = {
    "flow": flow_case,
    "autoencoder": autoencoder_case,
    "classifier": classifier_case,
    "batch-norm": functools.partial(adversarial_case, "batch"),
    "spectral norm": functools.partial(adversarial_case, "spectral"),
}


def main():
    results = {}
    for name, variants in (EVERY if "all" in sys.argv else FEW).items():
        case = CASES[name]()
        start = jax.device_get(case[3].params)
        params, loss = final_params(case, 1)
        parts = [(start, params)]
        if "discriminator" in start:
            parts = [(start[part], params[part]) for part in start]
        results[name] = {"moved": min(largest_difference(*part) for part in parts)}
        for variant in variants:
            other, other_loss = final_params(case, **ALL[variant])
            results[name][variant] = {
                "params": largest_difference(params, other),
                "loss": abs(loss - other_loss) / abs(loss),
            }
    print(json.dumps(results))


if __name__ == "__main__":
    main()
