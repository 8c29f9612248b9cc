"""CIFAR-10 without concepts: a flow that samples an autoencoder (section 4.1).

As ``mnist``, on photographs of 32x32 pixels.

Needs CIFAR-10 as TFDS prepares it (``--data.root``, ``TFDS_DATA_DIR``, or
``--data.download``), and the weights that ``mnist`` needs. Not measured.
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

STEPS = 300 * 50_000 // 25
DECAY_START = 505_001 / STEPS

EXPERIMENT = Experiment(
    data=Data(source="cifar10", coloring="none"),
    network=NetworkSettings(
        steps=STEPS, decay_start=DECAY_START, discriminator_start=100_001 / STEPS
    ),
    concept=Concept(source="none"),
    train=Train(steps=STEPS, decay_start=DECAY_START),
    evaluate=Evaluate(latents=10_000, distance="inception_v3_fid"),
)

BUDGETS = {
    "cpu": dataclasses.replace(
        EXPERIMENT,
        network=dataclasses.replace(
            EXPERIMENT.network,
            perceptual="squeeze",
            base=32,
            discriminator_base=32,
            steps=3000,
            batch_size=64,
            rate_per_example=6e-4 / 64,
            warmup=0.05,
            squared=0.08,
        ),
        flow=FlowSettings(hidden_dim=128),
        train=Train(
            steps=6000,
            batch_size=256,
            rate_per_example=1e-3 / 256,
            warmup=0.03,
            decay_start=0.3,
        ),
        evaluate=Evaluate(latents=10_000, distance="squeezenet1_1", distance_size=64),
    )
}
