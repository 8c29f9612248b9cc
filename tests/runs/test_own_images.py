"""Runs on a folder of pictures: what is refused at the start, said and recorded."""

import dataclasses
import json

import numpy as np
import pytest

from iin_jax.data import StoredImages
from iin_jax.runs import configs
from iin_jax.runs.command import main
from iin_jax.runs.conditions import check
from iin_jax.runs.preflight import check_images
from iin_jax.runs.run import Run
from tests.runs.picture_folders import (
    folder_flags,
    folder_run,
    write_pictures,
)

COUNT = 40
KIND = ["wide", "tall"] * (COUNT // 2)
WIDTH = np.random.default_rng(0).random(COUNT)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("IIN_JAX_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    write_pictures(tmp_path / "pictures", {"width": WIDTH, "kind": KIND})
    return tmp_path / "pictures"


def in_split(folder, split, values, value):
    """The values (n,), with one value for all images of a split."""
    changed = np.array(values, object)
    changed[folder_run(folder).images.splits[split]] = value
    return changed


@pytest.mark.parametrize("names", [(), ("width", "kind"), ("kind", "width")])
@pytest.mark.parametrize("continuous", ["quantile", "sigma"])
def test_given_sizes_are_in_the_users_order(folder, names, continuous):
    flags = ["--concept.continuous", continuous, "--concept.sizes", "3", "5"]
    flags += ["--concept.names", *names] if names else []
    run = folder_run(folder, *flags)
    assert run.concepts.given_sizes == dict(
        zip(names or ("width", "kind"), (3, 5), strict=True)
    )
    assert tuple(run.concepts.given_sizes) == run.concepts.names
    if continuous == "sigma":
        assert run.concepts.names == ("kind", "width")  # graded ones come last
    assert folder_run(folder).concepts.given_sizes is None


def test_a_column_called_color_can_be_classified(tmp_path):
    columns = {"color": ["red", "blue"] * (COUNT // 2), "kind": KIND}
    write_pictures(tmp_path / "pictures", columns)
    run = folder_run(tmp_path / "pictures", "--network.kind", "classifier")
    assert run.concepts.classified == "color"
    digits = configs.find("digits").experiment
    assert Run.of("digits", digits, tmp_path, "").concepts.classified == "digit"


def test_numbers_of_persons_are_classes_if_asked_for(tmp_path, capsys):
    persons = [100 + index % 25 for index in range(COUNT)]
    write_pictures(tmp_path / "pictures", {"person": persons, "kind": KIND})
    labels = folder_run(tmp_path / "pictures").images.dataset.labels
    assert labels["person"].dtype == np.float64
    assert "--data.classes person makes each a class" in capsys.readouterr().out
    run = folder_run(tmp_path / "pictures", "--data.classes", "person")
    assert len(run.images.dataset.classes["person"]) == 25
    digits = configs.find("digits").experiment
    data = dataclasses.replace(digits.data, classes=("person",))
    with pytest.raises(ValueError, match=r"data\.classes names columns; the source is"):
        check(dataclasses.replace(digits, data=data))


def test_one_test_image_is_refused_at_the_start(folder):
    run = folder_run(folder, "--data.test", "0.025")
    with pytest.raises(ValueError, match=r"two test images; .*--data\.test"):
        check_images(run)


def test_test_images_that_are_all_alike_are_refused_at_the_start(folder):
    check_images(folder_run(folder))
    kind = in_split(folder, "test", KIND, "wide")
    write_pictures(folder, {"width": WIDTH, "kind": kind})
    message = r"no two of 8 test images differ in \['kind'\].*--concept\.names"
    with pytest.raises(ValueError, match=message):
        check_images(folder_run(folder))
    check_images(folder_run(folder, "--concept.names", "width"))


def test_pairs_for_swaps_are_of_test_images_that_differ(folder):
    run = folder_run(folder)
    a, b = run.concepts.swap_items().T
    assert len(a) == run.experiment.evaluate.pairs
    assert set(a) | set(b) <= set(run.images.splits["test"])
    kind = run.images.dataset.labels["kind"]
    assert (kind[a] != kind[b]).all()


def test_a_column_that_cannot_be_paired_is_named_with_the_switch(folder, capsys):
    names = [f"n{index}" for index in range(COUNT)]
    write_pictures(folder, {"name": names, "kind": KIND})
    assert main(["folder", *folder_flags(folder)]) == 2
    error = capsys.readouterr().err
    assert "concept 'name' has no pairs" in error and "--concept.names" in error
    assert error.count("\n") == 1
    assert not (folder.parent / "run" / "config.json").exists()
    width = in_split(folder, "validation", WIDTH, 0.5)
    write_pictures(folder, {"width": width, "kind": KIND})
    message = r"attribute 'width' has only the value 0\.5.*--concept\.names"
    with pytest.raises(ValueError, match=message):
        check_images(folder_run(folder))


def test_every_image_that_cannot_be_read_is_recorded(folder, capsys):
    broken = [f"{index}.png" for index in (3, 8, 21, 34)]
    for name in broken:
        (folder / name).write_bytes(b"broken")
    found = folder_run(folder, "--data.max-unreadable", "0.2").images.describe()
    assert list(json.loads(json.dumps(found))["unreadable"]) == broken
    said = capsys.readouterr().out
    assert "4 images that cannot be read" in said and "34.png" not in said


def test_images_stay_on_disk_as_the_command_line_says(folder):
    memory = folder_run(folder).images.dataset
    run = folder_run(folder, "--data.max-memory", "0")
    assert isinstance(memory.images, np.ndarray)
    assert isinstance(run.images.dataset.images, StoredImages)
    assert run.images.dataset.digest == memory.digest
    data = dataclasses.replace(run.experiment.data, max_memory=-1)
    with pytest.raises(ValueError, match=r"data\.max_memory cannot be negative"):
        check(dataclasses.replace(run.experiment, data=data))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["cache", "stream"])
def test_a_whole_run_on_images_on_disk(folder, mode, capsys):
    flags = ["--data.max-memory", "0", "--latents.mode", mode]
    assert main(["folder", *folder_flags(folder), *flags]) == 0
    assert "Report:" in capsys.readouterr().out
    card = json.loads((folder.parent / "run" / "scorecard.json").read_text())
    assert list(card["sizes"]) == ["width", "kind", "residual"]
    assert card["certificate"]["round_trip_max_abs"] < 1e-3
