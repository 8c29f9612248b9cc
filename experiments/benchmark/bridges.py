"""PyTorch modules as JAX functions, beside PyTorch itself and beside callbacks.

``taskset -c 0 python -m experiments.benchmark.bridges`` prints a row for each of twelve
modules and three layers: how often G(E(x)) predicts what the module predicts, the
largest difference over the spread of its outputs, and milliseconds per batch of 25,
medians of batches that take turns. One core for all makes the times comparable. It
needs torch, torchvision, timm and torchax.
"""

import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.core
import numpy as np
import torch

from experiments.benchmark.modules import (
    MODULES,
    SIZE,
    photographs,
    random_module,
)
from iin_jax.networks import from_torch

TIMED = 5  # batches that callbacks get too
HEAD = (
    "| module | layer | in JAX | same prediction | largest difference "
    "| PyTorch | JAX | callback |\n|---|---|---|---|---|---|---|---|"
)


def main(names: list[str]) -> None:
    """Prints a table of the modules of these names; of all without names."""
    torch.set_num_threads(1)
    print(HEAD)
    for name in names or MODULES:
        module = random_module(name)
        for layer in MODULES[name][-1]:
            print(row(name, module, layer), flush=True)


def row(name: str, module: torch.nn.Module, layer: str) -> str:
    """One module, cut at one layer."""
    shape = (SIZE, SIZE, 3)
    callback = from_torch(module, layer, image_shape=shape, bridge="callback")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network = from_torch(module, layer, image_shape=shape)
    if type(network) is type(callback):
        reason = str(caught[-1].message).partition(": ")[2]
        return f"| {name} | {layer} | no: {reason} | | | | | |"
    program = str(jax.make_jaxpr(composed(network))(next(photographs())))
    if "callback" in program:
        raise RuntimeError(f"{name} calls PyTorch back from JAX at {layer!r}")
    sides = [native(module), composed(network), composed(callback)]
    outputs, milliseconds = side_by_side(sides)
    same = np.mean(outputs[0].argmax(-1) == outputs[1].argmax(-1))
    spread = np.ptp(outputs[0], axis=0).max()
    difference = np.abs(outputs[0] - outputs[1]).max() / spread
    times = " | ".join(f"{value:.0f}" for value in milliseconds)
    return f"| {name} | {layer} | yes | {same:.1%} | {difference:.1e} | {times} |"


def native(module: torch.nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    """The module in PyTorch, from images (B, H, W, C) to logits."""

    def run(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return module(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()

    return run


def composed(network: Any) -> Callable[[Any], Any]:
    """G(E(x)), each as users call it; both pure where x is being traced."""

    def run(images: Any) -> Any:
        if isinstance(images, jax.core.Tracer):
            z = network.encode_pure(network.variables, images)
            return network.decode_pure(network.variables, z)
        return network.decode(network.encode(images))

    return run


def side_by_side(
    sides: list[Callable[[np.ndarray], Any]],
) -> tuple[list[np.ndarray], list[float]]:
    """Outputs of all images and median milliseconds per batch, side by side.

    The third side, which is no faster than the first, gets only some of the batches.
    """
    first = next(photographs())
    for side in sides:
        side(first)
    outputs, seconds = [[] for _ in sides], [[] for _ in sides]
    for batch, images in enumerate(photographs()):
        for number, side in enumerate(sides if batch < TIMED else sides[:2]):
            start = time.perf_counter()
            outputs[number].append(np.asarray(side(images)))
            seconds[number].append(time.perf_counter() - start)
    medians = [1e3 * float(np.median(values[:TIMED])) for values in seconds]
    return [np.concatenate(values) for values in outputs], medians


if __name__ == "__main__":
    main(sys.argv[1:])
