"""Your own images: a folder, and a CSV with a row per image and a column per attribute.

``--data.root FOLDER --data.attributes FILE.csv``: the column ``image`` has the files'
names, every other column becomes a concept (``--concept.names`` chooses). Words, truth
values and small counts are classes; other numbers are real values: they pair by
quantile, or carry a similarity of their own (``--concept.continuous sigma``). Empty
cells are missing values. Sizes, judges and report follow from the columns.

Needs the weights of LPIPS (``$IIN_JAX_WEIGHTS``, ``--network.download``, or
``--network.perceptual none``).
"""

import dataclasses

from experiments.settings import (
    Data,
    Experiment,
    FlowSettings,
    NetworkSettings,
    Train,
)

EXPERIMENT = Experiment(data=Data(source="folder", image_size=64, coloring="none"))

BUDGETS = {
    "cpu": dataclasses.replace(
        EXPERIMENT,
        network=NetworkSettings(
            perceptual="squeeze",
            base=16,
            discriminator_base=16,
            steps=3000,
            batch_size=64,
            rate_per_example=6e-4 / 64,
            warmup=0.05,
            decay_start=0.5,
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
