"""Latents in common units: standardised, then whitened by a shrunk correlation."""

import dataclasses

import numpy as np
from sklearn.covariance import ledoit_wolf_shrinkage

from iin_jax.flows.linear_start import DEAD_SPREAD, LEAST_VARIANCE
from iin_jax.types import Latents

SHRINKAGE_LATENTS = 8192  # most latents that the shrinkage is estimated from


@dataclasses.dataclass(frozen=True)
class Whitening:
    """``w = U Lambda^(-1/2) U^T ((z - mean) / scale)``.

    The symmetric root leaves no rotation open, so that latents in other units have the
    same w.

    Attributes:
      mean, scale: (N,) of the components.
      axes: U, (N, N), eigenvectors of the shrunk correlation matrix in columns.
      variances: Lambda, (N,), its eigenvalues.
    """

    mean: np.ndarray
    scale: np.ndarray
    axes: np.ndarray
    variances: np.ndarray

    def __call__(self, z: Latents) -> np.ndarray:
        """w (n, N), float64."""
        unit = (np.asarray(z, np.float64) - self.mean) / self.scale
        return (unit @ self.axes / np.sqrt(self.variances)) @ self.axes.T


def fit_whitening(
    z: Latents, *, spread: Latents | None = None, image: np.ndarray | None = None
) -> Whitening:
    """Standardises every component, then whitens their correlations.

    Components that never vary keep their unit, and correlate with nothing. Ledoit and
    Wolf's shrinkage towards the identity makes it work for fewer latents than N.

    Args:
      z: (n, N); a posterior's mean.
      spread: (n, N), variance of each posterior; None: these latents have none.
      image: (n,), which image each latent is of: the shrinkage counts an image once.

    Raises:
      ValueError: a single latent.

    Source: Ledoit and Wolf, 2004.
    """
    z = np.asarray(z, np.float64)
    if len(z) < 2:
        raise ValueError(
            f"latents of one image have no spread to whiten; got {len(z)} latent"
        )
    mean, variance = z.mean(axis=0), z.var(axis=0)
    extra = 0.0 if spread is None else np.asarray(spread, np.float64).mean(axis=0)
    dead = np.sqrt(variance) <= DEAD_SPREAD * np.abs(z).max(axis=0)
    scale = np.where(dead, 1.0, np.sqrt(variance + extra))
    unit = np.where(dead, 0.0, (z - mean) / scale)
    correlation = unit.T @ unit / len(z)
    np.fill_diagonal(correlation, 1.0)
    shrinkage = _shrinkage(unit[:, ~dead], image)
    live = np.outer(~dead, ~dead) & ~np.eye(len(mean), dtype=bool)
    correlation[live] *= 1.0 - shrinkage
    variances, axes = np.linalg.eigh(correlation)
    return Whitening(mean, scale, axes, np.maximum(variances, LEAST_VARIANCE))


def _shrinkage(unit: np.ndarray, image: np.ndarray | None) -> float:
    if image is not None:
        unit = unit[np.unique(image, return_index=True)[1]]
    if unit.shape[1] < 2 or len(unit) < 2:
        return 0.0
    step = -(-len(unit) // SHRINKAGE_LATENTS)
    shrinkage = float(ledoit_wolf_shrinkage(unit[::step]))
    return shrinkage / step  # it falls as the number of latents grows
