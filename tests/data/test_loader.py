"""Orders that depend on (seed, step) alone; reading ahead that changes nothing."""

import threading
import time

import numpy as np
import pytest

from iin_jax.data import StepStream, epoch_indices


@pytest.mark.parametrize(("count", "batch_size"), [(12, 4), (10, 4), (3, 7), (1, 2)])
def test_every_epoch_is_a_permutation(count, batch_size):
    batches = epoch_indices(count, batch_size, seed=5)
    steps = 3 * count  # three times batch_size epochs
    flat = np.concatenate([batches(step) for step in range(steps)])
    assert flat.dtype == np.int64 and len(flat) == steps * batch_size
    epochs = flat.reshape(-1, count)
    assert (np.sort(epochs, axis=1) == np.arange(count)).all()
    if count == 12:
        assert len({tuple(epoch) for epoch in epochs}) == len(epochs)


def test_the_order_is_a_function_of_seed_and_step():
    forward = [epoch_indices(50, 8, seed=1)(step) for step in range(20)]
    again = epoch_indices(50, 8, seed=1)
    for step in (19, 0, 7, 3, 12):
        np.testing.assert_array_equal(again(step), forward[step])
    other = np.concatenate([epoch_indices(50, 8, seed=2)(step) for step in range(20)])
    assert (other != np.concatenate(forward)).mean() > 0.9


def test_every_order_is_as_likely():
    batches = epoch_indices(1000, 1, seed=0)
    firsts = np.array([batches(1000 * epoch)[0] for epoch in range(400)])
    counts = np.bincount(firsts // 250, minlength=4)
    assert counts.min() > 60, counts  # 100 expected, standard deviation 8.7


def test_batches_need_images():
    with pytest.raises(ValueError, match="got 0 images and batches of 4"):
        epoch_indices(0, 4, 0)
    with pytest.raises(ValueError, match="got 3 images and batches of 0"):
        epoch_indices(3, 0, 0)


def test_a_stream_is_the_function_that_it_reads():
    stream = StepStream(lambda step: np.full(3, step))
    for step in (5, 6, 7, 2, 3, 3, 1000, 1001, 0):
        np.testing.assert_array_equal(stream(step), [step] * 3)
    stream.close()
    assert stream(8)[0] == 8


def test_consecutive_steps_are_read_ahead_and_no_further():
    read, ahead = [], threading.Event()

    def record(step):
        read.append(step)
        if step == 13:
            ahead.set()
        return step

    stream = StepStream(record, threads=2, prefetch=3)
    assert stream(10) == 10
    assert ahead.wait(5), "three steps ahead are read without being asked for"
    time.sleep(0.1)
    assert max(read) == 13
    assert [stream(step) for step in (11, 12, 13)] == [11, 12, 13]
    assert sorted(set(read))[:4] == [10, 11, 12, 13]
    assert len(read) == len(set(read)), "nothing is read twice"


def test_slow_reads_overlap():
    stream = StepStream(lambda step: time.sleep(0.05) or step, threads=4)
    start = time.perf_counter()
    assert [stream(step) for step in range(16)] == list(range(16))
    assert time.perf_counter() - start < 0.5  # reads one by one take 0.8 seconds


def test_an_error_reaches_the_caller_at_its_step():
    broken = {7}

    def read(step):
        if step in broken:
            raise ValueError(f"picture {step} is broken")
        return step

    stream = StepStream(read)
    assert [stream(step) for step in (5, 6)] == [5, 6]
    for _ in range(2):
        with pytest.raises(ValueError, match="picture 7 is broken"):
            stream(7)
    broken.clear()
    assert [stream(step) for step in (7, 8)] == [7, 8]
    with pytest.raises(ValueError, match="at least one thread"):
        StepStream(read, threads=0)
