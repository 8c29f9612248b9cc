"""Bounds on the fields of settings."""

import dataclasses
import math
from typing import Annotated

import pytest

from iin_jax.runs.bounds import (
    AtLeast,
    Count,
    OneOf,
    PartShare,
    Share,
    check_bounds,
)
from iin_jax.runs.conditions import check
from iin_jax.runs.settings import Experiment, TrainSettings

REGISTRY = {"near": 1}


@dataclasses.dataclass(frozen=True)
class Part:
    count: Count = 1
    share: Share = 0.5
    part: PartShare = 0.5
    noise: Annotated[float | None, AtLeast(0)] = None
    sizes: Annotated[tuple[int, ...], AtLeast(0)] = ()
    kind: Annotated[str, OneOf(REGISTRY, ("none",))] = "none"
    terms: Annotated[dict[str, float], OneOf(REGISTRY)] = dataclasses.field(
        default_factory=dict
    )


@dataclasses.dataclass(frozen=True)
class Whole:
    part: Part = dataclasses.field(default_factory=Part)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 0}, "part.count must be at least 1"),
        ({"share": 1.5}, "part.share is a share between 0 and 1; got 1.5"),
        ({"share": math.nan}, "part.share is a share"),
        ({"part": 1.0}, "part.part is a share between 0 and 1, without 1; got 1.0"),
        ({"noise": -0.1}, "part.noise cannot be negative"),
        ({"sizes": (3, -1)}, "part.sizes cannot be negative"),
        ({"kind": "neer"}, "is one of ['none', 'near']; got 'neer'; did you mean near"),
        ({"terms": {"far": 1.0}}, "part.terms is one of ['near']; got 'far'"),
    ],
)
def test_a_value_outside_its_bounds_is_named(change, message):
    with pytest.raises(ValueError) as error:
        check_bounds(Whole(Part(**change)))
    assert message in str(error.value)


def test_values_inside_pass_and_none_has_no_bounds(monkeypatch):
    check_bounds(Whole(Part(2, 1.0, 0.0, None, (0, 3), "near", {"near": 0.1})))
    later = Whole(Part(kind="later"))
    with pytest.raises(ValueError, match="'later'"):
        check_bounds(later)
    monkeypatch.setitem(REGISTRY, "later", 2)
    check_bounds(later)


def test_bounds_of_the_settings_are_checked_with_the_conditions():
    check(Experiment())
    train = TrainSettings(terms={"cycles": 1.0})
    with pytest.raises(ValueError, match=r"train\.terms .* did you mean cycle\?"):
        check(Experiment(train=train))
