"""Digit and colour on an autoencoder of ColorMNIST (paper, section 4.2).

MNIST digits, painted on black in colours drawn uniformly from the RGB cube; concepts
digit (same class, another colour) and colour (same colour, another digit). The authors'
code paints the background in the colour's negative: ``--data.coloring negative``.

Needs MNIST as TFDS prepares it (``--data.root``, ``TFDS_DATA_DIR``, or
``--data.download``) and, but for ``--budget cpu``, the weights of LPIPS
(``$IIN_JAX_WEIGHTS``, ``--network.download``, or ``--network.perceptual none``).

The short budget trains its autoencoder, of 32 channels, on absolute errors and KL
alone: in 3,000 steps with LPIPS and discriminator the colours of plain reconstructions
were off by 0.026, and the adaptive weight stood near its limit for half of the time.

Its sizes are given: what a colour factor has beyond the colour carries shape. The
scorecard has the published estimate too, of validation pairs and of test pairs.

Measured with ``--budget cpu`` at commit aafbb0d, two cores of an Intel Xeon, seed 0,
17 min 29 s in all, peak memory 3.1 GB; sizes digit 14, colour 4, residual 46; 2,000
pairs of test images of unlike digits: digit transferred 92.6 %, colour kept 0.043,
digit kept 99.1 %, colour transferred 0.046 (on plain reconstructions 99.2 % and 0.017);
recolouring 0.0134 in [0, 1] (reconstructions of the true picture 0.0079, no edit
0.0458); digit read from the colour factor 11.7 % (chance 11.4 %), from the residual by
the nearest neighbours 14.8 %, colour from the digit factor R^2 0.00. With the estimated
sizes (14, 15, 35) and 7,200 steps of deeper networks (commit c4a26ea): 91.0 %, 0.039,
98.7 %, 0.041 and 0.0183. 3,000 steps of the autoencoder with LPIPS and discriminator,
then 8,000 of the flow on 4 colours: 92.4 %, 0.042, 98.6 %, 0.044 and 0.0186.
"""

import dataclasses

from experiments.schedules import SUITED
from experiments.settings import (
    Concept,
    Data,
    Evaluate,
    Experiment,
    Latents,
    NetworkSettings,
    Train,
)

EXPERIMENT = Experiment(
    data=Data(source="mnist", coloring="black"),
    network=NetworkSettings(),
    evaluate=Evaluate(latents=10_000, colors=1),
)

BUDGETS = {
    "cpu": dataclasses.replace(
        EXPERIMENT,
        network=NetworkSettings(
            perceptual="none",
            discriminator="none",
            base=32,
            steps=4800,
            batch_size=64,
            rate_per_example=6e-4 / 64,
            warmup=0.05,
            decay_start=0.4,
            squared=0.06,
        ),
        concept=Concept(estimator="shared_rank", sizes=(30, 4)),
        flow=SUITED,
        latents=Latents(colors=6),
        train=Train(
            steps=2800,
            batch_size=256,
            rate_per_example=0.0,
            warmup=0.03,
            decay_start=0.3,
            checkpoint_every=200,
        ),
    )
}
