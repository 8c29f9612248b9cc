"""A classifier's answers after one factor of its latents is replaced."""

import zlib
from typing import NamedTuple

import jax
import numpy as np

from iin_jax.factors import FactorLayout
from iin_jax.interpreter import Interpreter
from iin_jax.types import Latents

DONORS = 8  # values that each latent gets
RANKED = 64  # latents on which random subspaces are compared
SUBSPACES = 200  # random subspaces
ROWS = 4096  # edits that are decoded at once, as far as whole subspaces allow


class Answers(NamedTuple):
    """Log-probabilities of classes before, (n, C), and after edits, (D, n, C)."""

    before: np.ndarray
    after: np.ndarray

    @property
    def changes(self) -> np.ndarray:
        """Changes of the log-probabilities, (D, n, C)."""
        return self.after - self.before

    @property
    def divergence(self) -> np.ndarray:
        """Kullback-Leibler divergence of each answer from the old one, nats, (D, n)."""
        return -(np.exp(self.before) * self.changes).sum(axis=-1)

    @property
    def flipped(self) -> np.ndarray:
        """Whether the prediction changed, (D, n)."""
        return self.after.argmax(-1) != self.before.argmax(-1)


class Effects(NamedTuple):
    """How much some edits change, one entry per edit of the same latents.

    Attributes:
      divergence: mean over latents of ``Answers.divergence``, (edits,).
      by_class: mean square of the changes of each log-probability, (edits, C).
    """

    divergence: np.ndarray
    by_class: np.ndarray


class FactorEdits:
    """Edits of one factor at a time of the same latents, and what G answers.

    Every draw depends on the seed and on what it is for, on no earlier one.

    Args:
      interpreter: T, its layout and a classifier.
      z_tilde: (n, N), n >= 2.
      seed: of donors, prior and subspaces.
    """

    def __init__(self, interpreter: Interpreter, z_tilde: Latents, seed: int):
        self.interpreter, self.seed = interpreter, seed
        self.z_tilde = np.asarray(z_tilde)
        self.donors = self._donors()
        self.before = self._answer(self.z_tilde)
        self._random: dict[int, Effects] = {}

    @property
    def layout(self) -> FactorLayout:
        """Names and sizes of the factors."""
        return self.interpreter.layout

    def rng(self, purpose: str, number: int = 0) -> np.random.Generator:
        """The generator of one purpose."""
        return np.random.default_rng([self.seed, zlib.crc32(purpose.encode()), number])

    def replaced(self, name: str) -> Answers:
        """Answers with a factor's values in other latents, those of ``donors``."""
        return self._with_factor(name, self.z_tilde[self.donors])

    def drawn(self, name: str) -> Answers:
        """Answers with a factor drawn from N(0, 1)."""
        shape = (len(self.donors), len(self.z_tilde), self.layout[name])
        values = np.broadcast_to(self.z_tilde, (*shape[:2], self.layout.dim)).copy()
        drawn = self.rng(f"prior of {name}").standard_normal(shape, np.float32)
        values[..., self.layout.slice(name)] = drawn
        return self._with_factor(name, values)

    def by_donor(self, answers: Answers) -> np.ndarray:
        """Mean change that each latent makes as the donor of others, (n, C)."""
        result = np.zeros_like(self.before)
        for donors, changes in zip(self.donors, answers.changes, strict=True):
            result[donors] += changes
        return result / len(self.donors)

    def effects(self, answers: Answers) -> Effects:
        """What ``replaced`` changes on the latents and donors of ``random_effects``."""
        return _effects(Answers(self.before[:RANKED], answers.after[:1, :RANKED]))

    def random_effects(self, size: int) -> Effects:
        """Effects of random subspaces in place of a factor of so many dimensions."""
        if size not in self._random:
            self._random[size] = self._random_effects(size)
        return self._random[size]

    def _random_effects(self, size: int) -> Effects:
        before, own = self.before[:RANKED], self.z_tilde[:RANKED]
        changes = self.z_tilde[self.donors[0, :RANKED]] - own
        rng, parts = self.rng("subspaces", size), []
        at_once = max(1, ROWS // len(own))
        for first in range(0, SUBSPACES, at_once):
            edited = [
                own + (changes @ basis) @ basis.T
                for basis in (
                    _subspace(self.layout.dim, size, rng)
                    for _ in range(min(at_once, SUBSPACES - first))
                )
            ]
            parts.append(_effects(Answers(before, self._answers(np.stack(edited)))))
        return Effects(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def _with_factor(self, name: str, values: np.ndarray) -> Answers:
        edited = np.asarray(self.layout.swap(self.z_tilde, values, [name]))
        return Answers(self.before, self._answers(edited))

    def _answers(self, edited: np.ndarray) -> np.ndarray:
        """Log-probabilities (D, n, C) of latents z_tilde (D, n, N)."""
        answers = self._answer(edited.reshape(-1, edited.shape[-1]))
        return answers.reshape(*edited.shape[:2], -1)

    def _answer(self, z_tilde: Latents) -> np.ndarray:
        z = self.interpreter.untranslate(z_tilde)
        return np.asarray(jax.nn.log_softmax(self.interpreter.decode(z)), np.float64)

    def _donors(self) -> np.ndarray:
        """Donors of each latent, (D, n): others, each as often as any, none twice."""
        count, rng = len(self.z_tilde), self.rng("donors")
        order = rng.permutation(count)
        shifts = 1 + rng.permutation(count - 1)[:DONORS]
        donors = np.empty((len(shifts), count), np.int64)
        for row, shift in zip(donors, shifts, strict=True):
            row[order] = np.roll(order, -shift)
        return donors


def _effects(answers: Answers) -> Effects:
    return Effects(
        answers.divergence.mean(axis=1), np.square(answers.changes).mean(axis=1)
    )


def _subspace(dim: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """An orthonormal basis (dim, size) of a subspace that is as likely as any."""
    return np.linalg.qr(rng.standard_normal((dim, size)))[0].astype(np.float32)
