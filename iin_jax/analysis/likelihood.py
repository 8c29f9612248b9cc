"""Marginal likelihood of latents through T, beside that of a fitted Gaussian."""

import dataclasses

import numpy as np

from iin_jax.analysis.base import Evidence, Record, Section, Table
from iin_jax.concepts.whitening import fit_whitening
from iin_jax.latents import LatentCache
from iin_jax.losses import bits_per_dim

MAX_LATENTS = 8192  # most latents on either side


@dataclasses.dataclass(frozen=True)
class LikelihoodRecord(Record):
    """Negative log-likelihoods of posterior samples, in bits per dimension.

    Attributes:
      train, test: mean through T, over training and test latents.
      gaussian_train, gaussian_test: mean under a Gaussian fitted to the training
        latents.
      train_latents, test_latents: numbers of latents behind the means.
    """

    key = "nll_bits_per_dim"

    train: float
    gaussian_train: float
    train_latents: int
    test: float
    gaussian_test: float
    test_latents: int


class LikelihoodAnalysis:
    """Measures the marginal likelihood of training and test latents."""

    record = LikelihoodRecord

    def measure(self, evidence: Evidence) -> LikelihoodRecord:
        rng = np.random.default_rng([evidence.seed, 0xB175])
        train = _sample(evidence.train.latents, rng)
        test = _sample(evidence.test.latents, rng)
        gaussian, interpreter = fit_whitening(train), evidence.interpreter

        def through(z: np.ndarray) -> float:
            nll = -float(interpreter.log_prob(z).mean())
            return float(bits_per_dim(nll, interpreter.layout.dim))

        return LikelihoodRecord(
            through(train),
            gaussian.bits_per_dim(train),
            len(train),
            through(test),
            gaussian.bits_per_dim(test),
            len(test),
        )

    def section(self, record: LikelihoodRecord) -> Section:
        def row(name: str, train: float, test: float) -> list[str]:
            return [name, f"{train:.3f}", f"{test:.3f}"]

        gaussian = "a Gaussian fitted to the training latents"
        rows = [
            row("through T", record.train, record.test),
            row(gaussian, record.gaussian_train, record.gaussian_test),
        ]
        note = (
            "Lower is better. Likelihoods of densities have no natural zero, so "
            "negative values are possible. T is trained on pairs, which is a different "
            "objective from this marginal likelihood."
        )
        title = "Likelihood of the latents, in bits per dimension"
        return Section(title, (), [Table(("", "train", "test"), rows)], [note])


def _sample(cache: LatentCache, rng: np.random.Generator) -> np.ndarray:
    """One posterior sample of at most 8,192 random entries, (n, N) float32."""
    entries = np.sort(rng.permutation(len(cache.mean))[:MAX_LATENTS])
    std = np.exp(0.5 * cache.log_var[entries])
    noise = rng.standard_normal(std.shape).astype(np.float32)
    return cache.mean[entries] + std * noise
