"""Walks along a sketched concept, on a network whose strokes are known."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import iin_jax
from iin_jax.analysis.base import Evidence, Examples
from iin_jax.analysis.judges import ConvolutionalJudge
from iin_jax.analysis.walks import WalksAnalysis, _rank_correlations
from iin_jax.flows import LinearStart

SIDE, COUNT = 20, 60
CENTRE = (SIDE - 1) / 2


def decode(variables, z):
    """Rings: z's first number is the width of the stroke, its second the radius."""
    del variables
    y, x = jnp.mgrid[:SIDE, :SIDE] - CENTRE
    distance = jnp.abs(jnp.hypot(x, y)[None] - z[:, 1, None, None])
    ink = jnp.clip(z[:, 0, None, None] / 2 - distance + 0.5, 0.0, 1.0)
    return 2.0 * ink[..., None] - 1.0


def encode(variables, images):
    """Width and radius from area and second moment of the ring."""
    del variables
    y, x = jnp.mgrid[:SIDE, :SIDE] - CENTRE
    ink = (images[..., 0] + 1.0) / 2.0
    area = ink.sum(axis=(1, 2))
    radius = (ink * jnp.hypot(x, y)).sum(axis=(1, 2)) / area
    return jnp.stack([area / (2 * jnp.pi * radius), radius], axis=1)


@pytest.fixture(scope="module")
def evidence():
    network = iin_jax.networks.from_functions(
        encode, decode, {}, image_shape=(SIDE, SIDE, 1)
    )
    constants = {
        "mean": np.zeros(2),
        "scale": np.ones(2),
        "axes": np.eye(2),
        "variances": np.ones(2),
        "turn": np.eye(2),
    }
    constants = {name: jnp.asarray(x, jnp.float32) for name, x in constants.items()}
    layout = iin_jax.FactorLayout({"stroke": 1, "residual": 1})
    variables = {"constants": constants}
    interpreter = iin_jax.Interpreter(LinearStart(2), variables, layout, network)
    sets = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        radius = np.tile(rng.uniform(4.0, 7.0, COUNT), 3)
        plain = rng.uniform(1.8, 3.0, COUNT)
        width = np.concatenate([plain, 0.7 * plain, 1.5 * plain])
        images = np.asarray(decode({}, np.stack([width, radius], 1)), np.float32)
        values = {
            "stroke": np.repeat(["image", "a", "b"], COUNT),
            "large": (radius > 5.5).astype(int),
        }
        sets.append(Examples.of(network, images, values))
    train, test = sets
    pixels = np.round(127.5 * (train.read(slice(None)) + 1)).astype(np.uint8)
    judge = ConvolutionalJudge.train(
        pixels,
        train.values["large"],
        test=(pixels, train.values["large"]),
        seed=0,
        view="color",
        epochs=8,
    )
    return Evidence(interpreter, train, test, {"large": judge}, None, test, test)


@pytest.mark.thorough
def test_the_width_grows_along_the_walk_and_the_rest_is_kept(evidence):
    record = WalksAnalysis().measure(evidence)
    walks = record.walks["stroke"]
    measured = walks.factor.measures["stroke width"]
    assert measured.rank_correlation == pytest.approx(1.0)
    assert np.all(np.diff(measured.medians) > 0)
    wide = evidence.test.latents.mean[:COUNT, 0]
    expected = (1.5 - 0.7) * wide.mean() / wide.std()
    assert measured.change == pytest.approx(expected, rel=0.15)
    first, last = walks.factor.kept["large"]
    assert min(first, last) > walks.unedited["large"] - 0.1
    reached = walks.linear.measures["stroke width"].change
    assert reached == pytest.approx(measured.change, rel=0.2)
    np.testing.assert_allclose(
        np.ravel(walks.ends),
        [
            np.mean(evidence.train.latents.mean[k * COUNT : (k + 1) * COUNT, 0])
            for k in (1, 2)
        ],
        rtol=1e-4,
    )
    section = WalksAnalysis().section(type(record).of(record.entries()))
    assert section.findings[0].verdict == "holds"
    assert len(section.tables[0].rows) == 5


def test_other_concepts_have_no_walk(evidence):
    swapped = {"stroke": evidence.test.values["large"]}
    images = evidence.test.read(slice(None))
    other = Examples.of(evidence.network, images, swapped)
    changed = Evidence(evidence.interpreter, other, other, {}, None, other, other)
    assert WalksAnalysis().measure(changed) is None


def test_rank_correlations_are_spearmans():
    values = np.random.default_rng(0).integers(0, 5, (9, 20)).astype(float)
    values[:, 0] = 3.0
    found = _rank_correlations(values)
    assert found[0] == 0.0
    for column in range(1, 20):
        expected = scipy.stats.spearmanr(np.arange(9), values[:, column])[0]
        assert found[column] == pytest.approx(expected)
