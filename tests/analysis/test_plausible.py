"""Plausibility beside judged swaps, where what fails is known."""

import dataclasses

import numpy as np
import pytest

from iin_jax.analysis.base import Evidence, Examples, Swapped
from iin_jax.analysis.judges import Judge
from iin_jax.analysis.plausible import (
    PlausibilityAnalysis,
    PlausibilityRecord,
    _area,
)
from tests.conftest import normal

COUNT = 120


class Doubtful(Judge):
    """Disagrees with the latents of least density, or with any at random."""

    measure = "accuracy"
    kind = "a test's judge"
    looks_at = "z"

    def __init__(self, interpreter, by_density):
        self.interpreter, self.by_density = interpreter, by_density

    def each(self, outputs, expected):
        density = np.asarray(self.interpreter.log_prob(outputs))
        if not self.by_density:
            density = np.random.default_rng(0).permutation(density)
        return (density > np.quantile(density, 0.3)).astype(float)

    def score(self, outputs, expected):
        return float(self.each(outputs, expected).mean())


@pytest.fixture(scope="module")
def evidence(interpreter):
    images = np.tanh(np.asarray(normal((2 * COUNT, 8, 8, 3), 3)))
    known = interpreter.with_held_out(interpreter.encode(images))
    values = {"digit": np.arange(2 * COUNT) % 3}
    sides = [
        Examples.of(
            interpreter.network,
            images[k * COUNT : (k + 1) * COUNT],
            {"digit": values["digit"][k * COUNT : (k + 1) * COUNT]},
        )
        for k in range(2)
    ]
    return Evidence(
        known, sides[0], sides[1], {}, Swapped(*sides), *sides[:1], sides[1]
    )


def measured(evidence, by_density):
    judges = {"digit": Doubtful(evidence.interpreter, by_density)}
    return PlausibilityAnalysis().measure(dataclasses.replace(evidence, judges=judges))


@pytest.mark.thorough
def test_failures_of_low_density_are_told(evidence):
    record = measured(evidence, by_density=True)
    assert list(record.plausibility) == ["digit", "color"]
    swaps = record.plausibility["digit"]
    assert (swaps.edits, swaps.failed) == (COUNT, 36)
    assert swaps.area == pytest.approx(1.0)
    assert 0.0 <= swaps.unlikely_unedited < 0.1
    section = PlausibilityAnalysis().section(PlausibilityRecord.of(record.entries()))
    assert section.findings[0].verdict == "holds"
    assert section.tables[0].rows[0][:2] == ["digit", "36 of 120"]


@pytest.mark.thorough
def test_failures_by_chance_are_not(evidence):
    swaps = measured(evidence, by_density=False).plausibility["digit"]
    low, high = swaps.interval
    assert low < 0.5 < high


def test_few_failures_have_no_area():
    failed = np.arange(50) < 9
    assert _area(np.arange(50.0), failed, 0) == (None, None)


def test_without_held_out_latents_nothing_is_said(evidence):
    unknown = dataclasses.replace(evidence.interpreter, held_out=None)
    changed = dataclasses.replace(evidence, interpreter=unknown)
    assert measured(changed, by_density=True) is None
