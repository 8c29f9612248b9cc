"""How often verdicts on a shortcut are right: ``python -m experiments.shortcut_seeds``.

For every seed two small classifiers are trained, as ``experiments.run shortcut`` does:
one on images whose colour follows the digit in 95 % of the cases, one on any colours. T
is trained on each, and its classifier tested on images that neither saw. Right is that
the first uses colour and the second does not, and that both use the digit.
"""

import argparse
import dataclasses
import json
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import iin_jax
from iin_jax.analysis.response import Response, response
from iin_jax.analysis.usage import PERMUTATIONS, use_of
from iin_jax.command_line import exit_status
from iin_jax.factors import FactorLayout
from iin_jax.runs.compared import changed
from iin_jax.runs.configs import find
from iin_jax.runs.network_training import train_classifier
from iin_jax.runs.run import Run

LAYOUT = FactorLayout({"digit": 8, "color": 4, "residual": 4})
INTERPRETED, TESTED = 2000, 500  # images that T is trained on, and that are tested
SMALL = {  # on images of 16 pixels, for one seed in half a minute on two cores
    "data.image_size": 16,
    "data.palette": 200,
    "network.base": 16,
    "network.num_down": 3,
    "network.latent_dim": LAYOUT.dim,
    "network.steps": 600,
    "network.batch_size": 64,
    "network.rate_per_example": 3e-5,
    "latents.colors": 2,
}


def uses(name: str, seed: int, steps: int) -> tuple[dict[str, Response], float]:
    """How the classifier of one run responds to digit and colour, and its accuracy.

    Args:
      name: of the run in the config.
      seed: of images, classifier, T and tests.
      steps: of T's training.
    """
    config = find("shortcut")
    experiment = changed(config.experiment, {**SMALL, **config.compared[name]})
    experiment = dataclasses.replace(experiment, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        run = Run.of(name, experiment, Path(folder), "")
        network = train_classifier(run)
    images, values, picture = _examples(run, "train", INTERPRETED)
    interpreter = iin_jax.interpret(
        network,
        images,
        values,
        layout=LAYOUT,
        identity=picture,
        steps=steps,
        seed=seed,
        progress=False,
    )
    images, values, _ = _examples(run, "test", TESTED)
    answers = np.asarray(network.decode(network.encode(images))).argmax(-1)
    accuracy = float((answers == values["digit"]).mean())
    options = {"seed": seed, "permutations": PERMUTATIONS}
    return response(interpreter, images, values, **options), accuracy


def _examples(run: Run, split: str, count: int) -> tuple[Any, dict[str, Any], Any]:
    """Images of a split with their digits and colours, and which picture each shows."""
    entries = run.images.train_set if split == "train" else run.images.test_set
    rng = np.random.default_rng([run.experiment.seed, 0x5EC])
    rows = np.sort(rng.permutation(len(entries))[:count])
    values = dict(run.concepts.values(entries, rows))
    if split == "train":  # pairs agree in one of the palette's colours
        values["color"] = entries.codes["color"][rows]
    return entries.images(rows), values, entries.pictures[rows]


def main(arguments: list[str]) -> int:
    """The command line; prints one line of JSON per seed and network, then a total."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(20)))
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args(arguments)
    right = 0
    for seed in options.seeds:
        verdicts = {}
        for name in find("shortcut").compared:
            begin = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                responses, accuracy = uses(name, seed, options.steps)
            verdicts[name] = {n: use_of(x) for n, x in responses.items()}
            print(json.dumps(_line(name, seed, accuracy, responses, begin)), flush=True)
        colors = [verdicts[name]["color"] for name in ("shortcut", "random")]
        digits = {each["digit"] for each in verdicts.values()}
        right += colors[0] == "uses" and colors[1] != "uses" and digits == {"uses"}
    print(f"right for {right} of {len(options.seeds)} seeds")
    return 0


def _line(
    name: str, seed: int, accuracy: float, responses: dict[str, Response], begin: float
) -> dict[str, Any]:
    return {
        "network": name,
        "seed": seed,
        "accuracy": round(accuracy, 3),
        "seconds": round(time.perf_counter() - begin),
        **{
            concept: {
                "use": use_of(each),
                "changed": round(each.flips, 3),
                "effect": round(each.effect, 3),
                "rank": round(each.rank, 3),
                "p": round(each.p_value, 4),
            }
            for concept, each in responses.items()
        },
    }


if __name__ == "__main__":
    sys.exit(exit_status(main))
