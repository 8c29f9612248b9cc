"""No image is on both sides of a split."""

import numpy as np
import pytest

from iin_jax.concepts import ExplicitPairs
from iin_jax.concepts.hold_out import hold_out_entries
from iin_jax.prepared import PreparedLatents


def split(first, second, count, share):
    """Pairs of entries of their own images, split; rows of both sides, all pairs."""
    shared = np.ones((len(first), 1), bool)
    pairs = ExplicitPairs(("x",), first, second, shared, np.arange(count))
    held = pairs.held_out(share, 0)
    train = np.flatnonzero(~held[first] & ~held[second])
    unseen = np.flatnonzero(held[first] & held[second])
    for rows, side in ((train, ~held), (unseen, held)):
        part = pairs.among(np.flatnonzero(side))
        np.testing.assert_array_equal(np.flatnonzero(side)[part.a], first[rows])
    return train, unseen


def test_all_entries_of_an_image_are_on_one_side():
    image = np.repeat(np.arange(100), 3)
    held = hold_out_entries(image, 0.3, 0)
    assert held.sum() == 90
    assert (held.reshape(100, 3).sum(axis=1) % 3 == 0).all()
    assert not hold_out_entries(image, 0.0, 0).any()


def test_connected_pairs_are_held_out_whole():
    """Each image is in three pairs of its own group of three images."""
    base = 3 * np.arange(60)
    first = np.concatenate([base, base, base + 1])
    second = np.concatenate([base + 1, base + 2, base + 2])
    train, unseen = split(first, second, 180, 0.25)
    assert len(train) + len(unseen) == 180  # none crosses over
    assert len(unseen) == 45 and len(train) == 135
    groups = [set(first[rows] // 3) for rows in (train, unseen)]
    assert not groups[0] & groups[1]


def test_pairs_that_cross_over_are_dropped():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 200, (2, 5000))
    train, held_out = split(first, second, 200, 0.2)
    assert 0 < len(train) + len(held_out) < 5000
    assert not set(train) & set(held_out)
    seen = set(first[train]) | set(second[train])
    unseen = set(first[held_out]) | set(second[held_out])
    assert unseen and not seen & unseen


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_is_between_0_and_1(share):
    with pytest.raises(ValueError, match=r"in \[0, 1\)"):
        hold_out_entries(np.arange(10), share, 0)


def test_a_share_that_leaves_no_pair_is_one_clear_line():
    shared, z = np.ones((1, 1), bool), np.eye(2, dtype=np.float32)
    pairs = ExplicitPairs(("x",), np.array([0]), np.array([1]), shared, np.arange(2))
    with pytest.raises(ValueError, match="no pair to judge by") as error:
        PreparedLatents(z, z, pairs, pairs.image).split(0.1, 0)
    assert "\n" not in str(error.value)
