"""Lines of metrics: damage is named and passed over, a full disk is one line."""

import json
import warnings

import pytest

from iin_jax.training.log import MetricsLog
from tests.files.shortages import full, small_disk

GOOD = b'{"stage": "flow", "step": 10, "time": 1.0, "loss": 2.0}'


def line(**changes) -> bytes:
    return json.dumps({**json.loads(GOOD), **changes}).encode()


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (GOOD.replace(b"loss", b"lo\xffs"), "can't decode byte 0xff"),
        (b"12", "a int, no object"),
        (b"[1, 2]", "a list, no object"),
        (b"null", "no object"),
        (b"{}", "without a stage or a step"),
        (b'{"stage": "flow", "loss": 1.0}', "without a stage or a step"),
        (b'{"step": 1, "loss": 1.0}', "without a stage or a step"),
        (line(step="ten"), "without a stage or a step"),
        (line(step=True), "without a stage or a step"),
        (line(loss="low"), "'loss' is no number"),
        (line(loss=[1]), "'loss' is no number"),
        (line(loss=10**400), "'loss' is no number"),
        (b"1" * 5000, "digits"),
        (b"[" * 100_000 + b"]", "recursion"),
        (b"loss}", "Expecting value"),
    ],
)
def test_a_damaged_line_is_named_and_left_out(tmp_path, damaged, reason):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"\n".join([GOOD, damaged, line(step=30), b""]))
    with pytest.warns(UserWarning, match="line 2") as caught:
        lines = MetricsLog.read(tmp_path, "flow")
    assert [entry["step"] for entry in lines] == [10, 30]
    (message,) = [str(warning.message) for warning in caught]
    assert message.startswith(str(path)) and reason in message
    assert "\n" not in message and len(message) < 500


def test_whole_lines_of_other_stages_and_cut_ones_need_no_warning(tmp_path):
    path = tmp_path / "metrics.jsonl"
    other = line(stage="network", step=5)
    path.write_bytes(b"\n".join([other, GOOD[:30], line(loss=float("nan")), GOOD[:9]]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [entry["step"] for entry in MetricsLog.read(tmp_path, "flow")] == [10]


def test_several_damaged_lines_are_counted(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b"1\n" * 5)
    with pytest.warns(UserWarning, match=r"without line 1 \(.*\) and 4 more$"):
        assert MetricsLog.read(tmp_path, "flow") == []


def test_a_missing_file_is_said(tmp_path):
    with pytest.warns(UserWarning, match=str(tmp_path)):
        assert MetricsLog.read(tmp_path, "flow") == []


def test_a_full_disk_is_one_line_with_the_path(tmp_path, capfd):
    with small_disk(tmp_path / "disk", 2**20) as disk:
        log = MetricsLog(disk, "flow")
        log.write(1, {"loss": 1.0})
        message = rf"^{disk}[^\n]* cannot be written: No space left on device$"
        with full(disk), pytest.raises(OSError, match=message):
            for step in range(1000):
                log.write(step, {"loss": 1.0})
        with full(disk), pytest.raises(OSError, match=message):
            log.close()
        log = MetricsLog(disk, "flow")
        log.write(2000, {"loss": 3.0})
        log.close()
        assert MetricsLog.read(disk, "flow")[-1]["loss"] == 3.0
    assert capfd.readouterr().err == ""
