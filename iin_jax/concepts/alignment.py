"""All concepts at once: an orthogonal matrix that gives each its own directions."""

import itertools
from collections.abc import Mapping

import numpy as np

from iin_jax.concepts.shared_directions import SharedDirections, signed

ROUNDS = 200  # most rounds of the alignment
CLOSE = 1e-7  # largest change of an entry of Q at which the rounds end
OVERLAP = 0.3  # least singular value of two concepts' directions that are apart
SIMILAR = 0.25  # least eigenvalue of a direction that a concept clearly has
SHIFT = 1e-3  # multiple of the identity that gives a form full rank; moves no maximum
SIMILARITY = (0.05, 0.99)  # bounds of a similarity that follows from eigenvalues


def aligned(
    directions: Mapping[str, SharedDirections],
    sizes: Mapping[str, int],
    dim: int,
    last: np.ndarray | None = None,
) -> tuple[np.ndarray, dict[str, float]]:
    """Maximises ``sum_k weight_k tr(Q_k^T C_k Q_k)`` over orthogonal Q.

    Every concept's weight is ``N_k sigma_k / (1 - sigma_k^2)``, with sigma_k the mean
    of its leading eigenvalues.

    Args:
      directions: concept -> what its pairs share.
      sizes: concept -> its number of dimensions; they sum to N at most.
      dim: N.
      last: (N, m), orthonormal directions that stand last in the residual; None: none.

    Returns:
      Q (N, N): the concepts' columns in order, then the residual's; and concept ->
      similarity of its pairs in its own directions.

    Raises:
      ValueError: concepts that leave no room for the last directions.
    """
    names = [name for name, size in sizes.items() if size]
    similarity = {
        name: bounded_similarity(directions[name].values[: sizes[name]].mean())
        for name in names
    }
    q = np.zeros((dim, 0))
    last = np.zeros((dim, 0)) if last is None else last
    if sum(sizes.values()) + last.shape[1] > dim:
        raise ValueError(
            f"the concepts ask for {sum(sizes.values())} dimensions, but latents vary "
            f"in {dim - last.shape[1]} of {dim}: give smaller sizes"
        )
    if names:
        leading = [directions[name].vectors[:, : sizes[name]] for name in names]
        room = _complement(last)
        q = _polar(np.concatenate(leading, axis=1), room)
        weight = {name: sizes[name] * s / (1 - s * s) for name, s in similarity.items()}
        for _ in range(ROUNDS):
            parts = _parts(q, names, sizes)
            weighted = [
                weight[name] * (directions[name].matrix_times(part) + SHIFT * part)
                for name, part in zip(names, parts, strict=True)
            ]
            previous, q = q, _polar(np.concatenate(weighted, axis=1), room)
            if np.abs(q - previous).max() < CLOSE:
                break
        parts = [
            _ordered(directions[name], part)
            for name, part in zip(names, _parts(q, names, sizes), strict=True)
        ]
        similarity = {
            name: bounded_similarity(
                np.einsum("nd,nd->d", part, directions[name].matrix_times(part)).mean()
            )
            for name, part in zip(names, parts, strict=True)
        }
        q = np.concatenate(parts, axis=1)
    residual = _complement(np.concatenate([q, last], axis=1))
    return np.concatenate([q, residual, last], axis=1), similarity


def _parts(q: np.ndarray, names: list[str], sizes: Mapping[str, int]):
    bounds = np.cumsum([sizes[name] for name in names])[:-1]
    return np.split(q, bounds, axis=1)


def _ordered(directions: SharedDirections, part: np.ndarray) -> np.ndarray:
    """The same space, its most similar direction first."""
    inner = part.T @ directions.matrix_times(part)
    values, turn = np.linalg.eigh(0.5 * (inner + inner.T))
    return signed(part @ turn[:, np.argsort(-values)])


def _polar(matrix: np.ndarray, room: np.ndarray) -> np.ndarray:
    """The nearest orthonormal columns within a space, given by a basis (N, r)."""
    left, _, right = np.linalg.svd(room.T @ matrix, full_matrices=False)
    return room @ (left @ right)


def _complement(columns: np.ndarray) -> np.ndarray:
    """An orthonormal basis of all that is orthogonal to orthonormal columns (N, m)."""
    return np.linalg.qr(columns, mode="complete")[0][:, columns.shape[1] :]


def bounded_similarity(value: float) -> float:
    """A similarity that may follow from eigenvalues: from 0.05 to 0.99."""
    return float(np.clip(value, *SIMILARITY))


def overlaps(
    directions: Mapping[str, SharedDirections], sizes: Mapping[str, int]
) -> list[str]:
    """One line for every two concepts that clearly ask for the same directions."""
    clear = {
        name: directions[name].vectors[:, :size][
            :, directions[name].values[:size] > SIMILAR
        ]
        for name, size in sizes.items()
    }
    names = [name for name, part in clear.items() if part.size]
    lines = []
    for first, second in itertools.combinations(names, 2):
        joint = np.concatenate([clear[first], clear[second]], axis=1)
        least = np.linalg.svd(joint, compute_uv=False)[-1]
        if least < OVERLAP:
            lines.append(
                f"the concepts {first!r} and {second!r} overlap: their pairs share "
                f"some directions of z (least singular value {least:.2f} < {OVERLAP}), "
                "so that one factor will hold part of the other"
            )
    return lines
