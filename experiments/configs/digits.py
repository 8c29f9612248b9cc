"""Digit and colour of real handwritten digits: no network, no download, minutes.

1,797 digits that scikit-learn ships, 16x16, coloured on black; an autoencoder with 32
latent dimensions and a small flow, both trained on two CPU cores. The sizes follow from
the published estimate, the similarity is the published one.
"""

from experiments.settings import (
    Concept,
    Data,
    Experiment,
    FlowSettings,
    Latents,
    NetworkSettings,
    Train,
)
from iin_jax.data import Affine

EXPERIMENT = Experiment(
    data=Data(source="digits", image_size=16),
    network=NetworkSettings(
        latent_dim=32,
        num_down=3,
        base=16,
        kl_weight=4.0,
        steps=3000,
        batch_size=128,
        rate_per_example=1e-3 / 128,
        warmup=0.05,
        decay_start=0.4,
    ),
    latents=Latents(
        variants=16,
        colors=4,
        augment=Affine(degrees=12, shift=0.06, scale=0.1, shear=0.1),
    ),
    concept=Concept(),
    flow=FlowSettings(num_blocks=8, hidden_dim=128, hidden_depth=1),
    train=Train(
        steps=1500,
        batch_size=256,
        rate_per_example=1e-3 / 256,
        warmup=0.03,
        decay_start=0.3,
    ),
)

BUDGETS = {"cpu": EXPERIMENT}
