"""What the default costs and reaches at any N: ``python -m experiments.latent_sizes``.

The network is one layer of random weights behind MNIST digits, of any number of units N
(``--dead``: of which so many put out 0 for every image), and the concept is the digit.
All is as by default: sizes, T_0, flow, schedule. A judge of z that never saw a flow
says on pairs of test images how often a swap of the digit gives the other one's, by T,
by T_0 and by the linear edit on raw z.
"""

import argparse
import json
import resource
import sys
import time
import warnings
from typing import Any

import numpy as np

import iin_jax
from iin_jax.command_line import exit_status
from iin_jax.data import SOURCES, SourceOptions
from iin_jax.networks import Network, from_functions

TESTED = 2000  # test images
SIDE = 32  # H = W of the images


def random_layer(dim: int, dead: int, seed: int) -> Network:
    """``z = max(0, W x + b)``, answered by a sum of its units.

    Args:
      dim: N.
      dead: number of the units that are 0 for every image.
      seed: of the weights.

    Raises:
      ValueError: fewer than two units that may vary.
    """
    if not 0 <= dead <= dim - 2:
        raise ValueError(
            f"{dead} of {dim} units cannot be dead: two at least have to vary"
        )
    rng = np.random.default_rng([seed, dim])
    weights = rng.standard_normal((SIDE * SIDE, dim)) / SIDE
    bias = rng.standard_normal(dim)
    bias[:dead] = -1e3
    variables = {
        "weights": weights.astype(np.float32),
        "bias": bias.astype(np.float32),
        "head": rng.standard_normal((dim, 10)).astype(np.float32),
    }
    return from_functions(
        lambda v, x: (x.reshape(len(x), -1) @ v["weights"] + v["bias"]).clip(0.0),
        lambda v, z: z @ v["head"],
        variables,
        image_shape=(SIDE, SIDE, 1),
        output="logits",
    )


def digits(count: int, root: str | None, seed: int) -> tuple[Any, Any]:
    """``count`` images to train on and 2,000 to test on, each with their digits."""
    mnist = SOURCES["mnist"](SourceOptions(root=root))
    rows = np.random.default_rng(seed).permutation(len(mnist.images))
    parts = []
    for part in (rows[:count], rows[count : count + TESTED]):
        images = np.asarray(mnist.images[part], np.float32) / 127.5 - 1.0
        parts.append((images, {"digit": mnist.labels["digit"][part]}))
    return parts[0], parts[1]


def measured(
    dim: int, dead: int, count: int, root: str | None, seed: int
) -> dict[str, Any]:
    """Seconds, memory and figures of one fit; the memory is the process's highest."""
    train, test = digits(count, root, seed)
    network = random_layer(dim, dead, seed)
    begin = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        it = iin_jax.interpret(network, *train, progress=False, seed=seed)
    seconds = time.perf_counter() - begin
    card = iin_jax.score(
        it, train, test, analyses=["swaps", "likelihood"], seed=seed, progress=False
    )
    certificate = it.certify(test[0][:256])
    return {
        "N": dim,
        "dead": dead,
        "images": count,
        "sizes": it.layout.as_dict(),
        "seconds": round(seconds),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**10,
        "digit": {
            name: round(card[key]["digit"]["transferred"], 3)
            for name, key in (("T", "swap"), ("T_0", "start"), ("linear", "linear"))
        },
        "unedited": card["unedited"]["digit"],
        "nll_bits_per_dim": card["nll_bits_per_dim"],
        "certificate": certificate,
        "said": sorted({str(each.message) for each in caught}),
    }


def main(arguments: list[str]) -> int:
    """The command line; prints one line of JSON per N."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dims", type=int, nargs="*", default=[8, 64, 512, 2048])
    parser.add_argument("--dead", type=int, default=0)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--root", default=None)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    for dim in options.dims:
        figures = (dim, options.dead, options.images, options.root, options.seed)
        print(json.dumps(measured(*figures)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
