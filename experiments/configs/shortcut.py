"""Two ColorMNIST classifiers: for one of them the colour was a shortcut.

TO BE WRITTEN.
"""

import dataclasses

from iin_jax.runs.schedules import SUITED
from iin_jax.runs.settings import (
    DataSettings,
    EvaluateSettings,
    Experiment,
    LatentSettings,
    NetworkSettings,
    TrainSettings,
)

EXPERIMENT = Experiment(
    data=DataSettings(source="mnist", coloring="black"),
    network=NetworkSettings(kind="classifier", color_follows=0.95),
    evaluate=EvaluateSettings(latents=10_000, colors=1),
)

BUDGETS = {
    "cpu": dataclasses.replace(
        EXPERIMENT,
        network=dataclasses.replace(
            EXPERIMENT.network,
            base=32,
            steps=2000,
            batch_size=64,
            decay_start=0.5,
        ),
        flow=SUITED,
        latents=LatentSettings(colors=4),
        train=TrainSettings(
            steps=2800,
            batch_size=256,
            rate_per_example=0.0,
            warmup=0.03,
            decay_start=0.3,
        ),
    )
}

COMPARED = {
    "shortcut": {"network.color_follows": 0.95},
    "random": {"network.color_follows": 0.0},
}
