"""Linear baselines of edits: straight moves of raw z, without any T."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from iin_jax.data.values import is_class, known_rows, plain
from iin_jax.files.hints import nearest
from iin_jax.types import Array, Latents


@dataclasses.dataclass(frozen=True, eq=False)
class ClassMeans:
    """Moves of a class attribute, by differences of class means.

    Attributes:
      classes: classes among the training latents, sorted, (k,).
      means: mean of z over the training latents of each class, (k, N).
    """

    classes: np.ndarray
    means: np.ndarray

    def move(self, value_a: np.ndarray, value_b: np.ndarray) -> Latents:
        """Class means of the new values less those of the old, (n, N).

        Args:
          value_a, value_b: old and new classes, (n,).

        Raises:
          ValueError: a class without training latents.
        """
        return self.means[self._indices(value_b)] - self.means[self._indices(value_a)]

    def knows(self, values: np.ndarray) -> np.ndarray:
        """Whether each class (n,) has training latents, bool (n,)."""
        return np.isin(values, self.classes)

    def _indices(self, values: np.ndarray) -> np.ndarray:
        """Index of each class (n,) in ``classes``; ValueError for an unknown class."""
        unknown = np.setdiff1d(values, self.classes)
        if len(unknown):
            raise ValueError(
                f"no training latent has the class {unknown[0]}; known: "
                f"{', '.join(map(str, self.classes[:20]))}"
            )
        return np.searchsorted(self.classes, values)


@dataclasses.dataclass(frozen=True, eq=False)
class RidgeDirections:
    """Moves of a real attribute, along directions of a ridge regression.

    Attributes:
      weights: weights of the ridge regression on standardised z, (d, N).
      step: the shortest move of standardised z that changes each of the d predictions
        by one and no other, times the standard deviations of z, (d, N).
    """

    weights: np.ndarray
    step: np.ndarray

    def knows(self, values: np.ndarray) -> np.ndarray:
        """True for every value, as a regression extrapolates; bool (n,)."""
        return np.ones(len(values), bool)

    def move(self, value_a: np.ndarray, value_b: np.ndarray) -> Latents:
        """Moves (n, N) that change the prediction by ``value_b - value_a``.

        Args:
          value_a, value_b: old and new values, (n,) or (n, d).
        """
        change = np.asarray(value_b, np.float64) - np.asarray(value_a, np.float64)
        return change.reshape(len(change), -1) @ self.step


@dataclasses.dataclass(frozen=True, eq=False)
class LinearEdits:
    """Edits of raw z: class-mean shifts and ridge directions, the usual baseline.

    Attributes:
      moves: attribute -> its fitted moves.
      counts: attribute -> number of training latents whose value is known.
    """

    moves: Mapping[str, ClassMeans | RidgeDirections]
    counts: Mapping[str, int]

    @classmethod
    def fit(
        cls, z_train: Array, values_train: Mapping[str, np.ndarray]
    ) -> "LinearEdits":
        """Fits the moves of every attribute.

        Args:
          z_train: latents (n, N), or of the network's own shape, which is flattened.
          values_train: attribute -> classes (n,), or real values (n,) or (n, d); rows
            that are masked or NaN are left out.

        Raises:
          ValueError: an attribute of another length than the latents, or with fewer
            than two known values.
        """
        z = np.asarray(z_train, np.float64).reshape(len(z_train), -1)
        moves: dict[str, ClassMeans | RidgeDirections] = {}
        counts = {}
        for name, values in values_train.items():
            if len(values) != len(z):
                raise ValueError(
                    f"{len(z)} latents need as many values of {name!r}; got "
                    f"{len(values)}"
                )
            rows = known_rows(values)
            counts[name] = int(rows.sum())
            if counts[name] < 2:
                raise ValueError(
                    f"a linear edit of {name!r} needs two latents whose value is "
                    f"known; got {counts[name]}"
                )
            fit = _class_means if is_class(values) else _ridge_directions
            moves[name] = fit(z[rows], plain(values)[rows])
        return cls(moves, counts)

    def edit(
        self, z_a: Array, name: str, value_a: np.ndarray, value_b: np.ndarray
    ) -> Array:
        """Moves z as if an attribute changed from ``value_a`` to ``value_b``.

        Args:
          z_a: latents (n, N), or of the network's own shape.
          name: the attribute.
          value_a, value_b: known values, (n,) or (n, d).

        Returns:
          The edited latents, in the shape and dtype of ``z_a``.

        Raises:
          ValueError: an attribute without a fit, or a class without training latents.
        """
        if name not in self.moves:
            raise ValueError(
                f"no linear edit of {name!r} was fitted{nearest(name, self.moves)}"
            )
        z_a = np.asarray(z_a)
        move = self.moves[name].move(value_a, value_b)
        return z_a + move.reshape(z_a.shape).astype(z_a.dtype)


def _class_means(z: Latents, classes: np.ndarray) -> ClassMeans:
    """Means of z (n, N) within each class of ``classes`` (n,)."""
    known, indices, counts = np.unique(classes, return_inverse=True, return_counts=True)
    sums = np.zeros((len(known), z.shape[1]))
    np.add.at(sums, indices, z)
    return ClassMeans(known, sums / counts[:, None])


def _ridge_directions(z: Latents, values: np.ndarray) -> RidgeDirections:
    """Ridge regression of values (n,) or (n, d) on standardised z (n, N)."""
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(z)
    targets = np.asarray(values, np.float64).reshape(len(values), -1)
    weights = Ridge().fit(scaler.transform(z), targets).coef_
    weights = np.asarray(weights).reshape(targets.shape[1], -1)
    return RidgeDirections(
        weights, np.linalg.pinv(weights).T * np.asarray(scaler.scale_)
    )
