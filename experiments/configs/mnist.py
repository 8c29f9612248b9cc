"""MNIST without concepts: a flow that samples an autoencoder (paper, section 4.1).

T is trained on single latents; ``z_tilde ~ N(0, 1)`` goes back through it to images.
The scorecard has the distance of such samples from the test images, and beside it that
of samples ``z ~ N(0, 1)`` without T and of reconstructions.

Needs MNIST as TFDS prepares it (``--data.root``, ``TFDS_DATA_DIR``, or
``--data.download``), and the weights of LPIPS and of the network that judges the
samples (``$IIN_JAX_WEIGHTS``, ``--network.download``; ``--network.perceptual none`` and
``--evaluate.distance none`` do without).

Measured with ``--budget cpu`` at commit 152862e, two cores of an Intel Xeon, seed 0,
9 min 27 s in all, peak memory 2.7 GB: Frechet distance from 10,000 test images by
SqueezeNet 1.1 (features.12, 64 pixels) 191 through T, 8,302 without T, 86 for
reconstructions; 0.66 bits per dimension of test latents, 1.47 under a Gaussian.
"""

from iin_jax.runs.schedules import short
from iin_jax.runs.settings import (
    ConceptSettings,
    DataSettings,
    EvaluateSettings,
    Experiment,
)

EXPERIMENT = Experiment(
    data=DataSettings(source="mnist", coloring="none"),
    concept=ConceptSettings(source="none"),
    evaluate=EvaluateSettings(latents=10_000, distance="inception_v3_fid"),
)

BUDGETS = {"cpu": short(EXPERIMENT, base=32, network_steps=2000, flow_steps=4000)}
