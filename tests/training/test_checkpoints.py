"""Checkpoints: a fault of the system is no damage, and none is ever deleted for one."""

import contextlib
import errno
import threading
import time

import chex
import jax
import numpy as np
import optax
import pytest

from iin_jax.training.checkpoints import Checkpoints
from iin_jax.training.state import TrainState
from tests.files.shortages import full, no_handles, small_disk

ARRAYS = 12  # several, so that Orbax's writes run side by side


def state_at(step: int, value: float = 0.0) -> TrainState:
    rng = np.random.default_rng(step)
    params = {
        f"w{i}": rng.standard_normal((100, 200)).astype(np.float32)
        for i in range(ARRAYS)
    }
    state = TrainState.create(optax.sgd(0.1), {**params, "x": np.float32(value)})
    return state.replace(step=np.int32(step))


def saved(folder, steps=(1, 2), say=print) -> Checkpoints:
    checkpoints = Checkpoints(folder, say=say)
    for step in steps:
        checkpoints.save(state_at(step))
    return checkpoints


def steps_in(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_no_file_handle_is_no_damage(tmp_path):
    said = []
    checkpoints = saved(tmp_path, say=said.append)
    with (
        no_handles(),
        pytest.raises(OSError, match=r"2 cannot be read: Too many open files$"),
    ):
        checkpoints.restore(state_at(0))
    assert steps_in(tmp_path) == ["1", "2"] and said == []
    assert int(checkpoints.restore(state_at(0)).step) == 2


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "Input/output error"),
        PermissionError(errno.EACCES, "Permission denied"),
        ValueError("UNKNOWN: Error reading: x [os_error_code='5']\nmore"),
        MemoryError(),
    ],
)
def test_no_error_of_the_system_is_damage(tmp_path, monkeypatch, error):
    checkpoints = saved(tmp_path)

    def restore(*arguments, **options):
        raise error

    monkeypatch.setattr(checkpoints._manager, "restore", restore)
    with pytest.raises(OSError, match=r"2 cannot be read: [^\n]+$"):
        checkpoints.restore(state_at(0))
    assert steps_in(tmp_path) == ["1", "2"]


def test_a_damaged_checkpoint_is_kept_under_another_name(tmp_path):
    said = []
    for number in ("", "2"):
        checkpoints = saved(tmp_path, (1, 2) if not number else (2,), said.append)
        files = [p for p in (tmp_path / "2" / "state").rglob("*") if p.is_file()]
        for file in files:
            file.write_bytes(file.read_bytes()[:50])
        assert int(checkpoints.restore(state_at(0)).step) == 1
        assert f"kept as 2.damaged{number}; going back to step 1" in said[-1]
        kept = tmp_path / f"2.damaged{number}"
        assert all((kept / p.relative_to(tmp_path / "2")).is_file() for p in files)
    again = Checkpoints(tmp_path)
    again.save(state_at(2, 5.0))
    assert float(again.restore(state_at(0)).params["x"]) == 5.0
    assert steps_in(tmp_path) == ["1", "2", "2.damaged", "2.damaged2"]


def test_a_checkpoint_of_the_same_step_is_replaced(tmp_path):
    checkpoints = saved(tmp_path)
    checkpoints.save(state_at(2, 7.0))
    assert float(checkpoints.restore(state_at(0)).params["x"]) == 7.0
    assert steps_in(tmp_path) == ["1", "2"]


@pytest.mark.parametrize("left", [0, 20_000, 500_000])
@pytest.mark.parametrize("step", [2, 3])
def test_a_full_disk_is_one_line_and_training_goes_on_with_space(
    tmp_path, capfd, left, step
):
    with small_disk(tmp_path / "disk") as disk:
        checkpoints = saved(disk / "kept")
        with (
            full(disk, left),
            pytest.raises(OSError, match=r"No space left[^\n]*$") as error,
        ):
            checkpoints.save(state_at(step))
        assert str(error.value).startswith(f"{disk / 'kept' / str(step)} cannot be")
        assert steps_in(disk / "kept") == ["1", "2"]
        chex.assert_trees_all_equal(
            jax.device_get(checkpoints.restore(state_at(0)).params), state_at(2).params
        )
        checkpoints.save(state_at(3))
        assert int(Checkpoints(disk / "kept").restore(state_at(0)).step) == 3
    assert capfd.readouterr() == ("", "")


def test_writes_that_end_after_the_error_leave_nothing(tmp_path, monkeypatch):
    checkpoints = saved(tmp_path)
    written = []

    def write_on(folder):
        for number in range(20):
            with contextlib.suppress(OSError):  # removed in between
                folder.mkdir(parents=True, exist_ok=True)
                (folder / str(number)).touch()
            written.append(number)
            time.sleep(0.01)

    def save(step, args):
        folder = tmp_path / f"{step}.orbax-checkpoint-tmp" / "state"
        threading.Thread(target=write_on, args=(folder,)).start()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints._manager, "save", save)
    with pytest.raises(OSError, match=r"3 cannot be written: No space left"):
        checkpoints.save(state_at(3))
    assert len(written) == 20 and steps_in(tmp_path) == ["1", "2"]
