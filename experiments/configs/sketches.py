"""A concept from two sketches, on real handwritten digits: no label, no download.

Every digit is given the manner of both sketches (``--concept.sketch-a``,
``--concept.sketch-b``; ``python -m experiments.draw_sketches thin_thick DIR`` draws
two), and T learns what its three versions do not share. The autoencoder is trained in
the run and sees all three. Labels are for the judges alone.

Measured with thin and thick strokes at commit 04bf18b, two cores of an Intel Xeon
beside other work, seed 0, about 9 minutes in all; 1,000 test images in nine points from
one sketch's value to the other's: stroke width grows from 2.78 to 5.25 pixels (3.28
standard deviations; by the mean difference of latents, as far as changes it as much on
training images, 2.44), median rank correlation 1.00; the digit is read at the ends
right in 98.5 % (97.5 to 99.1) and 97.4 % (96.2 to 98.2; unedited 98.2 %); colours are
off by 0.051 and 0.074 (unedited 0.026, by the mean difference 0.135 and 0.126).
"""

import dataclasses

from iin_jax.runs.configs import find

DIGITS = find("digits").experiment

EXPERIMENT = dataclasses.replace(
    DIGITS,
    latents=dataclasses.replace(DIGITS.latents, variants=6, colors=2),
    concept=dataclasses.replace(
        DIGITS.concept, source="sketches", sizes=(), estimator="shared_rank"
    ),
)

BUDGETS = {"cpu": EXPERIMENT}
