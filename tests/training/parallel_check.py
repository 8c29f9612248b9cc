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
from iin_jax.networks import Autoencoder, Classifier
from iin_jax.training.autoencoder_step import (
    ColoredGrey,
    autoencoder_step,
    draw_colored,
)
from iin_jax.training.classifier_step import (
    LabelledGrey,
    classifier_step,
    draw_labelled,
)
from iin_jax.training.flow_step import CachedLatents, draw_cached, flow_step
from iin_jax.training.parallel import Runner
from iin_jax.training.state import TrainState

BATCH, STEPS = 16, 3


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
    return flow_step(flow, loss, tx, None), draw_cached, data, state


def image_data():
    rng = np.random.default_rng(1)
    grey = rng.integers(0, 255, (30, 8, 8, 1)).astype(np.uint8)
    return ColoredGrey(jnp.asarray(grey), jnp.asarray(palette(16)))


def autoencoder_case():
    module, data = Autoencoder(8, 8, 3, 2, 4), image_data()
    loss = losses.weighted_sum(
        {
            "reconstruction": (1.0, losses.reconstruction_nll),
            "kl": (1.0, losses.kl_to_standard_normal),
        }
    )
    draw = functools.partial(draw_colored, 8, Affine(degrees=10.0, shift=0.1))
    batch = draw(data, jax.random.key(3), jnp.arange(32))
    params = module.init(jax.random.key(0), *batch)["params"]
    tx = optax.sgd(1e-4)
    state = TrainState.create(tx, params)
    return autoencoder_step(module, loss, tx), draw, data, state


def classifier_case():
    module = Classifier(10, 8, 8, 3, 2, 4)
    data = LabelledGrey(image_data(), jnp.arange(30) % 10)
    draw = functools.partial(draw_labelled, Affine())
    batch = draw(data, jax.random.key(3), jnp.arange(32))
    params = module.init(jax.random.key(0), batch.images)["params"]
    tx = optax.sgd(1e-1)
    state = TrainState.create(tx, params)
    return classifier_step(module, tx), draw, data, state


def final_params(case, devices: int, **settings):
    step, draw, data, state = case
    chosen = jax.devices()[:devices]
    runner = Runner(
        step, draw, data, state, batch_size=BATCH, seed=7, devices=chosen, **settings
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
FEW = {
    "flow": ("jit", "pmap", "fused jit", "accumulated"),
    "autoencoder": ("jit", "pmap"),
}


def main():
    everything = "all" in sys.argv
    cases = {"flow": flow_case, "autoencoder": autoencoder_case}
    if everything:
        cases["classifier"] = classifier_case
    results = {}
    for name, build in cases.items():
        case = build()
        start = jax.device_get(case[3].params)
        params, loss = final_params(case, 1)
        results[name] = {"moved": largest_difference(start, params)}
        for variant in ALL if everything else FEW[name]:
            other, other_loss = final_params(case, **ALL[variant])
            results[name][variant] = {
                "params": largest_difference(params, other),
                "loss": abs(loss - other_loss) / abs(loss),
            }
    print(json.dumps(results))


if __name__ == "__main__":
    main()
