"""Two-dimensional maps of single factors by principal component analysis."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from iin_jax.analysis.base import Evidence, Examples, Record, Section, new_figure
from iin_jax.analysis.marks import MARKERS, SAFE_COLORS
from iin_jax.data.values import is_class, known_rows, plain
from iin_jax.interpreter import Interpreter
from iin_jax.types import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_POINTS = 1000  # most latents on a map
MAP_COLUMNS = 3  # most maps beside each other
MOST_MARKS = 20  # most classes that have a mark of their own each
FREQUENT = 10  # classes with a mark of their own where there are more
DIGITS = 4  # digits of the largest coordinate or real value in a scorecard


def factor_maps(interpreter: Interpreter, z: Array) -> dict[str, np.ndarray]:
    """The first two principal components of every factor.

    Args:
      interpreter: T and layout.
      z: latents (n, N), n >= 2.

    Returns:
      factor -> points (n, 2). A factor of one dimension has 0 as second coordinate; an
      empty factor is left out.
    """
    from sklearn.decomposition import PCA

    maps = {}
    for name, part in interpreter.to_factors(z).items():
        values = np.asarray(part)
        if values.shape[1] == 1:
            maps[name] = np.concatenate([values, np.zeros_like(values)], axis=1)
        elif values.shape[1] > 1:
            maps[name] = PCA(2).fit_transform(values)
    return maps


@dataclasses.dataclass(frozen=True)
class Maps:
    """Points of every factor, and the attribute values that colour them.

    Attributes:
      points: factor -> n points of two coordinates.
      values: attribute -> n values or n RGB colours in [0, 1]; None where missing.
    """

    points: dict[str, list[list[float]]]
    values: dict[str, list[Any]]


@dataclasses.dataclass(frozen=True)
class EmbeddingRecord(Record):
    """Maps of at most 1,000 test images.

    Attributes:
      embedding: points and values.
    """

    embedding: Maps


class EmbeddingAnalysis:
    """Maps the first two principal components of every factor, on test images."""

    record = EmbeddingRecord

    def measure(self, evidence: Evidence) -> EmbeddingRecord | None:
        return self.mapped(evidence.interpreter, evidence.test, evidence.seed)

    def mapped(
        self, interpreter: Interpreter, images: Examples, seed: int = 0
    ) -> EmbeddingRecord | None:
        """Maps of at most 1,000 images.

        Args:
          interpreter: T and layout.
          images: examples, with attribute values that colour the points.
          seed: seed of the choice of images.

        Returns:
          The maps; None for fewer than two images, or without values.
        """
        if len(images) < 2 or not images.values:
            return None
        rng = np.random.default_rng([seed, 0x3A95])
        part = np.sort(rng.permutation(len(images))[:MAX_POINTS])
        maps = factor_maps(interpreter, images.latents.mean[part])
        points = {name: _rounded(x).tolist() for name, x in maps.items()}
        values = {name: _as_list(images.named(name, part)) for name in images.values}
        return EmbeddingRecord(Maps(points, values))

    def section(self, record: EmbeddingRecord) -> Section:
        maps = record.embedding
        points = {name: np.array(x) for name, x in maps.points.items()}
        values = {name: _as_column(x) for name, x in maps.values.items()}
        text = (
            "Every point is one held-out image, placed by the two directions in which "
            "the factor varies most (its principal components; the axes have no unit). "
            "There is one figure for every attribute: images alike in a concept should "
            "stand together in the map of its own factor, and mix in all others."
        )
        figures = {
            f"maps_{name}": draw_maps(points, name, x) for name, x in values.items()
        }
        return Section("Maps of the factors", [text], figures=figures)


def _rounded(values: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """Values (n, ...) to the last of four digits of the largest, for short files."""
    largest = np.abs(values if known is None else values[known]).max(initial=0.0)
    if largest == 0.0 or not np.isfinite(largest):
        return values
    return np.round(values, DIGITS - 1 - int(np.floor(np.log10(largest))))


def _as_list(values: np.ndarray) -> list[Any]:
    """Values as JSON values, None where missing."""
    known, entries = known_rows(values), plain(values)
    if entries.dtype.kind == "f":
        entries = _rounded(entries, known)
    pairs = zip(entries.tolist(), known, strict=True)
    return [x if is_known else None for x, is_known in pairs]


def _as_column(values: list[Any]) -> np.ndarray:
    """The column that ``_as_list`` turned into a list, masked where missing."""
    missing = np.array([x is None for x in values])
    known = next((x for x in values if x is not None), 0)
    column = np.array([known if x is None else x for x in values])
    mask = np.broadcast_to(missing.reshape(-1, *[1] * (column.ndim - 1)), column.shape)
    return np.ma.array(column, mask=mask) if missing.any() else column


def draw_maps(
    positions: dict[str, np.ndarray], attribute: str, values: np.ndarray
) -> "Figure":
    """Scatter plots of every factor, with marks for the values of one attribute.

    Up to 20 classes have a marker and colour each; of more, the ten most frequent do,
    and all others share a grey dot. Colours are drawn as they are, real values by a
    scale beside the maps.

    Args:
      positions: factor -> points (n, 2).
      attribute: name of the attribute.
      values: (n,), or colours (n, 3); missing values are not drawn.
    """
    columns = min(MAP_COLUMNS, len(positions))
    rows = -(-len(positions) // columns)
    figure = new_figure(2.2 * columns + 0.4, 2.1 * rows + 0.7)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    known = known_rows(values)
    values = np.ma.getdata(values)[known]
    marks = _marks(values)
    for axis, (factor, points) in zip(axes, positions.items(), strict=False):
        axis.set_title(f"factor {factor}, by {attribute}", fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
        if not len(values):
            axis.text(0.5, 0.5, "no value is known", ha="center", fontsize=8)
        for rows_of_mark, options in marks:
            axis.scatter(*points[known][rows_of_mark].T, **options)
    for axis in axes[len(positions) :]:
        axis.axis("off")
    _explain(figure, axes[: len(positions)], attribute, values, marks)
    return figure


def _marks(values: np.ndarray) -> list[tuple[np.ndarray, dict[str, Any]]]:
    """Rows and options of ``Axes.scatter``, with a label for each class.

    Args:
      values: known values (n,), or colours (n, 3).
    """
    everywhere = np.ones(len(values), bool)
    if values.ndim == 2:
        return [(everywhere, {"s": 8, "color": np.clip(values, 0.0, 1.0)})]
    if not is_class(values):
        return [(everywhere, {"s": 8, "c": values, "cmap": "viridis"})]
    classes, counts = np.unique(values, return_counts=True)
    others = np.zeros(len(values), bool)
    if len(classes) > MOST_MARKS:
        frequent = np.argsort(-counts, kind="stable")[:FREQUENT]
        others = ~np.isin(values, classes[frequent])
        classes = classes[np.sort(frequent)]
    marks = []
    if others.any():
        label = f"{len(counts) - len(classes)} other classes"
        marks.append((others, {"s": 2, "c": "0.8", "marker": ".", "label": label}))
    for index, name in enumerate(classes.tolist()):
        options = {
            "s": 14,
            "lw": 0,
            "alpha": 0.8,
            "color": SAFE_COLORS[index % len(SAFE_COLORS)],
            "marker": MARKERS[index % len(MARKERS)],
            "label": str(name),
        }
        marks.append((values == name, options))
    return marks


def _explain(figure: "Figure", axes, attribute: str, values: np.ndarray, marks) -> None:
    """Adds a legend of classes, a scale of real values, or a line on colours."""
    if not len(values):
        return
    if values.ndim == 2:
        text = f"points are drawn in the {attribute} of their image"
        figure.supxlabel(text, fontsize=8)
    elif not is_class(values):
        scale = figure.colorbar(axes[0].collections[0], ax=list(axes), shrink=0.8)
        scale.set_label(attribute, fontsize=8)
        scale.ax.tick_params(labelsize=8)
    else:
        handles = axes[0].collections
        names = [options["label"] for _, options in marks]
        # names are given, since a legend would hide those that begin with _
        place = "outside lower center"
        figure.legend(handles, names, loc=place, ncols=5, fontsize=8, markerscale=1.4)
