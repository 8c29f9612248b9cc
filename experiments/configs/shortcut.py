"""Two ColorMNIST classifiers: for one of them the colour was a shortcut.

The images, concepts and classifier of ``colormnist_classifier``. In one run the
training images of the classifier are in a colour of their digit (a tenth of the
palette, by hue) in 95 % of the cases, in the other in any colour; T is trained on any
colours in both. Either has a report, and one page beside them says which network uses
colour, for which classes, and how surely. A run killed at any moment goes on with the
same command.

The short budget trains the classifiers for 500 steps of 64 images: a shortcut is what
is learned first. Chosen on validation images, true colours changed: after 250, 500 and
2,000 steps 50 %, 27 % and (on test images) 7 % of the predictions of the first network
change, 0.5 % of the second after 500.

Measured with ``--budget cpu`` at commit 84d8d17, two cores of an Intel Xeon beside
other work, seed 0, 27 minutes with the invariances: another image's colour changes
19.1 % (95 % 16.5 to 21.9) of the predictions of the first network ("uses"), 1.1 % (0.6
to 2.1) of the second ("hardly uses"); on small classifiers the verdicts were right for
20 of 20 seeds (``experiments.shortcut_seeds``, README).

With ``--evaluate.invariances RUN``, a finished run of ``colormnist`` on the same images
and seed, the reports show images that a layer does not tell apart.

Needs MNIST as TFDS prepares it (``--data.root``, ``TFDS_DATA_DIR``, or
``--data.download``).
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
            steps=500,
            batch_size=64,
            decay_start=0.5,
        ),
        flow=SUITED,
        latents=LatentSettings(colors=4),
        train=TrainSettings(
            steps=1200,
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
