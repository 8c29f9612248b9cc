"""Concepts from two sketches on the command line."""

import json

import jax
import numpy as np
import pytest

import iin_jax
from experiments.draw_sketches import draw
from experiments.draw_sketches import main as draw_main
from iin_jax.analysis import ColorJudge
from iin_jax.analysis.strokes import stroke_width
from iin_jax.runs import configs
from iin_jax.runs.command import main, parse
from iin_jax.runs.conditions import check
from iin_jax.runs.differences import as_json
from iin_jax.runs.folder import RunFolder
from iin_jax.runs.run import Run

FEW = ("--data.limit", "24", "--concept.sketched-images", "60")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("IIN_JAX_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def sketches(tmp_path):
    thin, thick = draw("thin_thick", tmp_path)
    return ["--concept.sketch-a", str(thin), "--concept.sketch-b", str(thick)]


def run_of(tmp_path, flags):
    workdir = ("--workdir", str(tmp_path / "run"))
    options = parse(configs.find("sketches"), [*flags, *workdir])
    check(options.experiment)
    return Run.of("sketches", options.experiment, tmp_path / "run", "")


@pytest.mark.thorough
def test_pairs_are_of_one_picture_and_differ_in_the_stroke_alone(tmp_path, sketches):
    run = run_of(tmp_path, [*sketches, *FEW, "--latents.variants", "2"])
    assert run.concepts.names == ("stroke",)
    assert run.concepts.attributes == ("digit", "stroke", "color")
    images = run.images.train_set
    drawn = run.concepts.source(images).draws().draw(jax.random.key(0), np.arange(200))
    a, b = np.asarray(drawn.index_a), np.asarray(drawn.index_b)
    assert (images.pictures[a] == images.pictures[b]).all()
    assert (images.original[a] == images.original[b]).all()
    assert (images.color[a] == images.color[b]).all()
    assert (images.labels["stroke"][a] != images.labels["stroke"][b]).all()
    np.testing.assert_array_equal(np.asarray(drawn.shared), [[False, True]] * 200)
    pictures = run.images.dataset.pictures
    splits = [set(items % pictures) for items in run.images.splits.values()]
    assert sum(map(len, splits)) == len(set.union(*splits)) == pictures == 60
    a, b = run.concepts.swap_sides()
    assert (a.labels["stroke"] != b.labels["stroke"]).all()


@pytest.mark.thorough
def test_named_attributes_are_concepts_beside_it(tmp_path, sketches):
    named = ["--concept.names", "digit", "--concept.sizes", "6", "2"]
    run = run_of(tmp_path, [*sketches, *FEW, *named, "--concept.sketched", "width"])
    assert run.concepts.names == ("digit", "width")
    assert run.concepts.given_sizes == {"digit": 6, "width": 2}
    table = run.concepts.source(run.images.train_set).draws()
    shared = np.asarray(table.draw(jax.random.key(0), np.arange(400)).shared)
    assert {tuple(row) for row in shared} >= {(True, False, True), (True, False, False)}


@pytest.mark.thorough
def test_strokes_become_like_the_sketches(tmp_path, sketches):
    dataset = run_of(tmp_path, [*sketches, *FEW]).images.dataset
    images = dataset.images.astype(np.float32) / 127.5 - 1.0
    widths = stroke_width(images).reshape(3, -1)
    plain, thin, thick = np.nanmean(widths, axis=1)
    assert thin < plain - 0.5 and thick > plain + 0.5
    assert (widths[2] > widths[1]).mean() > 0.95


def test_painted_versions_have_one_colour(tmp_path, sketches):
    run = run_of(tmp_path, [*sketches, *FEW])
    view, pictures = run.images.view, np.arange(run.images.dataset.pictures)
    read = [
        ColorJudge().read(view.singles(pictures + k * len(pictures), "test").images())
        for k in range(3)
    ]
    assert np.std(read[0], axis=0).min() > 0.1
    # 0.02 as the styliser leaves them
    assert np.abs(np.subtract(read[1:], read[0])).mean() < 0.005


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "needs --concept.sketch-a, a picture (python -m experiments.draw"),
        (["--concept.sketch-a", "a.png"], "needs --concept.sketch-b"),
        (["--concept.sketch-a", "a.png", "--concept.sketch-b", "b.png"], "a.png"),
        (["--concept.source", "labels", "--concept.sketch-a", "x"], "need --concept.s"),
        (["--concept.styliser", "transprot"], "transport"),
        (["--latents.mode", "stream"], "a concept from sketches needs"),
        (["--concept.sketched", "digit"], "'digit' already"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, sketches, capsys, flags, message):
    if "digit" in flags:
        flags = [*sketches, *flags]
    workdir = ["--workdir", str(tmp_path / "run")]
    assert main(["sketches", *FEW, *flags, *workdir]) in (1, 2)
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_stream_distorts_versions_apart(tmp_path, sketches):
    with pytest.raises(ValueError, match=r"sketches need --latents\.mode cache"):
        run_of(tmp_path, [*sketches, "--latents.mode", "stream"])


def test_settings_of_an_earlier_version_are_the_usual_ones(tmp_path):
    experiment = configs.find("digits").experiment
    recorded = as_json(experiment)
    for name in ("sketch_a", "sketch_b", "sketched", "styliser", "sketched_images"):
        del recorded["concept"][name]
    folder = RunFolder(tmp_path / "run")
    with folder.held():
        folder.check_settings("digits", experiment)
        config = iin_jax.files.json_files
        settings = {"name": "digits", "experiment": recorded}
        config.write_description(tmp_path / "run" / "config.json", settings)
        folder.check_settings("digits", experiment)


def test_the_script_draws_what_it_is_asked_for(tmp_path, capsys):
    assert draw_main(["round_angular", str(tmp_path), "32"]) == 0
    assert {p.name for p in tmp_path.glob("*.png")} == {"round.png", "angular.png"}
    assert draw_main(["thick_thin", str(tmp_path)]) == 2
    assert draw_main(["thin_thick", str(tmp_path), "4"]) == 2
    assert capsys.readouterr().err.count("usage") == 2


@pytest.mark.slow
def test_a_whole_run(tmp_path, sketches, capsys):
    flags = [*sketches, "--smoke", "--concept.sizes", "3", *FEW]
    assert main(["sketches", *flags, "--workdir", str(tmp_path / "run")]) == 0
    assert "Report:" in capsys.readouterr().out
    card = json.loads((tmp_path / "run" / "scorecard.json").read_text())
    walks = card["walks"]["stroke"]
    assert set(walks["factor"]["kept"]) == {"digit", "color"}
    assert 3 * walks["images"] == card["test_images"] and len(walks["ends"][0]) == 3
    assert set(card["truth_l1"]["stroke"]) >= {"edited", "linear", "unedited"}
    figures = {path.stem for path in (tmp_path / "run" / "figures").glob("*.png")}
    assert {"sketches", "sketched_images", "walk_stroke"} <= figures
    assert (
        "from one sketch to the other"
        in (tmp_path / "run" / "report.html").read_text().lower()
    )
