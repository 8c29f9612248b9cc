"""A tiny training that test_resume.py kills: ``kill_check.py FOLDER``."""

import sys

import jax
import numpy as np

from iin_jax import FactorLayout, InterpretationFlow
from iin_jax.fit import FlowTraining, fit_flow
from iin_jax.training.checkpoints import Checkpoints
from iin_jax.training.flow_step import LatentPairs, draw_arrays
from iin_jax.training.optim import Schedule
from iin_jax.weights import save_tree

STEPS = 1500


def main(folder: str) -> None:
    rng = np.random.default_rng(0)
    za = rng.standard_normal((200, 4)).astype(np.float32)
    zb = (0.9 * za + 0.4 * rng.standard_normal((200, 4))).astype(np.float32)
    shared = np.tile([True, False], (200, 1))
    data = LatentPairs(*map(jax.numpy.asarray, (za, zb, shared)))
    print("started", flush=True)
    interpreter = fit_flow(
        InterpretationFlow(4, 1, 8, 0),
        FactorLayout({"shape": 2, "residual": 2}),
        draw_arrays,
        data,
        FlowTraining(Schedule(STEPS, 1e-4), 16, None, checkpoint_every=50),
        checkpoints=Checkpoints(f"{folder}/checkpoints"),
    )
    save_tree(f"{folder}/final.safetensors", interpreter.variables)
    np.save(f"{folder}/sigma.npy", np.array(interpreter.sigma))


if __name__ == "__main__":
    main(sys.argv[1])
