"""CIFAR-10 without concepts: a flow that samples an autoencoder (section 4.1).

As ``mnist``, on photographs of 32x32 pixels.

Needs CIFAR-10 as TFDS prepares it (``--data.root``, ``TFDS_DATA_DIR``, or
``--data.download``), and the weights that ``mnist`` needs. Not measured.
"""

from experiments.schedules import short
from experiments.settings import (
    Concept,
    Data,
    Evaluate,
    Experiment,
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

BUDGETS = {"cpu": short(EXPERIMENT, base=32, network_steps=3000, flow_steps=6000)}
