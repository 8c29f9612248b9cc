"""What every bijector promises."""

import abc

import flax.linen as nn
import numpy as np

from iin_jax.types import LogDet, Vectors


class Bijector(nn.Module):
    """An invertible map of the last axis, as a pair of mirrored, pure methods.

    A subclass defines ``forward_and_log_det`` and ``inverse_and_log_det``. All leading
    axes are batch axes; a batch of one is a batch like any other. The log-determinant
    is the natural logarithm of |det| of the map that was applied, one per vector. A
    bijector without use for a context ignores it.

    A flow T is any bijector with a field or property ``dim`` (N); give its kind a name
    in ``iin_jax.flows.FLOWS`` to save it and to use it in settings. If it has a field
    ``zero_init``, it begins behind a linear start as a permutation of its input.
    One over maps has ``positions`` (H W) and a method ``linear_start``, which gives the
    start for them, see ``FeatureMapFlow``.

    Used as any Linen module: ``variables = bijector.init(key, x)``, then
    ``bijector.apply(variables, x)`` or ``bijector.apply(variables, y,
    method="inverse_and_log_det")``.
    """

    @abc.abstractmethod
    def forward_and_log_det(
        self, x: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, LogDet]:
        """x (..., N) -> y (..., N), log|det dy/dx| (...).

        Args:
          x: what is mapped.
          context: (..., M), what the map may depend on; the same in both directions.
        """

    @abc.abstractmethod
    def inverse_and_log_det(
        self, y: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, LogDet]:
        """y (..., N) -> x (..., N), log|det dx/dy| (...)."""

    def __call__(
        self, x: Vectors, context: Vectors | None = None
    ) -> tuple[Vectors, LogDet]:
        return self.forward_and_log_det(x, context)

    def forward(self, x: Vectors, context: Vectors | None = None) -> Vectors:
        return self.forward_and_log_det(x, context)[0]

    def inverse(self, y: Vectors, context: Vectors | None = None) -> Vectors:
        return self.inverse_and_log_det(y, context)[0]


def check_last_axis(x: Vectors, dim: int, what: str = "flow") -> None:
    """Raises ValueError unless the last axis of x is as long as what acts on it."""
    if np.ndim(x) == 0 or np.shape(x)[-1] != dim:
        raise ValueError(f"this {what} acts on a last axis of {dim}; got {np.shape(x)}")


def check_even(dim: int) -> None:
    """Raises ValueError unless the dimension splits into two equal halves."""
    if dim < 2 or dim % 2:
        raise ValueError(
            f"a coupling needs an even number of dimensions >= 2; got N = {dim} "
            "(drop or add one component)"
        )
