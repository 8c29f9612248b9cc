"""Four attributes of faces on an autoencoder of CelebA (paper, section 4.2).

Concepts Eyeglasses, Male, No_Beard and Smiling; pairs agree in one of them, positive
with positive and negative with negative.

Needs CelebA as TFDS prepares it (``--data.root``, ``TFDS_DATA_DIR``, or
``--data.download``) and the weights of LPIPS (``$IIN_JAX_WEIGHTS``,
``--network.download``, or ``--network.perceptual none``). Not measured.
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

STEPS = 100 * 162_770 // 25
DECAY_START = 505_001 / STEPS

EXPERIMENT = Experiment(
    data=Data(source="celeb_a", image_size=64, coloring="none"),
    network=NetworkSettings(
        steps=STEPS, decay_start=DECAY_START, discriminator_start=100_001 / STEPS
    ),
    concept=Concept(names=("Eyeglasses", "Male", "No_Beard", "Smiling")),
    train=Train(steps=STEPS, decay_start=DECAY_START),
    evaluate=Evaluate(latents=10_000),
)

BUDGETS = {
    "cpu": dataclasses.replace(
        EXPERIMENT,
        network=dataclasses.replace(
            EXPERIMENT.network,
            perceptual="squeeze",
            base=16,
            discriminator_base=16,
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
    )
}
