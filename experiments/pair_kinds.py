"""Pairs of every kind on problems of known truth: ``python -m experiments.pair_kinds``.

Normal factors are mixed by a nonlinear invertible map, pairs of one kind are drawn, and
T is trained on them. A factor is found as far as a kernel regression predicts the true
factor from T's factor of that name: the share of its variance (R^2), on latents that
neither saw. Beside T stand T_0, the start without the flow, under the same regression,
and what no linear method can pass, a linear regression of the true factor on all of z.
"""

import argparse
import dataclasses
import json
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression

import iin_jax
from iin_jax.command_line import exit_status
from iin_jax.factors import FactorLayout
from iin_jax.interpreter import Interpreter
from iin_jax.losses import Loss, mixture_loss
from iin_jax.networks import from_functions

LAYOUT = FactorLayout({"shape": 2, "colour": 2, "residual": 2})
PERSONS = FactorLayout({"person": 2, "residual": 4})
PER_PERSON = 4  # images of each person
BEND = 0.5  # deviation of what the mixing adds to each unit component
WAVE = 1.5  # norm of the waves' directions: how often they turn
FITTED, JUDGED = 2500, 1500  # latents that the regression is fitted to, and judged by
SHARP = 0.99  # similarity of the pairs of which some are wrong
WRONG = 0.2  # share of them

Generator = np.random.Generator


