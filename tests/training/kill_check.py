"""A tiny training that test_resume.py kills: ``kill_check.py FOLDER``."""

import json
import sys
from pathlib import Path

import numpy as np

from iin_jax import FactorLayout, InterpretationFlow
from iin_jax.concepts import ExplicitPairs
from iin_jax.fit import fit_prepared
from iin_jax.prepared import PreparedLatents
from iin_jax.training.checkpoints import Checkpoints
from iin_jax.training.defaults import Training
from iin_jax.weights import save_tree

STEPS = 1500
PAIRS = 600


def main(folder: str) -> None:
    rng = np.random.default_rng(0)
    shape = rng.standard_normal((PAIRS, 2))
    za, zb = (_bent(shape, rng) for _ in range(2))
    shared = np.tile([True, False], (PAIRS, 1))
    layout = FactorLayout({"shape": 2, "residual": 2})

    first, second = np.arange(PAIRS), PAIRS + np.arange(PAIRS)
    z = np.concatenate([za, zb])
    source = ExplicitPairs.of(("shape",), first, second, shared, len(z))
    whole = PreparedLatents(z, None, source, source.image)
    train, held_out = whole.split(0.2, 0)
    training = Training(
        steps=STEPS,
        batch_size=16,
        rate_per_example=1e-4,
        sigma=0.975,
        noise=0.2,
        decay=0.0,
        checkpoint_every=50,
        patience=STEPS,
    )
    print("started", flush=True)
    interpreter, record = fit_prepared(
        train,
        held_out,
        layout,
        training,
        flow=InterpretationFlow(4, 1, 8, 0),
        checkpoints=Checkpoints(f"{folder}/checkpoints"),
        progress=False,
    )
    save_tree(f"{folder}/final.safetensors", interpreter.variables)
    Path(folder, "record.json").write_text(json.dumps(record))


def _bent(shape: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Latents that a linear start leaves something to do in."""
    own, residual = 0.3 * rng.standard_normal((2, *shape.shape))
    return np.concatenate([shape + own, residual + shape**2], 1).astype(np.float32)


if __name__ == "__main__":
    main(sys.argv[1])
