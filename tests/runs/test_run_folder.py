"""A run is complete only if its results are what it wrote; lost records are named.

The command line with stages that write a few bytes in no time.
"""

import json
import shutil

import pytest

from iin_jax.files.json_files import read_description, write_description
from iin_jax.runs import progress
from iin_jax.runs.command import main
from iin_jax.runs.folder import BEGUN, RESULTS, RunFolder

NAMES = list(RESULTS)
FILES = {
    "network": ("network/network.json", "network/network.safetensors"),
    "latents": ("latents/train/mean.npy", "latents/train/origin.json"),
    "sizes": ("sizes.json",),
    "flow": ("interpreter/interpreter.json", "training.json"),
    "evaluate": ("scorecard.json",),
    "report": ("report.html", "figures/swap_digit.png"),
}
CARD = '{"sizes": {"residual": 32}}'


class FakeStages:
    """Stages that write their files at once.

    Attributes:
      begun: the stages that ran, in order.
      contents: file -> text that is not the usual one.
      broken: a stage that is interrupted; None: none is.
    """

    def __init__(self):
        self.begun, self.contents, self.broken = [], {"scorecard.json": CARD}, None

    def stage(self, name):
        def write(run):
            self.begun.append(name)
            if name == "flow":  # what an unfinished training of T leaves
                put(run.folder.path / "flow" / "3", "state")
            if name == self.broken:
                raise KeyboardInterrupt
            for file in FILES[name]:
                put(run.folder.path / file, self.contents.get(file, f"of {file}"))

        return write


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def stages(monkeypatch):
    fake = FakeStages()
    named = {name: fake.stage(name) for name in NAMES}
    monkeypatch.setattr(progress, "STAGES", named)
    return fake


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """A complete run, to be copied."""
    folder = tmp_path_factory.mktemp("complete") / "run"
    with pytest.MonkeyPatch.context() as patch:
        fake = FakeStages()
        named = {name: fake.stage(name) for name in NAMES}
        patch.setattr(progress, "STAGES", named)
        assert start(folder) == 0
    assert fake.begun == NAMES
    return folder


@pytest.fixture
def run(complete, tmp_path):
    return shutil.copytree(complete, tmp_path / "run")


def start(folder, *flags):
    return main(["digits", "--smoke", "--workdir", str(folder), *flags])


def label(name):
    return f"[{NAMES.index(name) + 1}/6] {name}:"


def test_undamaged_there_is_nothing_to_do(run, stages, capsys):
    assert start(run) == 0
    assert "complete: nothing to do" in capsys.readouterr().out
    assert stages.begun == []


