"""Batches of one shape, whatever the count."""

import numpy as np
import pytest

from iin_jax.latents import batch_slices, in_batches
from iin_jax.latents.batches import padded, padded_size


@pytest.mark.parametrize("count", [1, 4, 5, 11])
def test_all_batches_have_one_shape_and_nothing_is_lost(count):
    values, shapes = np.arange(3.0 * count).reshape(count, 3), set()

    def double(batch):
        shapes.add(batch.shape)
        return {"twice": 2.0 * batch}

    parts = list(in_batches(double, lambda part: values[part], count, 4))
    twice = np.concatenate([part["twice"] for _, part in parts])
    np.testing.assert_array_equal(twice, 2.0 * values)
    assert shapes == {(min(count, 4), 3)}
    assert [entries for entries, _ in parts] == batch_slices(count, 4)


def test_no_entries_are_one_empty_batch():
    (part,) = in_batches(np.negative, lambda part: np.zeros((0, 3))[part], 0, 4)
    assert part[0] == slice(0, 0) and part[1].shape == (0, 3)


@pytest.mark.parametrize(
    ("count", "most", "size"),
    [
        *((0, 256, 0), (1, 256, 1), (2, 256, 4), (4, 256, 4), (5, 256, 16)),
        *((10, 256, 16), (16, 256, 16), (17, 256, 64), (65, 256, 256)),
        *((300, 256, 256), (5, 6, 6), (7, 1, 1), (100, 100, 100)),
    ],
)
def test_sizes_of_batches_are_few(count, most, size):
    assert padded_size(count, most) == size


def test_most_counts_share_a_size():
    sizes = {padded_size(count, 1000) for count in range(1, 5000)}
    assert sizes == {1, 4, 16, 64, 256, 1000}


def test_a_batch_is_filled_up_with_its_last_entry():
    batch = np.arange(6.0).reshape(3, 2)
    filled = padded(batch, 5)
    np.testing.assert_array_equal(filled, batch[[0, 1, 2, 2, 2]])
    assert padded(batch, 3) is batch
    empty = np.zeros((0, 2))
    assert padded(empty, 4) is empty


@pytest.mark.parametrize("count", [2, 5, 11, 21])
def test_results_of_the_padding_are_cut_off(count):
    values, sizes = np.arange(1.0, count + 1), []

    def running_sum(batch):
        sizes.append(len(batch))
        return np.cumsum(batch)

    parts = list(in_batches(running_sum, lambda part: values[part], count, 16))
    for entries, result in parts:
        np.testing.assert_array_equal(result, np.cumsum(values[entries]))
    assert {*sizes} == {padded_size(count, 16)}
