"""Four attributes of faces on an autoencoder of CelebA (paper, section 4.2).

Concepts Eyeglasses, Male, No_Beard and Smiling; pairs agree in one of them, positive
with positive and negative with negative.

Needs CelebA as TFDS prepares it (``--data.root``, ``TFDS_DATA_DIR``, or
``--data.download``) and the weights of LPIPS (``$IIN_JAX_WEIGHTS``,
``--network.download``, or ``--network.perceptual none``). Not measured.
"""

import dataclasses

from iin_jax.runs.configs import find
from iin_jax.runs.schedules import short
from iin_jax.runs.settings import ConceptSettings, EvaluateSettings

EXPERIMENT = dataclasses.replace(
    find("celeba").experiment,
    concept=ConceptSettings(names=("Eyeglasses", "Male", "No_Beard", "Smiling")),
    evaluate=EvaluateSettings(latents=10_000),
)

BUDGETS = {"cpu": short(EXPERIMENT, base=16, network_steps=1600, flow_steps=4000)}
