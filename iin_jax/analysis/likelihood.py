"""Marginal likelihood of latents through T, beside that of a fitted Gaussian."""

import dataclasses

import numpy as np

from iin_jax.analysis.base import Evidence, Finding, Record, Section, Table
from iin_jax.concepts.whitening import fit_whitening
from iin_jax.latents import LatentCache
from iin_jax.losses import bits_per_dim

MAX_LATENTS = 8192  # most latents on either side

TOLERANCE = 0.02  # excess bits per dimension over the Gaussian that says nothing


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
            "Bits per dimension are the negative logarithm (base 2) of the density "
            "that a model gives a latent, over the N numbers of z. Lower is better. "
            "Likelihoods of densities have no natural zero, so negative values are "
            "possible. T is trained on pairs, which is a different objective from this "
            "marginal likelihood."
        )
        title = "Likelihood of the latents, in bits per dimension"
        head = ("", f"{record.train_latents} training latents")
        table = Table((*head, f"{record.test_latents} test latents"), rows)
        return Section(title, (), [table], [note], findings=[_finding(record)])


def _finding(record: LikelihoodRecord) -> Finding:
    """Whether T describes unseen latents better than a Gaussian."""
    figures = (
        f"({record.test:.2f} against {record.gaussian_test:.2f} bits per dimension, "
        "lower is better)"
    )
    gained = record.gaussian_test - record.test
    if gained > TOLERANCE:
        return Finding(
            "holds",
            f"T describes the density of unseen z better than a Gaussian {figures}.",
        )
    if gained >= -TOLERANCE:
        return Finding(
            "in part",
            f"T describes the density of unseen z no better than a Gaussian {figures}.",
        )
    return Finding(
        "fails", f"T describes the density of unseen z worse than a Gaussian {figures}."
    )


def _sample(cache: LatentCache, rng: np.random.Generator) -> np.ndarray:
    """One posterior sample of at most 8,192 random entries, (n, N) float32."""
    entries = np.sort(rng.permutation(len(cache.mean))[:MAX_LATENTS])
    if cache.log_var is None:
        return cache.mean[entries]
    std = np.exp(0.5 * cache.log_var[entries])
    noise = rng.standard_normal(std.shape).astype(np.float32)
    return cache.mean[entries] + std * noise
