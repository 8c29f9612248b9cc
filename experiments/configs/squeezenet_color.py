"""What SqueezeNet, trained on ImageNet, makes of coloured digits it has never seen.

A real pretrained network, frozen, cut late (before the nonlinearity of its last squeeze
layer: 2x2 positions of 64 channels at 48 pixels). The scorecard says how strongly every
layer encodes digit and colour, what of them can be swapped in z, and on how many images
the network's prediction is the same through T and back.

Needs the weights of ``squeezenet1_1``: ``--network.weights FILE``, a folder in
``$IIN_JAX_WEIGHTS``, or ``--network.download``.

Version 0.1, with sizes by the published estimate, the published start and 2,500 steps
(commit a079a23, two cores of an Intel Xeon that did other work too, seed 0, 8 min 30 s
in all; weights rounded to float16), on 2,000 pairs of test images, judged in z: digit
transferred 75.7 %, colour kept 0.066, digit kept 88.1 %, colour transferred 0.071
(unedited 93.3 % and 0.052). The linear start has not been measured here yet.
"""

from iin_jax.data import Affine
from iin_jax.runs.schedules import SUITED
from iin_jax.runs.settings import (
    ConceptSettings,
    DataSettings,
    EvaluateSettings,
    Experiment,
    LatentSettings,
    NetworkSettings,
    TrainSettings,
)

EXPERIMENT = Experiment(
    data=DataSettings(source="digits", image_size=48),
    network=NetworkSettings(
        kind="pretrained",
        name="squeezenet1_1",
        layer="features.12.squeeze",
        latent_dim=256,
    ),
    latents=LatentSettings(
        variants=16,
        colors=4,
        augment=Affine(degrees=12, shift=0.06, scale=0.1, shear=0.1),
    ),
    concept=ConceptSettings(estimator="shared_rank"),
    flow=SUITED,
    train=TrainSettings(
        steps=800,
        batch_size=256,
        rate_per_example=0.0,
        warmup=0.03,
        decay_start=0.3,
        checkpoint_every=50,
    ),
    evaluate=EvaluateSettings(latents=10_000),
)

BUDGETS = {"cpu": EXPERIMENT}
