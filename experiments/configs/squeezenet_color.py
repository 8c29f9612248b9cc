"""What SqueezeNet, trained on ImageNet, makes of coloured digits it has never seen.

A real pretrained network, frozen, cut in its middle (before the nonlinearity of the
squeeze layer of module fire6: 3x3 positions of 48 channels at 64 pixels). The
scorecard says how strongly every layer encodes digit and colour, what of them can be
swapped in z, and on how many images the network's prediction is the same through T and
back.

Needs the weights of ``squeezenet1_1``: ``--network.weights FILE``, a folder in
``$IIN_JAX_WEIGHTS``, or ``--network.download``.

Layer and image size were chosen on validation images: a linear model reads the digit in
96 % at ``features.9.squeeze`` and 91 % at ``features.12.squeeze`` of images of 48
pixels, in 99 and 97 % at 64 pixels, in 99.9 and 98 % at 96. The linear start T_0 (sizes
9, 30 and 393, as shared rank has it; ``--train.steps 50``, after which T is T_0), 2,000
pairs of test images, judged in z (commit 355bfd1, seed 0, weights rounded to float16):
digit transferred 96.9 % (validation 96.9), colour kept 0.067, digit kept 98.7 %, colour
transferred 0.076; the linear edit 97.5 %, 0.066, 98.5 % and 0.275; unedited read 98.6 %
and 0.047. Over channels (``--flow.kind feature_map``; 33, 11 and 4 of 48 channels)
98.4 % (validation 99.2), 0.075, 98.5 % and 0.078.

At ``features.12.squeeze`` of 48 pixels version 0.1 (sizes by the published estimate,
the published start and 2,500 steps; commit a079a23) reached on 2,000 pairs of test
images 75.7 % of the digits transferred, colour kept 0.066, digit kept 88.1 %, colour
transferred 0.071; unedited read 93.3 % and 0.052. There T_0 alone, on 1,000 pairs of
validation images (commit fe34553, seed 0): over channels, which all positions share
(``--flow.kind feature_map``), with 12, 20, 30 and 40 of 64 channels for the digit and 4
for colour, digit transferred 72.6, 84.1, 85.1 and 86.0 %; over the 256 flattened
numbers, with 20, 40, 80 and 120 for the digit, 85.4, 84.7, 85.6 and 85.6 %; linear edit
88.5 %, unedited read 93.4 %. With 38 and 18 channels, as shared rank has it, and 300
steps of 6 blocks (batch 128; 2,000 pairs, T_0 in brackets): digit transferred 86.1
(85.9) %, colour kept 0.077 (0.091), digit kept 87.9 (87.6) %, colour transferred 0.079
(0.096).
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
    data=DataSettings(source="digits", image_size=64),
    network=NetworkSettings(
        kind="pretrained",
        name="squeezenet1_1",
        layer="features.9.squeeze",
        latent_dim=432,
    ),
    latents=LatentSettings(
        variants=6,
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