def change(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


DAMAGES = {
    "changed": (change, "is not as it was written"),
    "emptied": (lambda file: file.write_bytes(b""), "is not as it was written"),
    "lost": (lambda file: file.unlink(), "is gone"),
}


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("name", NAMES)
def test_from_a_damaged_result_on_all_is_done_again(run, stages, capsys, name, kind):
    damage, reason = DAMAGES[kind]
    file = FILES[name][-1]
    damage(run / file)
    assert RunFolder(run).fault(name) == f"{file} {reason}"
    assert start(run) == 0
    said, first = capsys.readouterr().out.splitlines(), NAMES.index(name)
    assert stages.begun == NAMES[first:]
    assert [f"{label(x)} complete" in said for x in NAMES[:first]] == [True] * first
    assert f"{label(name)} {file} {reason}; done again" in said
    for later in NAMES[first + 1 :]:
        assert f"{label(later)} stands on that; done again" in said
    assert not any(RunFolder(run).fault(x) for x in NAMES)
    start(run)
    assert "nothing to do" in capsys.readouterr().out


def test_every_file_of_a_result_counts(run):
    folder = RunFolder(run)
    for name, files in FILES.items():
        assert {*folder.stages[name]["results"]} == {*files}
        for file in files:
            (run / file).rename(run / "moved")
            assert folder.fault(name) == f"{file} is gone"
            (run / "moved").rename(run / file)
        assert folder.fault(name) == ""


def test_without_the_list_of_its_results_a_stage_is_not_complete(run, stages, capsys):
    entries = read_description(run / "stages.json")
    del entries["report"]["results"]
    write_description(run / "stages.json", entries)
    fault = RunFolder(run).fault("report")
    assert fault == "the list of its results is gone"
    assert start(run) == 0 and stages.begun == ["report"]
    assert f"{label('report')} {fault}; done again" in capsys.readouterr().out


def test_seconds_of_what_is_done_again_begin_anew(run, stages):
    entries = read_description(run / "stages.json")
    for name in ("sizes", "report"):
        entries[name]["seconds"] = 1000.0
    write_description(run / "stages.json", entries)
    (run / "report.html").unlink()
    assert start(run) == 0
    after = RunFolder(run).stages
    assert after["sizes"]["seconds"] == 1000.0 and after["report"]["seconds"] < 500


@pytest.mark.parametrize(
    ("file", "other"),
    [
        ("network/network.safetensors", True),
        ("latents/train/mean.npy", True),
        ("sizes.json", True),
        ("latents/train/origin.json", False),  # it holds seconds
        (None, False),
    ],
)
def test_t_is_trained_anew_if_what_it_stands_on_is_other(
    run, stages, capsys, file, other
):
    (run / "network/network.json").unlink()
    stages.contents[file] = "otherwise"
    stages.broken = "flow"
    put(run / "flow" / "2", "an older state")
    assert start(run) == 143
    said = capsys.readouterr().out
    assert ("came out otherwise than before, so T is trained anew" in said) == other
    assert (run / "flow" / "2").exists() != other


@pytest.mark.parametrize("killed_in", ["network", "latents"])
def test_that_is_known_even_if_doing_it_again_is_interrupted(
    run, stages, capsys, killed_in
):
    (run / "network/network.json").unlink()
    stages.broken = killed_in
    put(run / "flow" / "2", "an older state")
    assert start(run) == 143
    assert RunFolder(run).fault(killed_in) == "not complete"
    stages.broken, stages.contents["latents/train/mean.npy"] = "flow", "otherwise"
    assert start(run) == 143
    assert "latents came out otherwise" in capsys.readouterr().out
    assert not (run / "flow" / "2").exists()


def test_a_first_go_that_was_interrupted_goes_on(stages, tmp_path, capsys):
    stages.broken = "flow"
    assert start(tmp_path) == 143
    out = capsys.readouterr().out
    assert "interrupted; complete stages are kept; go on with:\n  python -m" in out
    entry = RunFolder(tmp_path).stages["flow"]
    assert entry["complete"] is False and "results" not in entry
    stages.broken = None
    assert start(tmp_path) == 0
    out = capsys.readouterr().out
    assert stages.begun == [*NAMES[:4], *NAMES[3:]]
    assert "done again" not in out and "anew" not in out
    assert (tmp_path / "flow" / "3").exists()


def refused(capsys):
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    return error


@pytest.mark.parametrize("beside", BEGUN)
def test_a_lost_config_is_refused_beside_anything_it_made(run, stages, capsys, beside):
    put(run / "metrics.jsonl", "")
    for name in {"config.json", *BEGUN} - {beside}:
        (run / name).unlink()
    assert start(run, "--train.steps", "33") == 2
    error = refused(capsys)
    assert f"config.json is lost, so nothing says with which settings {beside}" in error
    assert "restore it or take another folder" in error
    assert stages.begun == [] and not (run / "config.json").exists()


def test_a_folder_with_other_files_alone_is_a_new_run(stages, tmp_path):
    put(tmp_path / "notes.txt", "mine")
    put(tmp_path / ".lock", "")
    assert start(tmp_path) == 0 and stages.begun == NAMES


def test_a_lost_data_json_is_refused_once_there_are_results(run, stages, capsys):
    (run / "data.json").unlink()
    (run / "report.html").unlink()
    assert start(run) == 2
    error = refused(capsys)
    assert "data.json is lost, so nothing says which images stages.json" in error
    assert "restore it or take another folder" in error and stages.begun == []
    (run / "stages.json").unlink()
    assert start(run) == 0 and (run / "data.json").is_file()


def test_without_stages_json_all_is_done_again_and_said(run, stages, capsys):
    put(run / "flow" / "7", "a state of T that nothing vouches for")
    (run / "stages.json").unlink()
    assert start(run) == 0 and stages.begun == NAMES
    said = "note: stages.json is lost, so all is done again and T trained anew"
    assert said in capsys.readouterr().out
    assert not (run / "flow" / "7").exists()


@pytest.mark.parametrize("name", ["config.json", "data.json", "stages.json"])
@pytest.mark.parametrize("content", ["", "{", "[1]", '{"a": 1, "checksum": "0"}'])
def test_damaged_records_are_named_with_what_to_do(run, stages, capsys, name, content):
    (run / "report.html").unlink()  # so that there is something to do
    (run / name).write_text(content)
    assert start(run) == 2
    error = refused(capsys)
    assert str(run / name) in error and "restore it or take another folder" in error
    assert stages.begun == []


@pytest.mark.parametrize("name", ["config.json", "data.json", "stages.json"])
def test_a_number_that_changed_is_not_taken_for_a_setting(run, stages, capsys, name):
    (run / "report.html").unlink()
    text = (run / name).read_text()
    place = next(i for i, letter in enumerate(text) if letter.isdigit())
    other = str((int(text[place]) + 1) % 10)
    (run / name).write_text(text[:place] + other + text[place + 1 :])
    assert start(run) == 2
    assert f"{name} cannot be used: its checksum is wrong" in refused(capsys)


def test_records_without_checksums_are_read(run, stages):
    (run / "report.html").unlink()
    for name in ("config.json", "data.json", "stages.json"):
        entries = json.loads((run / name).read_text())
        del entries["checksum"]
        (run / name).write_text(json.dumps(entries))
    assert start(run) == 0 and stages.begun == ["report"]


@pytest.mark.parametrize(
    ("what", "before"),
    [("code", "0123456789ab"), ("jax", "0.4.1"), ("devices", "8 x TPU v4 (tpu)")],
)
def test_what_stages_were_begun_with_is_said_where_it_is_other(
    run, stages, capsys, what, before
):
    entries = read_description(run / "stages.json")
    now = entries["flow"]["made_with"][what]
    entries["flow"]["made_with"][what] = before
    write_description(run / "stages.json", entries)
    (run / "report.html").unlink()
    assert start(run) == 0
    notes = [x for x in capsys.readouterr().out.splitlines() if "begun with" in x]
    assert notes == [
        f"note: flow was begun with other {what}: {before} there, {now} now"
    ]
    assert {"code", "devices", "jax", "numpy"} < {*entries["flow"]["made_with"]}


def test_nothing_is_said_of_what_is_alike(run, stages, capsys):
    (run / "report.html").unlink()
    assert start(run) == 0
    assert "begun with other" not in capsys.readouterr().out
