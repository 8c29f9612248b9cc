"""FashionMNIST without concepts: a flow that samples an autoencoder (section 4.1).

As ``mnist``, on articles of clothing.

Needs FashionMNIST as TFDS prepares it (``--data.root``, ``TFDS_DATA_DIR``, or
``--data.download``), and the weights that ``mnist`` needs.

Measured with ``--budget cpu`` at commit 816c050, two cores of an Intel Xeon beside
other work, seed 0, 14 min 23 s in all, peak memory 2.3 GB: Frechet distance from 10,000
test images by SqueezeNet 1.1 (features.12, 64 pixels) 1,331 through T, 11,030 without
T, 1,181 for reconstructions; 0.87 bits per dimension of test latents, 1.53 under a
Gaussian.
"""

import dataclasses

from iin_jax.runs.configs import find
from iin_jax.runs.schedules import short
from iin_jax.runs.settings import DataSettings

EXPERIMENT = dataclasses.replace(
    find("mnist").experiment, data=DataSettings(source="fashion_mnist", coloring="none")
)

BUDGETS = {"cpu": short(EXPERIMENT, base=32, network_steps=2000, flow_steps=4000)}
