"""CIFAR-10 without concepts: a flow that samples an autoencoder (section 4.1).

As ``mnist``, on photographs of 32x32 pixels.

Needs CIFAR-10 as TFDS prepares it (``--data.root``, ``TFDS_DATA_DIR``, or
``--data.download``), and the weights that ``mnist`` needs. Not measured.
"""

from iin_jax.runs.schedules import short
from iin_jax.runs.settings import (
    ConceptSettings,
    DataSettings,
    EvaluateSettings,
    Experiment,
    NetworkSettings,
    TrainSettings,
)

STEPS = 300 * 50_000 // 25
DECAY_START = 505_001 / STEPS

EXPERIMENT = Experiment(
    data=DataSettings(source="cifar10", coloring="none"),
    network=NetworkSettings(
        steps=STEPS, decay_start=DECAY_START, discriminator_start=100_001 / STEPS
    ),
    concept=ConceptSettings(source="none"),
    train=TrainSettings(steps=STEPS, decay_start=DECAY_START),
    evaluate=EvaluateSettings(latents=10_000, distance="inception_v3_fid"),
)

BUDGETS = {"cpu": short(EXPERIMENT, base=32, network_steps=3000, flow_steps=6000)}
