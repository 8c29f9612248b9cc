"""Arrays filled part by part, by writes that a full disk refuses in one line."""

import resource
import threading

import numpy as np
import pytest

from iin_jax.files.array_files import ArrayFile, save_array
from iin_jax.files.whole import whole_folder
from tests.files.shortages import full, small_disk

ARRAY = np.random.default_rng(0).standard_normal((40, 3, 5)).astype(np.float32)


@pytest.mark.parametrize("array", [ARRAY, ARRAY[:0], (ARRAY > 0)[:, 0], ARRAY[:, :, 0]])
def test_a_saved_array_is_the_one_that_numpy_reads(tmp_path, array):
    save_array(tmp_path / "x.npy", array)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), array)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert mapped.dtype == array.dtype and mapped.shape == array.shape


def test_rows_come_in_any_order_and_from_any_thread(tmp_path):
    with ArrayFile(tmp_path / "x.npy", ARRAY.shape, np.float32) as file:
        file[8:20] = ARRAY[8:20].astype(np.float64)  # converted
        threads = [
            threading.Thread(target=file.__setitem__, args=(row, ARRAY[row]))
            for row in reversed(range(20, 40))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    read = np.load(tmp_path / "x.npy")
    np.testing.assert_array_equal(read[8:], ARRAY[8:])
    assert not read[:8].any()


def fill(folder, rows=4000):
    with (
        whole_folder(folder) as unfinished,
        ArrayFile(unfinished / "x.npy", (rows, 256), np.float32) as file,
    ):
        for row in range(rows):
            file[row] = np.ones(256)


def test_a_full_disk_is_one_line_and_leaves_the_older_folder(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        fill(disk / "kept", 10)
        for left in (0, 200_000):
            with (
                full(disk, left),
                pytest.raises(OSError, match=r"written: No space left on device$") as e,
            ):
                fill(disk / "kept")
            assert str(e.value).startswith(f"{disk / 'kept'} cannot be")
            assert [path.name for path in disk.iterdir()] == ["kept"]
            assert len(np.load(disk / "kept" / "x.npy")) == 10
        fill(disk / "kept")
        assert np.load(disk / "kept" / "x.npy").all()


def test_a_file_that_may_not_grow_is_one_line(tmp_path):
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, usual[1]))
    try:
        with pytest.raises(OSError, match="kept cannot be written: File too large"):
            fill(tmp_path / "kept")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_what_is_read_is_not_blamed_on_the_folder(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match=r"picture\.png"),
        whole_folder(tmp_path / "kept"),
    ):
        (tmp_path / "picture.png").read_bytes()
