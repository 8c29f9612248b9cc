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
) -> dict[str, Any]:
    """Swaps every concept alone, and lets the judges look.

    Args:
      interpreter: with a network; judges look at what it decodes to, or at z.
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
    z_a = interpreter.encode(images_a)
    z_tilde_a = interpreter.translate(z_a)
    z_tilde_b = interpreter.translate(interpreter.encode(images_b))
    plain = _shown(interpreter, z_a, judges)
    swaps = {}
    for concept in interpreter.layout.concepts:
        edited = interpreter.layout.swap(z_tilde_a, z_tilde_b, [concept])
        shown = _shown(interpreter, interpreter.untranslate(edited), judges)
        own = judges.get(concept)
        swaps[concept] = {
            "transferred": own and own.score(shown[own.reads], values_b[concept]),
            "others_kept": {
                other: judge.score(shown[judge.reads], values_a[other])
                for other, judge in judges.items()
                if other != concept
            },
        }
    floor = {
        name: judge.score(plain[judge.reads], values_a[name])
        for name, judge in judges.items()
    }
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
            if judge.reads == "outputs"
        }
    return result


def _shown(
    interpreter: Interpreter, z: Array, judges: Mapping[str, Judge]
) -> dict[str, Array]:
    """What judges can look at, as far as any does."""
    wanted = {judge.reads for judge in judges.values()}
    shown: dict[str, Array] = {"latents": z.reshape(len(z), -1)}
    if "outputs" in wanted:
        shown["outputs"] = interpreter.decode(z)
    return shown
