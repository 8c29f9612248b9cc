"""FashionMNIST without concepts: a flow that samples an autoencoder (section 4.1).

As ``mnist``, on articles of clothing.

Needs FashionMNIST as TFDS prepares it (``--data.root``, ``TFDS_DATA_DIR``, or
``--data.download``), and the weights that ``mnist`` needs.

Not measured yet.
"""

import dataclasses

from experiments.configs import mnist
from experiments.schedules import short
from experiments.settings import Data

EXPERIMENT = dataclasses.replace(
    mnist.EXPERIMENT, data=Data(source="fashion_mnist", coloring="none")
)

BUDGETS = {"cpu": short(EXPERIMENT, base=32, network_steps=2000, flow_steps=4000)}
