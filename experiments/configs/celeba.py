"""CelebA without concepts: a flow that samples an autoencoder (section 4.1).

As ``mnist``, on faces: centre crop of 160 pixels, resized to 64. The images are
streamed from where TFDS keeps them.

Needs CelebA as TFDS prepares it (``--data.root``, ``TFDS_DATA_DIR``, or
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

STEPS = 100 * 162_770 // 25
DECAY_START = 505_001 / STEPS

EXPERIMENT = Experiment(
    data=DataSettings(source="celeb_a", image_size=64, coloring="none"),
    network=NetworkSettings(
        steps=STEPS, decay_start=DECAY_START, discriminator_start=100_001 / STEPS
    ),
    concept=ConceptSettings(source="none", names=("Male", "Smiling")),
    train=TrainSettings(steps=STEPS, decay_start=DECAY_START),
    evaluate=EvaluateSettings(latents=10_000, distance="inception_v3_fid"),
)

BUDGETS = {"cpu": short(EXPERIMENT, base=16, network_steps=1600, flow_steps=4000)}
