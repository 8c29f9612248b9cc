"""A concept from two sketches, on real handwritten digits: no label, no download.

Every digit is given the manner of both sketches (``--concept.sketch-a``,
``--concept.sketch-b``; ``python -m experiments.draw_sketches thin_thick DIR`` draws
two), and T learns what its three versions do not share. The autoencoder is trained in
the run and sees all three. Labels are for the judges alone.
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
