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
(unedited 93.3 % and 0.052). The linear start has not been measured on test images yet.

Its linear start T_0 alone on 1,000 pairs of validation images (commit fe34553, seed 0):
over channels, which all positions share (``--flow.kind feature_map``), with 12, 20, 30
and 40 of 64 channels for the digit and 4 for colour, digit transferred 72.6, 84.1, 85.1
and 86.0 %; over the 256 flattened numbers, with 20, 40, 80 and 120 for the digit, 85.4,
84.7, 85.6 and 85.6 %; linear edit 88.5 %, unedited read 93.4 %. Colour wants more than
4 channels: with 38 and 18, as shared rank has it, digit transferred 86.0 %, colour kept
0.092, digit kept 88.1 %, colour transferred 0.098. After 300 steps of 6 blocks behind
it (batch 128; 2,000 pairs, T_0 in brackets) these are 86.1 (85.9) %, 0.077 (0.091),
87.9 (87.6) % and 0.079 (0.096), and bits per dimension 6.78 (6.94); T_0 was kept all
the same, since separation, which counts colour at every position anew, fell from 38.6
to 29.6 nats.
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
