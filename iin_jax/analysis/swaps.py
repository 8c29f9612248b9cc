"""Do swaps transfer what they should, and keep the rest?"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from iin_jax.analysis.judges import Judge
from iin_jax.interpreter import Interpreter
from iin_jax.types import Array, Images


def evaluate_swaps(
    interpreter: Interpreter,
    images_a: Images,
    images_b: Images,
    values_a: Mapping[str, np.ndarray],
    values_b: Mapping[str, np.ndarray],
    judges: Mapping[str, Judge],
    *,
    latents: bool = False,
) -> dict[str, Any]:
    """Swaps every concept alone, and lets the judges look.

    Args:
      interpreter: with a network.
      images_a, images_b: (n, H, W, C) in [-1, 1]; a receives b's factor.
      values_a, values_b: attribute -> true values, (n,) or (n, d).
      judges: attribute -> judge.
      latents: judges look at z instead of what the network decodes it to.

    Returns:
      ``swap`` {concept: {``transferred`` (None if no judge reads the concept),
      ``others_kept`` {attribute: figure}}},
      ``floor`` {attribute: figure} of the judges on plain reconstructions of a,
      ``floor_inputs`` the same on the pictures themselves (for networks that decode
      to images), ``measure`` {attribute:
      name}, ``swap_pairs`` (n).
    """
    z_a = interpreter.encode(images_a)
    z_tilde_a = interpreter.translate(z_a)
    z_tilde_b = interpreter.translate(interpreter.encode(images_b))

    def shown(z: Array) -> Array:
        return z.reshape(len(z), -1) if latents else interpreter.decode(z)

    swaps = {}
    for concept in interpreter.layout.concepts:
        edited = interpreter.layout.swap(z_tilde_a, z_tilde_b, [concept])
        looked_at = shown(interpreter.untranslate(edited))
        own = judges.get(concept)
        swaps[concept] = {
            "transferred": own and own.score(looked_at, values_b[concept]),
            "others_kept": {
                other: judge.score(looked_at, values_a[other])
                for other, judge in judges.items()
                if other != concept
            },
        }
    plain = shown(z_a)
    floor = {name: judge.score(plain, values_a[name]) for name, judge in judges.items()}
    result = {
        "swap": swaps,
        "floor": floor,
        "measure": {name: judge.measure for name, judge in judges.items()},
        "swap_pairs": len(images_a),
    }
    network = interpreter.network
    if network is not None and network.output == "images" and not latents:
        result["floor_inputs"] = {
            name: judge.score(images_a, values_a[name])
            for name, judge in judges.items()
        }
    return result
