"""MNIST without concepts: a flow that samples an autoencoder (paper, section 4.1).

T is trained on single latents; ``z_tilde ~ N(0, 1)`` goes back through it to images.
The scorecard has the distance of such samples from the test images, and beside it that
of samples ``z ~ N(0, 1)`` without T and of reconstructions.

Needs MNIST as TFDS prepares it (``--data.root``, ``TFDS_DATA_DIR``, or
``--data.download``), and the weights of LPIPS and of the network that judges the
samples (``$IIN_JAX_WEIGHTS``, ``--network.download``; ``--network.perceptual none`` and
``--evaluate.distance none`` do without).
"""

import dataclasses

from experiments.settings import (
    Concept,
    Data,
    Evaluate,
    Experiment,
    FlowSettings,
    NetworkSettings,
    Train,
)

EXPERIMENT = Experiment(
    data=Data(source="mnist", coloring="none"),
    network=NetworkSettings(),
    concept=Concept(source="none"),
    evaluate=Evaluate(latents=10_000, distance="inception_v3_fid"),
)

BUDGETS = {
    "cpu": dataclasses.replace(
        EXPERIMENT,
        network=NetworkSettings(
            perceptual="squeeze",
            base=32,
            discriminator_base=32,
            steps=2000,
            batch_size=64,
            rate_per_example=6e-4 / 64,
            warmup=0.05,
            decay_start=0.5,
            squared=0.08,
        ),
        flow=FlowSettings(hidden_dim=128),
        train=Train(
            steps=4000,
            batch_size=256,
            rate_per_example=1e-3 / 256,
            warmup=0.03,
            decay_start=0.3,
        ),
        evaluate=Evaluate(latents=10_000, distance="squeezenet1_1", distance_size=64),
    )
}