def mixed(factors: np.ndarray, seed: int) -> np.ndarray:
    """Normal factors (n, N) to latents (n, N), by a nonlinear invertible map.

    Waves of the second half of the components are added to the first, waves of these
    to the second, then all are turned: an exact inverse exists, a linear one does not.

    Args:
      factors: standard normal, N even.
      seed: of the map.
    """
    rng = np.random.default_rng([seed, 0x317])
    x, dim = factors.copy(), factors.shape[1]
    first, second = np.arange(dim // 2), np.arange(dim // 2, dim)
    for moved, by in ((first, second), (second, first)):
        directions = rng.standard_normal((len(by), len(moved)))
        directions *= WAVE / np.linalg.norm(directions, axis=0)
        phases = rng.uniform(0, 2 * np.pi, len(moved))
        x[:, moved] += BEND * np.sqrt(2) * np.sin(x[:, by] @ directions + phases)
    turn = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    return (x @ turn).astype(np.float32)


def agree_in_one(rng: Generator, count: int) -> np.ndarray:
    """Masks (n, 3): each pair shares one of the two concepts."""
    return np.eye(3, dtype=bool)[rng.integers(0, 2, count)]


def agree_in_several(rng: Generator, count: int) -> np.ndarray:
    """Masks (n, 3): each pair shares the first concept, the second, or both."""
    kinds = np.array([[True, False, False], [False, True, False], [True, True, False]])
    return kinds[rng.integers(0, 3, count)]


def differ_in_one(rng: Generator, count: int) -> np.ndarray:
    """Masks (n, 3): each pair differs in one concept, and shares all the rest."""
    return ~agree_in_one(rng, count)


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of pairs, and how T is trained on them.

    Attributes:
      masks: what each pair shares; None: all images of a person, by labels.
      similar: true similarity of a shared factor, one per factor.
      wrong: share of pairs that share nothing, whatever their mask says.
      sigma: what T is trained with; None: learned.
      loss: as in ``fit``.
    """

    masks: Callable[[Generator, int], np.ndarray] | None
    similar: tuple[float, ...] = (0.95, 0.95, 0.95)
    wrong: float = 0.0
    sigma: float | None = 0.95
    loss: Loss | None = None

    @property
    def layout(self) -> FactorLayout:
        """Names and sizes of the true factors."""
        return PERSONS if self.masks is None else LAYOUT


KINDS: dict[str, Kind] = {
    "agree in one": Kind(agree_in_one),
    "agree in several": Kind(agree_in_several),
    "differ in one": Kind(differ_in_one),
    "all images of a person": Kind(None),
    "similarity learned": Kind(agree_in_one, (0.95, 0.7, 0.5), sigma=None),
    "a fifth wrong, likelihood": Kind(agree_in_one, (SHARP,) * 3, WRONG, SHARP),
    "a fifth wrong, mixture": Kind(
        agree_in_one, (SHARP,) * 3, WRONG, SHARP, mixture_loss(WRONG)
    ),
    "a fifth wrong at 0.95, likelihood": Kind(agree_in_one, wrong=WRONG),
    "a fifth wrong at 0.95, mixture": Kind(
        agree_in_one, wrong=WRONG, loss=mixture_loss(WRONG)
    ),
}


def pairs(
    kind: Kind, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True factors of both halves, (n, N) each, and masks (n, K+1).

    Args:
      kind: with masks.
      count: n.
      seed: of the pairs.

    Raises:
      ValueError: a kind whose pairs come from labels.
    """
    if kind.masks is None:
        raise ValueError("pairs of this kind come from labels")
    rng = np.random.default_rng([seed, 0x5A1])
    shared = kind.masks(rng, count)
    a, b = rng.standard_normal((2, count, kind.layout.dim))
    alike = shared & (rng.random((count, 1)) >= kind.wrong)
    rho = np.where(alike, kind.similar, 0.0)[:, kind.layout.factor_of_dim]
    return a, rho * a + np.sqrt(1 - rho**2) * b, shared


def persons(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """True factors (n, N) of persons' images, and who is on each, (n,).

    Args:
      count: n, all images.
      seed: of the images.
    """
    rng = np.random.default_rng([seed, 0x5E7])
    factors = rng.standard_normal((count, PERSONS.dim))
    person, columns = np.arange(count) // PER_PERSON, PERSONS.slice("person")
    rho = KINDS["all images of a person"].similar[0]
    common = rng.standard_normal((person.max() + 1, PERSONS["person"]))[person]
    own = np.sqrt(1 - rho) * factors[:, columns]
    factors[:, columns] = np.sqrt(rho) * common + own
    return factors, person


def trained(kind: Kind, count: int, seed: int, **training: Any) -> Interpreter:
    """T of pairs of a kind.

    Args:
      kind: of the pairs.
      count: number of pairs; of persons' images twice as many.
      seed: of the mixing, the pairs and the training.
      training: fields of ``iin_jax.Training``.
    """
    options = {"loss": kind.loss, "sigma": kind.sigma, "seed": seed, "progress": False}
    options |= training
    if kind.masks is None:
        factors, person = persons(2 * count, seed)
        z, layout = mixed(factors, seed), kind.layout
        most = float(np.abs(z).max())
        network = from_functions(
            encode=lambda scale, images: scale["z"] * images.reshape(-1, layout.dim),
            decode=lambda scale, z: (z / scale["z"]).reshape(-1, 1, layout.dim, 1),
            variables={"z": np.float32(most)},
            image_shape=(1, layout.dim, 1),
        )
        images = np.clip(z / most, -1, 1)[:, None, :, None]
        labels = {"person": person}
        return iin_jax.interpret(network, images, labels, layout=layout, **options)
    a, b, shared = pairs(kind, count, seed)
    halves = mixed(a, seed), mixed(b, seed)
    return iin_jax.fit(*halves, shared, kind.layout, **options)


def explained(interpreter: Interpreter, seed: int) -> dict[str, float]:
    """Factor -> R^2 of the true factor given T's, on latents of its own draw."""
    layout = interpreter.layout
    factors = _fresh(layout.dim, seed)
    parts = interpreter.to_factors(mixed(factors, seed))
    result = {}
    for name, part in parts.items():
        inputs = np.asarray(part, np.float64)
        inputs = (inputs - inputs.mean(0)) / inputs.std(0)
        settings: Any = {"kernel": "rbf", "alpha": 0.01, "gamma": 0.3 / layout[name]}
        regression = KernelRidge(**settings)
        result[name] = _score(regression, inputs, factors[:, layout.slice(name)])
    return result


def linear_bound(layout: FactorLayout, seed: int) -> dict[str, float]:
    """Factor -> R^2 of the true factor under a linear regression on all of z."""
    factors = _fresh(layout.dim, seed)
    z = mixed(factors, seed)
    targets = {name: factors[:, layout.slice(name)] for name in layout.names}
    return {name: _score(LinearRegression(), z, x) for name, x in targets.items()}


def _fresh(dim: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, 0x7E5])
    return rng.standard_normal((FITTED + JUDGED, dim))


def _score(regression: Any, inputs: np.ndarray, targets: np.ndarray) -> float:
    regression.fit(inputs[:FITTED], targets[:FITTED])
    error = np.square(regression.predict(inputs[FITTED:]) - targets[FITTED:]).mean()
    return float(1 - error / targets[FITTED:].var(axis=0).mean())


def row(name: str, count: int, seed: int, **training: Any) -> dict[str, Any]:
    """One line of the table: R^2 of T, T_0 and the linear bound, and similarities."""
    kind, begin = KINDS[name], time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        interpreter = trained(kind, count, seed, **training)
    seconds = time.perf_counter() - begin
    figures: Mapping[str, Any] = {
        "T": _rounded(explained(interpreter, seed)),
        "T_0": _rounded(explained(interpreter.without_flow(), seed)),
        "linear": _rounded(linear_bound(kind.layout, seed)),
    }
    sigma = [round(x, 3) for x in np.ravel(np.asarray(interpreter.sigma)).tolist()]
    beside = {"sigma": sigma, "seconds": round(seconds)}
    return {"pairs": name, "seed": seed, **figures, **beside}


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(x, 3) for name, x in values.items()}


def main(arguments: list[str]) -> int:
    """The command line; prints one line of JSON per kind and seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--pairs", type=int, default=4000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, help="default: as suits")
    parser.add_argument("--batch", type=int, default=128)
    options = parser.parse_args(arguments)
    for name in options.kinds:
        for seed in options.seeds:
            training = {"steps": options.steps, "batch_size": options.batch}
            line = row(name, options.pairs, seed, **training)
            print(json.dumps(line), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
