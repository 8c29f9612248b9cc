"""A tiny training that test_resume.py kills: ``kill_check.py FOLDER``."""

import json
import sys
from pathlib import Path

import jax
import numpy as np

from iin_jax import FactorLayout, InterpretationFlow
from iin_jax.concepts.closed_form import LinearView, mask_pairs
from iin_jax.fit import FlowTraining, fit_flow
from iin_jax.training.checkpoints import Checkpoints
from iin_jax.training.flow_step import LatentPairs, draw_arrays
from iin_jax.training.optim import Schedule
from iin_jax.weights import save_tree

STEPS = 1500
PAIRS = 600
TRAINED = 480  # the others are held out, so that a best state is kept


def main(folder: str) -> None:
    rng = np.random.default_rng(0)
    shape = rng.standard_normal((PAIRS, 2))
    za, zb = (_bent(shape, rng) for _ in range(2))
    shared = np.tile([True, False], (PAIRS, 1))
    layout = FactorLayout({"shape": 2, "residual": 2})

    def pairs_of(rows: slice) -> LatentPairs:
        return LatentPairs(*(jax.numpy.asarray(x[rows]) for x in (za, zb, shared)))

    z = np.concatenate([za[:TRAINED], zb[:TRAINED]])
    image = np.arange(len(z))
    masks = shared[:TRAINED]
    pairs = mask_pairs(masks, layout.concepts, image, np.ones(masks.shape))
    start = LinearView.of(z, pairs, image).start({"shape": 2})
    training = FlowTraining(
        Schedule(STEPS, 1e-4), 16, checkpoint_every=50, noise=0.2, patience=STEPS
    )
    print("started", flush=True)
    interpreter, record = fit_flow(
        InterpretationFlow(4, 1, 8, 0, zero_init=True),
        layout,
        draw_arrays,
        pairs_of(slice(TRAINED)),
        training,
        start=start,
        validation=pairs_of(slice(TRAINED, PAIRS)),
        checkpoints=Checkpoints(f"{folder}/checkpoints"),
    )
    save_tree(f"{folder}/final.safetensors", interpreter.variables)
    Path(folder, "record.json").write_text(json.dumps(record))


def _bent(shape: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Latents that a linear start leaves something to do in."""
    own, residual = 0.3 * rng.standard_normal((2, *shape.shape))
    return np.concatenate([shape + own, residual + shape**2], 1).astype(np.float32)


if __name__ == "__main__":
    main(sys.argv[1])
