"""What SqueezeNet, trained on ImageNet, makes of coloured digits it has never seen.

A real pretrained network, frozen, cut late (before the nonlinearity of its last squeeze
layer: 2x2 positions of 64 channels at 48 pixels). The scorecard says how strongly every
layer encodes digit and colour, what of them can be swapped in z, and on how many images
the network's prediction is the same through T and back.

Needs the weights of ``squeezenet1_1``: ``--network.weights FILE``, a folder in
``$IIN_JAX_WEIGHTS``, or ``--network.download``.
"""

from experiments.settings import (
    Data,
    Evaluate,
    Experiment,
    FlowSettings,
    Latents,
    NetworkSettings,
    Train,
)
from iin_jax.data import Affine

EXPERIMENT = Experiment(
    data=Data(source="digits", image_size=48),
    network=NetworkSettings(
        kind="pretrained",
        name="squeezenet1_1",
        layer="features.12.squeeze",
        latent_dim=256,
    ),
    latents=Latents(
        variants=16,
        colors=4,
        augment=Affine(degrees=12, shift=0.06, scale=0.1, shear=0.1),
    ),
    flow=FlowSettings(num_blocks=8, hidden_dim=256, hidden_depth=1),
    train=Train(
        steps=2500,
        batch_size=256,
        rate_per_example=2e-3 / 256,
        warmup=0.03,
        decay_start=0.3,
    ),
    evaluate=Evaluate(latents=10_000),
)

BUDGETS = {"cpu": EXPERIMENT}
