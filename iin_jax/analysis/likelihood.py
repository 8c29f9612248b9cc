"""How likely latents are through T, beside a Gaussian."""

import dataclasses

import numpy as np

from iin_jax.analysis.base import Evidence, Record, Section, Table
from iin_jax.concepts.whitening import fit_whitening
from iin_jax.latents import LatentCache
from iin_jax.losses import bits_per_dim

MOST = 8192  # latents on either side, at most


@dataclasses.dataclass(frozen=True)
class LikelihoodRecord(Record):
    """Bits per dimension of posterior samples.

    Attributes:
      train, test: through T.
      gaussian_train, gaussian_test: under a Gaussian fitted to the training latents.
      train_latents, test_latents: how many these stand on.
    """

    key = "nll_bits_per_dim"

    train: float
    gaussian_train: float
    train_latents: int
    test: float
    gaussian_test: float
    test_latents: int


class LikelihoodAnalysis:
    """The marginal likelihood, on training and test latents."""

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
            "Lower is better. These are densities, so the zero means nothing and a "
            "negative value is no mistake. T is trained on pairs, which is another "
            "goal than this marginal likelihood."
        )
        title = "Likelihood of the latents, in bits per dimension"
        return Section(title, (), [Table(("", "train", "test"), rows)], [note])


def _sample(cache: LatentCache, rng: np.random.Generator) -> np.ndarray:
    entries = np.sort(rng.permutation(len(cache.mean))[:MOST])
    std = np.exp(0.5 * cache.log_var[entries])
    noise = rng.standard_normal(std.shape).astype(np.float32)
    return cache.mean[entries] + std * noise
