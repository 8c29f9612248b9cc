"""Batches of one shape, whatever the count."""

import numpy as np
import pytest

from iin_jax.latents import batch_slices, in_batches


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
