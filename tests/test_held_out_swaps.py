"""Training that makes swaps of held-out latents worse is not kept."""

import warnings

import numpy as np
import pytest

import iin_jax
from iin_jax.concepts.label_pairs import LabelPairs
from iin_jax.fit import fit_prepared
from iin_jax.held_out_swaps import HeldOutSwaps
from iin_jax.prepared import PreparedLatents
from iin_jax.training.defaults import Training
from iin_jax.training.flow_training import Trained

LAYOUT = iin_jax.FactorLayout({"corner": 2, "residual": 2})
CORNERS = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])


def corners(count=600):
    """Both sides of latents around four corners of a square, and a parabola."""
    rng = np.random.default_rng(0)
    codes, image = rng.integers(0, 4, count), np.arange(count)
    z = np.hstack([CORNERS[codes], np.zeros((count, 2))])
    z += rng.standard_normal((count, 4)) * [0.3, 0.3, 1.0, 0.1]
    z[:, 3] += z[:, 2] ** 2  # for the flow to straighten
    source = LabelPairs({"corner": codes}, {}, image, None, None, (), "free")
    latents = PreparedLatents(z.astype(np.float32), None, source, image)
    train, unseen = latents.split(0.2, 0)
    assert unseen is not None
    return train, unseen


def trained(train, unseen):
    flow = iin_jax.InterpretationFlow(4, 2, 16, 1)
    training = Training(
        steps=120, checkpoint_every=40, rate_per_example=2e-5, noise=0.0
    )
    return fit_prepared(train, unseen, LAYOUT, training, flow=flow, progress=False)


class Scripted:
    """Stands for the held-out swaps: what was trained is right in a share of them."""

    def __init__(self, share):
        self.shares, self.count = [share, 0.8], 0

    def __call__(self, _):
        self.count += 1
        return (np.arange(500) < 500 * self.shares[self.count - 1]).astype(float)


@pytest.mark.parametrize(
    ("share", "kept"),
    [
        (0.7, False),
        pytest.param(0.79, True, marks=pytest.mark.thorough),
        pytest.param(0.9, True, marks=pytest.mark.thorough),
    ],
)
def test_t_0_is_kept_where_swaps_lose_more_than_chance(monkeypatch, share, kept):
    scripted = Scripted(share)
    monkeypatch.setattr(HeldOutSwaps, "of", lambda *_: scripted)
    train, unseen = corners()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        it, record = trained(train, unseen)
    assert scripted.count == 2
    assert (record["swaps"], record["start_swaps"]) == (share, 0.8)
    apart = np.abs(it.translate(unseen.mean) - it.without_flow().translate(unseen.mean))
    if kept:
        assert record["step"] > 0 and apart.max() > 0.01
        return
    assert record["step"] == 0 and apart.max() < 1e-5
    assert record["held_out_bits_per_dim"] == record["start_bits_per_dim"]
    assert "swaps 70.0 % of held-out latents right, the linear start T_0 80.0 %" in str(
        warned[-1].message
    )


def test_swaps_are_read_as_the_class_that_they_take():
    train, unseen = corners()
    it, record = trained(train, unseen)
    assert min(record["swaps"], record["start_swaps"]) > 0.9
    swaps = HeldOutSwaps.of(train, unseen, LAYOUT, 0)
    assert swaps is not None
    known = swaps.classes["corner"] >= 0
    assert 0.6 < known.mean() < 0.9  # one in four has the same corner
    other = iin_jax.FactorLayout({"residual": 2, "corner": 2})  # takes the noise
    wrong = HeldOutSwaps(
        other, swaps.z, swaps.seen, swaps.z_a, swaps.z_b, swaps.classes
    )
    assert wrong(Trained(it.flow, it.variables, 0.5, {})).mean() < 0.1


def test_a_concept_without_dimensions_is_not_swapped():
    train, unseen = corners()
    nothing = iin_jax.FactorLayout({"corner": 0, "residual": 4})
    assert HeldOutSwaps.of(train, unseen, nothing, 0) is None
