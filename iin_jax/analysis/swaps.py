"""Do swaps transfer what they should, and keep the rest?"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from iin_jax.analysis.judges import Judge
from iin_jax.interpreter import Interpreter
from iin_jax.types import Images


def evaluate_swaps(
    interpreter: Interpreter,
    images_a: Images,
    images_b: Images,
    values_a: Mapping[str, np.ndarray],
    values_b: Mapping[str, np.ndarray],
    judges: Mapping[str, Judge],
) -> dict[str, Any]:
    """Swaps every concept alone, and lets the judges look.

    Args:
      interpreter: with a network; judges look at what it decodes to.
      images_a, images_b: (n, H, W, C) in [-1, 1]; a receives b's factor.
      values_a, values_b: attribute -> true values, (n,) or (n, d).
      judges: attribute -> judge.

    Returns:
      ``swap`` {concept: {``transferred`` (None if no judge reads the concept),
      ``others_kept`` {attribute: figure}}},
      ``floor`` {attribute: figure} of the judges on plain reconstructions of a,
      ``floor_inputs`` the same on the pictures themselves (for networks that decode
      to images), ``measure`` {attribute:
      name}, ``swap_pairs`` (n).
    """
    plain = interpreter.decode(interpreter.encode(images_a))
    swaps = {}
    for concept in interpreter.layout.concepts:
        edited = interpreter.swap(images_a, images_b, [concept])
        own = judges.get(concept)
        swaps[concept] = {
            "transferred": own and own.score(edited, values_b[concept]),
            "others_kept": {
                other: judge.score(edited, values_a[other])
                for other, judge in judges.items()
                if other != concept
            },
        }
    floor = {name: judge.score(plain, values_a[name]) for name, judge in judges.items()}
    result = {
        "swap": swaps,
        "floor": floor,
        "measure": {name: judge.measure for name, judge in judges.items()},
        "swap_pairs": len(images_a),
    }
    if interpreter.network is not None and interpreter.network.output == "images":
        result["floor_inputs"] = {
            name: judge.score(images_a, values_a[name])
            for name, judge in judges.items()
        }
    return result
