"""The report: its figures show the edits, and its page needs no other file."""

import base64
import dataclasses
import io
import json
import re

import matplotlib.image
import numpy as np
import pytest

import iin_jax
from iin_jax.analysis import Examples
from iin_jax.analysis.embedding import EmbeddingAnalysis, draw_maps
from iin_jax.report import RunRecord, figures, write


def mosaic_of(figure):
    return np.asarray(figure.axes[0].get_images()[0].get_array())


@pytest.mark.thorough
def test_the_swap_grid_shows_the_swaps(interpreter, images):
    rows, columns = images[:3], images[3:5]
    shown = mosaic_of(figures.swap_grid(interpreter, rows, columns, "color"))
    gap = 2
    top, left = 8 + gap, 8 + gap
    for i in range(3):
        for j in range(2):
            cell = shown[top + 8 * i : top + 8 * i + 8, left + 8 * j : left + 8 * j + 8]
            swapped = interpreter.swap(columns[j : j + 1], rows[i : i + 1], ["color"])[
                0
            ]
            expected = (np.asarray(swapped) + 1) / 2
            np.testing.assert_allclose(cell, expected, atol=1e-4)
    np.testing.assert_allclose(shown[:8, left : left + 8], (columns[0] + 1) / 2)
    np.testing.assert_allclose(shown[top : top + 8, :8], (rows[0] + 1) / 2)
    assert (shown[:8, :8] == 1.0).all()


def test_loss_curves_draw_what_was_logged():
    lines = [
        {"step": 10, "loss": 3.0},
        {"step": 20, "loss": 2.0, "validation_loss": 2.5},
        {"step": 30, "loss": 1.0, "validation_loss": 2.2},
    ]
    axis = figures.loss_curves(lines, "flow").axes[0]
    curves = {line.get_label(): line.get_xydata().tolist() for line in axis.lines}
    assert curves == {
        "training images": [[10, 3.0], [20, 2.0], [30, 1.0]],
        "held-out images": [[20, 2.5], [30, 2.2]],
    }


def test_a_flows_curve_has_the_gaussian_beside_it():
    lines = [
        {"step": 1, "loss": -3.0, "bits_per_dim": 1.0, "gaussian_bits_per_dim": 1.5},
        {"step": 2, "loss": -4.0, "bits_per_dim": 0.5, "gaussian_bits_per_dim": 1.5},
    ]
    axis = figures.loss_curves(lines, "flow", kept=2).axes[1]
    curves = {line.get_label(): list(line.get_ydata()) for line in axis.lines}
    assert curves.pop("state that was kept") == [0, 1]
    assert curves == {"training images": [1.0, 0.5], "Gaussian fitted to z": [1.5, 1.5]}


def test_the_page_holds_every_picture_and_no_address(interpreter, images, tmp_path):
    labels = {
        "digit": np.arange(8) % 3,
        "color": np.random.default_rng(0).uniform(size=(8, 3)),
        "angle": np.linspace(0.0, 1.0, 8),
    }
    record = RunRecord(
        "A <title>",
        "python -m experiments.run digits",
        curves={"flow": [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]},
    )
    path = write(
        interpreter,
        images,
        labels,
        tmp_path / "report.html",
        record=record,
        figures_folder=tmp_path / "figures",
    )
    page = path.read_text()
    assert not re.search(r"""(src|href)=["'](?!data:)""", page)
    assert "http" not in page
    assert "A &lt;title&gt;" in page and "python -m experiments.run digits" in page
    embedded = [
        base64.b64decode(data) for data in re.findall(r"base64,([A-Za-z0-9+/=]+)", page)
    ]
    names = {file.stem for file in (tmp_path / "figures").glob("*.png")}
    assert len(embedded) == len(names)
    for concept in ("digit", "color", "residual"):
        assert {
            f"{kind}_{concept}" for kind in ("swap", "interpolate", "sample")
        } <= names
    assert {"maps_digit", "maps_color", "maps_angle", "sizes", "loss_flow"} <= names
    for png in embedded:
        picture = matplotlib.image.imread(io.BytesIO(png))
        assert min(picture.shape[:2]) > 50 and picture[..., :3].std() > 0.01


