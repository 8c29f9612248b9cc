"""Bounds that stand on the fields of settings, and the one check that reads them."""

import dataclasses
import typing
from collections.abc import Collection, Iterator
from typing import Annotated, Any, Protocol

from iin_jax.files.hints import near


class Bound(Protocol):
    """What a value has to keep to; stands in the ``Annotated`` type of a field."""

    def fault(self, value: Any) -> str | None:
        """What is wrong with a value, to be read behind a field's name; or None."""
        ...


@dataclasses.dataclass(frozen=True)
class AtLeast:
    """Numbers from ``least`` on."""

    least: float

    def fault(self, value: float) -> str | None:
        if value >= self.least:
            return None
        return f"must be at least {self.least}" if self.least else "cannot be negative"


@dataclasses.dataclass(frozen=True)
class Between:
    """Numbers from 0 to 1.

    Attributes:
      whole: 1 is inside, too.
    """

    whole: bool = True

    def fault(self, value: float) -> str | None:
        if 0.0 <= value < 1.0 or (self.whole and value == 1.0):
            return None
        end = "" if self.whole else ", without 1"
        return f"is a share between 0 and 1{end}; got {value}"


@dataclasses.dataclass(frozen=True, eq=False)
class OneOf:
    """Names in a registry, those too that are registered later, and some others."""

    known: Collection[str]
    others: tuple[str, ...] = ()

    def fault(self, value: str) -> str | None:
        known = [*self.others, *self.known]
        if value in known:
            return None
        return f"is one of {known}; got {value!r}{near(value, known)}"


Count = Annotated[int, AtLeast(1)]
CountOrZero = Annotated[int, AtLeast(0)]
Share = Annotated[float, Between()]
PartShare = Annotated[float, Between(whole=False)]


def check_bounds(settings: Any, prefix: str = "") -> None:
    """Raises ValueError for the first field, of sections too, outside its bounds.

    A bound on a tuple holds for each of its values, on a dictionary for its names;
    None is always inside.
    """
    for name, value, bounds in bounded_fields(settings):
        field = f"{prefix}{name}"
        if dataclasses.is_dataclass(value):
            check_bounds(value, f"{field}.")
            continue
        each = value if isinstance(value, (tuple, dict)) else (value,)
        for one in each:
            for bound in bounds:
                if one is not None and (fault := bound.fault(one)):
                    raise ValueError(f"{field} {fault}")


def bounded_fields(settings: Any) -> Iterator[tuple[str, Any, list[Bound]]]:
    """Name, value and bounds of every field of a dataclass."""
    hints = typing.get_type_hints(type(settings), include_extras=True)
    for field in dataclasses.fields(settings):
        extras = getattr(hints[field.name], "__metadata__", ())
        bounds = [extra for extra in extras if hasattr(extra, "fault")]
        yield field.name, getattr(settings, field.name), bounds
