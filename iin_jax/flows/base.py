"""What every bijector promises."""

import abc
import dataclasses
from typing import Any

import flax.linen as nn

from iin_jax.types import LogDet, Tree, Vectors


class Bijector(nn.Module):
    """An invertible map of the last axis, as a pair of mirrored, pure methods.

    A subclass defines ``forward_and_log_det`` and ``inverse_and_log_det``. All leading
    axes are batch axes; a batch of one is a batch like any other. The log-determinant
    is the natural logarithm of |det| of the map that was applied, one per vector.

    Used as any Linen module: ``variables = bijector.init(key, x)``, then
    ``bijector.apply(variables, x)`` or ``bijector.apply(variables, y,
    method="inverse_and_log_det")``.
    """

    @abc.abstractmethod
    def forward_and_log_det(self, x: Vectors) -> tuple[Vectors, LogDet]:
        """x (..., N) -> y (..., N), log|det dy/dx| (...)."""

    @abc.abstractmethod
    def inverse_and_log_det(self, y: Vectors) -> tuple[Vectors, LogDet]:
        """y (..., N) -> x (..., N), log|det dx/dy| (...)."""

    def __call__(self, x: Vectors) -> tuple[Vectors, LogDet]:
        return self.forward_and_log_det(x)

    def forward(self, x: Vectors) -> Vectors:
        return self.forward_and_log_det(x)[0]

    def inverse(self, y: Vectors) -> Vectors:
        return self.inverse_and_log_det(y)[0]


def apply(module: nn.Module, variables: Tree, *arguments: Any, **settings: Any) -> Any:
    """``module.apply`` with nothing mutable, so it returns what the method does."""
    return module.apply(dict(variables), *arguments, **settings)


def module_fields(module: nn.Module) -> dict[str, Any]:
    """A Linen module's own attributes, without Linen's; they rebuild it."""
    names = {field.name for field in dataclasses.fields(module)} - {"parent", "name"}
    return {name: getattr(module, name) for name in sorted(names)}


def check_even(dim: int) -> None:
    """Raises ValueError unless the dimension splits into two equal halves."""
    if dim < 2 or dim % 2:
        raise ValueError(
            f"a coupling needs an even number of dimensions >= 2; got N = {dim} "
            "(drop or add one component)"
        )
