"""A concept from two sketches, on real handwritten digits: no label, no download.

Every digit is given the manner of both sketches (``--concept.sketch-a``,
``--concept.sketch-b``; ``python -m experiments.draw_sketches thin_thick DIR`` draws
two), and T learns what its three versions do not share. The autoencoder is trained in
the run and sees all three. Labels are for the judges alone.

Measured with thin and thick strokes at commit 956f595, two cores of an AMD EPYC beside
other work, seed 0, 8 minutes in all; 1,000 test images in nine points from one sketch's
value to the other's: stroke width grows from 2.82 to 5.13 pixels (2.98 standard
deviations; by the mean difference of latents, as far as changes it as much on training
images, 2.28), median rank correlation 1.00; the digit is read at the ends right in 98.8
% (97.9 to 99.3) and 98.1 % (97.1 to 98.8; unedited 98.6 %); colours are off by 0.045
and 0.048 (unedited 0.027, by the mean difference 0.125 and 0.104).
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
