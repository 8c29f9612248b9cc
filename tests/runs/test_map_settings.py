"""Settings of a flow over maps: sides from the network, and what it cannot take."""

import dataclasses

import pytest

from iin_jax.flows import FeatureMapFlow, InterpretationFlow
from iin_jax.runs.conditions import check
from iin_jax.runs.flow import check_takes, made_flow, positions
from iin_jax.runs.settings import ConceptSettings, Experiment, FlowSettings
from iin_jax.training.defaults import flow_defaults

SUITED = FlowSettings(num_blocks=0, hidden_dim=0, hidden_depth=1)
MAPS = dataclasses.replace(SUITED, kind="feature_map")


def test_a_map_flow_has_the_sides_of_the_networks_latents():
    defaults = flow_defaults(1000, 48)
    flow = made_flow(MAPS, defaults, 48, (2, 3, 8))
    assert flow == FeatureMapFlow(2, 3, 8, 12, 64, 1)
    assert positions(MAPS, (2, 3, 8)) == 6
    assert made_flow(SUITED, defaults, 48, (2, 3, 8)) == InterpretationFlow(
        48, 12, 64, 1
    )
    assert positions(SUITED, (2, 3, 8)) is None


@pytest.mark.parametrize(
    ("shape", "sizes", "message"),
    [
        ((48,), (), r"takes maps \(H, W, C\), and.*shape \(48,\)"),
        ((2, 3, 7), (), "even number of them >= 2; got 7"),
        ((2, 3, 8), (12, 8), r"multiples of the map's 6 positions; got \[12, 8\]"),
    ],
)
def test_what_it_cannot_take_is_one_clear_line(shape, sizes, message):
    concept = ConceptSettings(sizes=sizes)
    with pytest.raises(ValueError, match=message):
        check_takes(Experiment(flow=MAPS, concept=concept), shape)
    check_takes(Experiment(flow=SUITED, concept=concept), shape)


def test_networks_of_vectors_are_refused_before_anything_runs():
    with pytest.raises(ValueError, match=r"choose another --network\.layer"):
        check(Experiment(flow=MAPS))
