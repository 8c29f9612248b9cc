"""Whether training made swaps worse, read from held-out latents by probes of z."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from iin_jax.concepts.probes import common_classes, fitted_probe, known_rows
from iin_jax.data.values import MISSING
from iin_jax.factors import FactorLayout
from iin_jax.interpreter import Interpreter
from iin_jax.prepared import PreparedLatents
from iin_jax.training.flow_training import Trained

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

SWAPS = 1000  # swaps per concept, of unlike classes or not


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOutSwaps:
    """Swaps of one concept at a time between held-out latents of unlike classes.

    Attributes:
      layout: names and sizes of the factors.
      z: (m, N), the flow's training latents, which probes are trained on, too.
      seen: concept -> rows of these, and their classes.
      z_a, z_b: (n, N), latents that are changed, and those that give the factor.
      classes: concept -> (n,), the class of z_b; ``MISSING`` where z_a has the same, or
        one of them is not known.
    """

    layout: FactorLayout
    z: np.ndarray
    seen: Mapping[str, tuple[np.ndarray, np.ndarray]]
    z_a: np.ndarray
    z_b: np.ndarray
    classes: Mapping[str, np.ndarray]

    @classmethod
    def of(
        cls,
        train: PreparedLatents,
        held_out: PreparedLatents,
        layout: FactorLayout,
        seed: int,
    ) -> "HeldOutSwaps | None":
        """None without a concept that has classes, some of both sides in common."""
        rng = np.random.default_rng([seed, 0x5A9])
        a, b = (rng.integers(len(held_out.mean), size=SWAPS) for _ in range(2))
        unseen, seen, classes = held_out.pairs(seed), {}, {}
        for name, pairs in train.pairs(seed).items():
            codes = common_classes(pairs, unseen[name]) if layout[name] else None
            if codes is None:
                continue
            rows = known_rows(codes[0], rng)
            first, second = codes[1][a], codes[1][b]
            unlike = (first != second) & (first != MISSING)
            if len(np.unique(codes[0][rows])) > 1 and (second[unlike] != MISSING).any():
                seen[name] = rows, codes[0][rows]
                classes[name] = np.where(unlike, second, MISSING)
        if not seen:
            return None
        z_a, z_b = held_out.mean[a], held_out.mean[b]
        return cls(layout, train.mean, seen, z_a, z_b, classes)

    @functools.cached_property
    def _probes(self) -> dict[str, "Pipeline"]:
        return {
            name: fitted_probe(self.z[rows], codes)
            for name, (rows, codes) in self.seen.items()
        }

    def __call__(self, trained: Trained) -> np.ndarray:
        """Which swaps through T have the other's class, 1 or 0 each, all concepts."""
        it = Interpreter(trained.flow, trained.variables, self.layout, None, 0.5)
        translated_a, translated_b = it.translate(self.z_a), it.translate(self.z_b)
        right = []
        for name, codes in self.classes.items():
            swapped = self.layout.swap(translated_a, translated_b, [name])
            known = codes != MISSING
            z = np.asarray(it.untranslate(swapped))[known]
            right.append(self._probes[name].predict(z) == codes[known])
        return np.concatenate(right).astype(float)
