"""Distances between two sets of feature vectors, as pure functions in float64.

Sources: Heusel et al., 2017 (arXiv 1706.08500) for the Fréchet distance of features;
Binkowski et al., 2018 (arXiv 1801.01401) for the kernel distance.
"""

import numpy as np

BLOCK = 1000  # most vectors of either set per block of the kernel distance
LEAST_BLOCKS = 10  # fewest blocks, unless a set is too small for two vectors in each
MOST_BLOCKS = 100  # most blocks


def frechet(
    mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray
) -> float:
    """The squared Fréchet distance of two Gaussians, in float64.

    ``|mean_a - mean_b|^2 + tr(A) + tr(B) - 2 tr((A^1/2 B A^1/2)^1/2)``; the last trace
    is the sum of the singular values of ``A^1/2 B^1/2``, so that no root of a product
    is needed, which may come out complex where covariances are singular.

    Args:
      mean_a, mean_b: means, (D,).
      cov_a, cov_b: covariances, (D, D), symmetric, without negative eigenvalues beyond
        rounding.

    Returns:
      The squared distance, at least 0.

    Raises:
      ValueError: shapes that do not fit, or a matrix that is not a covariance.
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

    The estimate is a mean over disjoint random blocks of at most 1,000 vectors of
    either set. There are 10 to 100 blocks, fewer where a set has fewer than 20 vectors.

    Args:
      x, y: features, (n, D) and (m, D).
      seed: seed of the division into blocks.

    Returns:
      The distance, which may be negative, and its standard error; the error is None if
      there is a single block.

    Raises:
      ValueError: fewer than two vectors on a side, features of unequal length, or
        features that are not finite.
    """
    x, y = checked_features(x, y)
    smaller = min(len(x), len(y))
    blocks = min(max(smaller // BLOCK, LEAST_BLOCKS), smaller // 2, MOST_BLOCKS)
    rng = np.random.default_rng([seed, 0x1D])
    rows_x, rows_y = (
        np.array_split(rng.permutation(len(features)), blocks) for features in (x, y)
    )
    estimates = [
        squared_discrepancy(x[block_x[:BLOCK]], y[block_y[:BLOCK]])
        for block_x, block_y in zip(rows_x, rows_y, strict=True)
    ]
    if blocks == 1:
        return float(estimates[0]), None
    error = np.std(estimates, ddof=1) / np.sqrt(blocks)
    return float(np.mean(estimates)), float(error)


def squared_discrepancy(x: np.ndarray, y: np.ndarray) -> float:
    """``kernel_distance`` from one block of all vectors, x (n, D) and y (m, D)."""
    within = sum(
        (kernel.sum() - np.trace(kernel)) / (len(kernel) * (len(kernel) - 1))
        for kernel in (_kernel(x, x), _kernel(y, y))
    )
    return float(within - 2.0 * _kernel(x, y).mean())


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and covariance (D, D) of features (n, D)."""
    return x.mean(axis=0), np.atleast_2d(np.cov(x, rowvar=False))


def checked_features(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sets of features in float64.

    Args:
      x, y: features, (n, D) and (m, D).

    Raises:
      ValueError: fewer than two vectors on a side, features of unequal length, or
        features that are not finite.
    """
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
    """Kernel values (n, m) between x (n, D) and y (m, D)."""
    return (x @ y.T / x.shape[1] + 1.0) ** 3


def _spectrum(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (D,), those within rounding as 0, and eigenvectors (D, D).

    Raises:
      ValueError: a matrix that is not finite, not symmetric, or has negative
        eigenvalues beyond rounding.
    """
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
