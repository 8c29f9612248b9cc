"""No image is on both sides of a split."""

import numpy as np
import pytest

from iin_jax.concepts.hold_out import hold_out_entries, hold_out_pairs


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
    image = np.arange(180)
    split = hold_out_pairs(image, first, second, 0.25, 0)
    assert split.crossing == 0
    assert len(split.held_out) == 45 and len(split.train) == 135
    groups = [set(first[rows] // 3) for rows in (split.train, split.held_out)]
    assert not groups[0] & groups[1]


def test_pairs_that_cross_over_are_dropped_and_counted():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 200, (2, 5000))
    image = np.arange(200)
    split = hold_out_pairs(image, first, second, 0.2, 0)
    assert len(split.train) + len(split.held_out) + split.crossing == 5000
    assert split.crossing > 0
    seen = set(first[split.train]) | set(second[split.train])
    unseen = set(first[split.held_out]) | set(second[split.held_out])
    assert unseen and not seen & unseen


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_is_between_0_and_1(share):
    with pytest.raises(ValueError, match=r"in \[0, 1\)"):
        hold_out_entries(np.arange(10), share, 0)


def test_a_share_that_leaves_no_pair_is_one_clear_line():
    with pytest.raises(ValueError, match="0 to judge by, of 1") as error:
        hold_out_pairs(np.arange(2), np.array([0]), np.array([1]), 0.1, 0)
    assert "\n" not in str(error.value)
