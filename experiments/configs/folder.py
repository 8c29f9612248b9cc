"""Your own images: a folder, and a CSV with a row per image and a column per attribute.

``--data.root FOLDER --data.attributes FILE.csv``: the column ``image`` has the files'
names, every other column becomes a concept (``--concept.names`` chooses). Words, truth
values and small counts are classes; other numbers are real values: they pair by
quantile, or carry a similarity of their own (``--concept.continuous sigma``); columns
of numbers that are names are classes by ``--data.classes``. Empty cells are missing
values. Sizes, judges and report follow from the columns.

The short budget begins with the linear start; the flow's size, noise and steps follow
from the number of training images, the sizes of the factors from shared ranks.

Measured with ``--budget cpu --network.perceptual none --data.image-size 32``, two cores
of an Intel Xeon, seed 0, on 2,000 pairs of test images, 95 % intervals. 1,000 MNIST
pictures (700 train; class, and stroke width by quantile) at commit ba7fbdd, 2 min 40 s
for the network and 3 min for the rest: digit transferred 65.2 %, by the linear start
T_0 68.2 %, by the linear edit, which is given both true classes, 72.5 % (paired
difference -12.4 to -2.04 points; plain reconstructions 91.6 %): here T loses to both;
stroke width, whose standard deviation is 0.90, off by 0.45, by the linear edit by 0.76
(reconstructions 0.30); 1.60 bits per dimension on held-out latents, a Gaussian 1.66. At
commit a79904a, 1,296 sprites with four attributes of six values: 99.9, 99.9, 100 and
100 % transferred (T_0 99.5, 99.5, 100, 100 %, linear 99.3, 98.9, 100, 100 %), all
others kept, and -0.68 bits (Gaussian -0.07). At 64 pixels (commit 61288fb): 98.9, 99.5,
100 and 100 % (linear 98.5, 99.2, 100, 100 %; paired differences -0.3 to +1.0 and -0.1
to +0.7 points, none in the others), all others kept; none of 600 steps beat T_0, so T
is T_0, with the bits of a Gaussian (-0.21). Nothing here was chosen on these sets.

Needs the weights of LPIPS (``$IIN_JAX_WEIGHTS``, ``--network.download``, or
``--network.perceptual none``).
"""

from iin_jax.runs.schedules import short
from iin_jax.runs.settings import DataSettings, Experiment

EXPERIMENT = Experiment(
    data=DataSettings(source="folder", image_size=64, coloring="none")
)

BUDGETS = {"cpu": short(EXPERIMENT, base=16, network_steps=1600)}