@pytest.mark.parametrize("classes", [2, 10])
def test_maps_name_the_classes(interpreter, images, classes):
    names = [f"kind {letter}" for letter in "abcdefghij"[:classes]]
    images = np.tile(images[:8], (5, 1, 1, 1))
    kind = np.ma.array(np.resize(names, len(images)))
    kind[0] = np.ma.masked
    values = {"kind": kind, "size": np.linspace(0, 1, len(images))}
    examples = Examples.of(interpreter.network, images, values)
    analysis = EmbeddingAnalysis()
    card = json.loads(json.dumps(analysis.mapped(interpreter, examples).entries()))
    section = analysis.section(analysis.record.of(card))
    (legend,) = section.figures["maps_kind"].legends
    assert [text.get_text() for text in legend.get_texts()] == names
    points = section.figures["maps_kind"].axes[0].collections
    assert sum(len(x.get_offsets()) for x in points) == len(images) - 1
    assert not section.figures["maps_size"].legends
    assert section.figures["maps_size"].axes[-1].get_ylabel() == "size"  # its scale


@pytest.mark.parametrize(("classes", "marks"), [(2, 2), (10, 10), (20, 20), (30, 11)])
def test_classes_are_told_apart_by_shape_and_colour(classes, marks):
    values = np.repeat([f"kind {k}" for k in range(classes)], 3)
    points = {"a": np.random.default_rng(0).standard_normal((len(values), 2))}
    figure = draw_maps(points, "kind", values)
    drawn = figure.axes[0].collections
    shapes = [mark.get_paths()[0].vertices.tobytes() for mark in drawn]
    colors = [mark.get_facecolor().tobytes() for mark in drawn]
    assert len(drawn) == len({*zip(shapes, colors, strict=True)}) == marks
    assert len({*shapes}) >= min(marks, 10)
    assert len(figure.legends[0].get_texts()) == marks
    assert sum(len(mark.get_offsets()) for mark in drawn) == len(values)


@pytest.mark.parametrize(
    ("count", "labels", "message"),
    [
        (1, {}, "at least two images"),
        (8, {}, "needs labels"),
        (8, {"digit": np.arange(5)}, "5 labels for 8"),
    ],
)
def test_mistakes_are_one_clear_line(
    interpreter, images, tmp_path, count, labels, message
):
    with pytest.raises(ValueError, match=message):
        write(interpreter, images[:count], labels, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_names_are_drawn_as_they_are_written(interpreter, images, tmp_path):
    labels = {
        "x $a_$": np.arange(len(images)) % 2,
        "price": np.array(["$5-$10", "$a_$ off"])[np.arange(len(images)) % 2],
    }
    page = write(interpreter, images, labels, tmp_path / "report.html")
    assert page.is_file()


def test_edits_that_leave_the_data_are_framed(interpreter, images):
    known = interpreter.with_held_out(interpreter.encode(images))
    far = dataclasses.replace(known, held_out=(1e6, 2e6))  # all edits are unlikely
    figure = figures.swap_grid(far, images[:2], images[2:5], "digit")
    assert len(figure.axes[0].patches) == 6
    assert "framed" in figure.get_suptitle()
    near = dataclasses.replace(known, held_out=(-1e6, 1e6))
    figure = figures.swap_grid(near, images[:2], images[2:5], "digit")
    assert not figure.axes[0].patches and "framed" not in figure.get_suptitle()


@pytest.mark.thorough
def test_without_concepts_there_are_axes_and_neighbours(interpreter, images, tmp_path):
    layout = iin_jax.FactorLayout({"residual": 8})
    plain = dataclasses.replace(interpreter, layout=layout)
    path = write(plain, images, {"kind": np.arange(8) % 2}, tmp_path / "report.html")
    page = path.read_text()
    assert "Axes of the residual" in page and "learned by heart" in page
    figure = figures.axes(plain, images, "residual")
    title = figure.get_suptitle()
    shares = [float(x) for x in re.findall(r"(\d+) %", title)]
    assert len(shares) == 6 and shares == sorted(shares, reverse=True)
    assert (
        "Axes of the residual"
        not in write(
            interpreter, images, {"kind": np.arange(8) % 2}, tmp_path / "other.html"
        ).read_text()
    )
