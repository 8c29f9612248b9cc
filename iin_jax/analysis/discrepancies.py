"""Distances between two sets of vectors; pure arrays, float64.

Sources: Heusel et al., 2017 (arXiv 1706.08500) for the Fréchet distance of features;
Binkowski et al., 2018 (arXiv 1801.01401) for the kernel distance.
"""

import numpy as np

BLOCK = 1000  # vectors of either set per estimate of the kernel distance, at most
LEAST_BLOCKS, MOST_BLOCKS = 10, 100


def frechet(
    mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray
) -> float:
    """The squared Fréchet distance of two Gaussians, in float64.

    ``|mean_a - mean_b|^2 + tr(A) + tr(B) - 2 tr((A^1/2 B A^1/2)^1/2)``; the last trace
    is the sum of the singular values of ``A^1/2 B^1/2``, so that no root of a product
    is needed, which may come out complex where covariances are singular.

    Args:
      mean_a, mean_b: (D,).
      cov_a, cov_b: (D, D), symmetric.

    Raises:
      ValueError: shapes that do not fit, or a matrix that is no covariance.
    """
    dim = np.shape(mean_a)[0]
    shapes = [np.shape(array) for array in (mean_a, mean_b, cov_a, cov_b)]
    if shapes != [(dim,), (dim,), (dim, dim), (dim, dim)]:
        raise ValueError(
            "two means (D,) and two covariances (D, D) are compared; got "
            f"{shapes[0]}, {shapes[1]} and {shapes[2]}, {shapes[3]}"
        )
    shift = np.asarray(mean_a, np.float64) - np.asarray(mean_b, np.float64)
    values_a, vectors_a = _spectrum(cov_a)
    values_b, vectors_b = _spectrum(cov_b)
    product = np.sqrt(values_a)[:, None] * (vectors_a.T @ vectors_b) * np.sqrt(values_b)
    root_trace = np.linalg.svd(product, compute_uv=False).sum()
    total = shift @ shift + values_a.sum() + values_b.sum() - 2.0 * root_trace
    return max(float(total), 0.0)


def kernel_distance(
    x: np.ndarray, y: np.ndarray, *, seed: int = 0
) -> tuple[float, float | None]:
    """Unbiased squared maximum mean discrepancy, kernel ``(x . y / D + 1)^3``.

    The mean over disjoint random blocks of either set, of at most 1,000 each: 10 blocks
    at least where there are images for it, 100 at most.

    Args:
      x, y: features, (n, D) and (m, D).
      seed: of the blocks.

    Returns:
      The distance and its standard error, None if there is a single block.

    Raises:
      ValueError: fewer than two images, or features of another length or not finite.
    """
    x, y = checked_features(x, y)
    fewest = min(len(x), len(y))
    blocks = min(max(fewest // BLOCK, LEAST_BLOCKS), fewest // 2, MOST_BLOCKS)
    rng = np.random.default_rng([seed, 0x1D])
    rows_x, rows_y = (
        np.array_split(rng.permutation(len(features)), blocks) for features in (x, y)
    )
    estimates = [
        squared_discrepancy(x[some_x[:BLOCK]], y[some_y[:BLOCK]])
        for some_x, some_y in zip(rows_x, rows_y, strict=True)
    ]
    if blocks == 1:
        return float(estimates[0]), None
    error = np.std(estimates, ddof=1) / np.sqrt(blocks)
    return float(np.mean(estimates)), float(error)


def squared_discrepancy(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased estimate of ``kernel_distance`` from all of x (n, D), y (m, D)."""
    within = sum(
        (kernel.sum() - np.trace(kernel)) / (len(kernel) * (len(kernel) - 1))
        for kernel in (_kernel(x, x), _kernel(y, y))
    )
    return float(within - 2.0 * _kernel(x, y).mean())


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and covariance (D, D) of features (n, D)."""
    return x.mean(axis=0), np.atleast_2d(np.cov(x, rowvar=False))


def checked_features(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both in float64; raises ValueError unless they are two sets that compare."""
    x, y = (np.asarray(features, np.float64) for features in (x, y))
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(
            f"features have shapes (n, D) and (m, D); got {x.shape} and {y.shape}"
        )
    if min(len(x), len(y)) < 2:
        raise ValueError(
            f"a distance needs two images on either side; got {len(x)} and {len(y)}"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("the features contain NaN or infinite values")
    return x, y


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1.0) ** 3


def _spectrum(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, 0 where they are rounding alone, and eigenvectors."""
    covariance = np.asarray(covariance, np.float64)
    largest = np.abs(covariance).max(initial=0.0)
    if not np.isfinite(largest):
        raise ValueError("a covariance has NaN or infinite entries")
    values, vectors = np.linalg.eigh(covariance)
    symmetric = np.abs(covariance - covariance.T).max(initial=0.0) <= 1e-6 * largest
    if not symmetric or values.min(initial=0.0) < -1e-6 * largest:
        raise ValueError(
            "a covariance is symmetric, without negative eigenvalues; got "
            f"{values.min(initial=0.0):.3g} as the least"
        )
    rounding = len(values) * np.finfo(np.float64).eps * largest
    return np.where(values > rounding, values, 0.0), vectors
