"""Two-dimensional maps of single factors by principal component analysis."""

import dataclasses
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from iin_jax.analysis.base import Evidence, Examples, Record, Section, Values
from iin_jax.data.values import is_class, known_rows, plain
from iin_jax.interpreter import Interpreter
from iin_jax.types import Array

MAX_POINTS = 1000  # most latents on a map
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
            "The first two principal components of every factor, coloured by every "
            "attribute: a concept should be visible in its own factor and in no other."
        )
        figures = {"maps": draw_maps(points, values)}
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


def draw_maps(positions: dict[str, np.ndarray], labels: Values) -> Figure:
    """Scatter plots of every factor (rows), coloured by every attribute (columns).

    Args:
      positions: factor -> points (n, 2).
      labels: attribute -> values (n,) or colours (n, 3); missing values are not drawn.
    """
    size = (2.6 * len(labels), 2.4 * len(positions))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(positions), len(labels), squeeze=False)
    for row, (factor, points) in enumerate(positions.items()):
        for axis, (attribute, values) in zip(axes[row], labels.items(), strict=True):
            known = known_rows(values)
            values = np.ma.getdata(values)[known]
            axis.set_title(f"factor {factor}, by {attribute}", fontsize=8)
            axis.set_xticks([])
            axis.set_yticks([])
            if not len(values):
                axis.text(0.5, 0.5, "no value is known", ha="center", fontsize=7)
                continue
            scatter = axis.scatter(*points[known].T, s=3, **_point_colors(values))
            if row == 0 and is_class(values) and len(np.unique(values)) <= 10:
                handles, _ = scatter.legend_elements(num=None)
                names = np.unique(values).tolist()
                axis.legend(handles, names, fontsize=5, loc="upper left")
    return figure


def _point_colors(values: np.ndarray) -> dict[str, Any]:
    """Colour arguments of ``Axes.scatter`` for known values (n,) or colours (n, 3)."""
    if values.ndim == 2:
        return {"color": np.clip(values, 0.0, 1.0)}
    if is_class(values):
        codes = np.unique(values, return_inverse=True)[1]
        return {"c": codes, "cmap": "tab10" if codes.max() < 10 else "turbo"}
    return {"c": values, "cmap": "viridis"}
