"""Your own images: a folder, and a CSV with a row per image and a column per attribute.

``--data.root FOLDER --data.attributes FILE.csv``: the column ``image`` has the files'
names, every other column becomes a concept (``--concept.names`` chooses). Words, truth
values and small counts are classes; other numbers are real values: they pair by
quantile, or carry a similarity of their own (``--concept.continuous sigma``). Empty
cells are missing values. Sizes, judges and report follow from the columns.

The short budget begins with the linear start; the flow's size, noise and steps follow
from the number of training images, the sizes of the factors from shared ranks.

Needs the weights of LPIPS (``$IIN_JAX_WEIGHTS``, ``--network.download``, or
``--network.perceptual none``).
"""

from experiments.schedules import short
from experiments.settings import Data, Experiment

EXPERIMENT = Experiment(data=Data(source="folder", image_size=64, coloring="none"))

BUDGETS = {"cpu": short(EXPERIMENT, base=16, network_steps=1600)}
