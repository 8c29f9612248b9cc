"""CelebA without concepts: a flow that samples an autoencoder (section 4.1).

As ``mnist``, on faces: centre crop of 160 pixels, resized to 64. The images are
streamed from where TFDS keeps them.

Needs CelebA as TFDS prepares it (``--data.root``, ``TFDS_DATA_DIR``, or
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

STEPS = 100 * 162_770 // 25
DECAY_START = 505_001 / STEPS

EXPERIMENT = Experiment(
    data=Data(source="celeb_a", image_size=64, coloring="none"),
    network=NetworkSettings(
        steps=STEPS, decay_start=DECAY_START, discriminator_start=100_001 / STEPS
    ),
    concept=Concept(source="none", names=("Male", "Smiling")),
    train=Train(steps=STEPS, decay_start=DECAY_START),
    evaluate=Evaluate(latents=10_000, distance="inception_v3_fid"),
)

BUDGETS = {"cpu": short(EXPERIMENT, base=16, network_steps=1600, flow_steps=4000)}
