"""Mid-points between images: their nearest images, and three paths on a known T."""

import dataclasses

import jax
import numpy as np
import pytest
import scipy.spatial

import iin_jax
from iin_jax.analysis import Examples, FeatureNetwork
from iin_jax.analysis.base import Evidence
from iin_jax.analysis.midpoints import MidpointsAnalysis, nearest_distance
from iin_jax.analysis.scorecard import sections
from iin_jax.flows import LinearStart


def test_the_nearest_is_what_a_tree_finds():
    rng = np.random.default_rng(0)
    points, others = rng.standard_normal((700, 5)), rng.standard_normal((90, 5))
    expected = scipy.spatial.cKDTree(others).query(points)[0]
    np.testing.assert_allclose(nearest_distance(points, others), expected, atol=1e-6)


@pytest.fixture
def evidence(interpreter, shared, monkeypatch):
    """24 random images, each a picture of its own."""
    monkeypatch.setenv("IIN_JAX_WEIGHTS", str(shared / "weights"))
    rng = np.random.default_rng(1)
    images = rng.uniform(-1, 1, (24, 8, 8, 3)).astype(np.float32)
    test = Examples.of(interpreter.network, images, {"digit": np.arange(24) % 2})
    features = FeatureNetwork("squeezenet1_1", size=64)
    return Evidence(interpreter, test, test, {}, None, test, test, features=features)


@pytest.mark.thorough
def test_paths_are_measured_against_images_that_are_no_ends(evidence):
    record = MidpointsAnalysis().measure(evidence)
    assert record is not None and record.midpoint_pairs == 12
    assert list(record.midpoints) == [
        "images",
        "reconstructions",
        "line in z",
        "line through T",
        "arc through T",
    ]
    assert record.midpoints["images"].nearest > 0.0
    assert record.midpoints["line in z"].nearer is None
    through = record.midpoints["line through T"].nearer
    assert through is not None and through.count == 12
    gain = record.midpoints["line in z"].nearest
    gain -= record.midpoints["line through T"].nearest
    assert through.value == pytest.approx(gain)
    (section,) = sections(record.entries())
    assert section.title == "Between two images"
    names = [row[0] for row in section.tables[0].rows]
    assert names[0] == "test images" and names[-1] == "middle of the arc through T"


@pytest.mark.thorough
def test_a_linear_flow_has_the_line_of_z(evidence):
    it = evidence.interpreter
    layout = iin_jax.FactorLayout({"residual": it.layout.dim})
    linear = LinearStart(layout.dim)
    variables = linear.init(jax.random.key(0), evidence.test.latents.mean)
    flat = iin_jax.Interpreter(linear, variables, layout).with_network(it.network)
    record = MidpointsAnalysis().measure(
        dataclasses.replace(evidence, interpreter=flat)
    )
    assert record is not None
    through = record.midpoints["line through T"].nearer
    assert through is not None and through.value == pytest.approx(0.0, abs=1e-3)


def test_no_distances_no_midpoints(evidence):
    without = dataclasses.replace(evidence, features=None)
    assert MidpointsAnalysis().measure(without) is None
    few = evidence.test
    few = dataclasses.replace(few, picture=np.zeros(24, int))
    alone = dataclasses.replace(evidence, test=few)
    assert MidpointsAnalysis().measure(alone) is None
