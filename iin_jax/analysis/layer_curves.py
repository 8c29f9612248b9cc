"""How the scores of concepts rise and fall over the layers of a network."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from iin_jax.analysis.base import new_figure
from iin_jax.analysis.marks import LINES, MARKERS, SAFE_COLORS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class LayerScore(NamedTuple):
    """The score of one concept at one layer.

    Attributes:
      score: similarity of pairs that agree in the concept, at most 1; 0 by chance.
      interval: its 95 % interval.
      null: bounds that hold 95 % of the scores of images paired at random.
    """

    score: float
    interval: tuple[float, float]
    null: tuple[float, float]

    @property
    def is_above_chance(self) -> bool:
        """Whether the whole interval lies above the scores of random pairs."""
        return self.interval[0] > self.null[1]


LayerScores = Mapping[str, Mapping[str, LayerScore]]  # layer -> concept -> score


def layers_in_words(scores: LayerScores) -> dict[str, str]:
    """Concept -> a sentence on where in a network it rises and falls.

    Args:
      scores: layer -> concept -> score, from input to output.
    """
    names = list(next(iter(scores.values())))
    return {
        name: _in_words(name, {k: x[name] for k, x in scores.items()}) for name in names
    }


def _in_words(name: str, scores: Mapping[str, LayerScore]) -> str:
    """One sentence on the scores of one concept, layer -> score."""
    above = [layer for layer, x in scores.items() if x.is_above_chance]
    if not above:
        return f"{name}: no layer encodes it more than chance would."
    layers = list(scores)
    peak = max(above, key=lambda layer: scores[layer].score)
    first, last, best = above[0], layers[-1], scores[peak]
    parts = []
    if first != layers[0]:
        parts.append(f"first found at {first!r} ({scores[first].score:.2f})")
    if scores[first].interval[1] < best.interval[0]:
        parts.append(f"rises from {scores[first].score:.2f} at {first!r}")
    low, high = best.interval
    parts.append(
        f"is strongest at {peak!r} ({best.score:.2f}, 95 % {low:.2f} to {high:.2f})"
    )
    if not scores[last].is_above_chance:
        parts.append(f"is no more than chance at the last layer, {last!r}")
    elif scores[last].interval[1] < low:
        parts.append(f"falls to {scores[last].score:.2f} at the last, {last!r}")
    elif last != peak:
        parts.append(f"stays up to the last, {last!r} ({scores[last].score:.2f})")
    return f"{name}: {', '.join(parts)}."


def layers_figure(scores: LayerScores) -> "Figure":
    """Curves of every concept's score over the layers, with interval and null.

    Args:
      scores: layer -> concept -> score, from input to output.
    """
    from matplotlib.patches import Patch

    figure = new_figure(8.0, 3.8)
    axis, positions = figure.subplots(), np.arange(len(scores))
    names, lines = list(next(iter(scores.values()))), []
    for index, name in enumerate(names):
        of_layers = [x[name] for x in scores.values()]
        (line,) = axis.plot(
            positions,
            [x.score for x in of_layers],
            lw=1,
            ms=4,
            color=SAFE_COLORS[index % len(SAFE_COLORS)],
            marker=MARKERS[index % len(MARKERS)],
            ls=LINES[index % len(LINES)],
        )
        lines.append(line)
        bands = (
            ([x.interval for x in of_layers], 0.3),
            ([x.null for x in of_layers], 0.12),
        )
        for bounds, alpha in bands:
            low, high = np.array(bounds).T
            color = line.get_color()
            axis.fill_between(positions, low, high, color=color, alpha=alpha, lw=0)
    axis.set_xticks(positions, list(scores), rotation=90, fontsize=7)
    axis.set_ylabel("score", fontsize=9)
    axis.tick_params(axis="y", labelsize=8)
    axis.grid(axis="y", lw=0.3)
    lines += [Patch(color="0.3", alpha=alpha, lw=0) for _, alpha in bands]
    names += ["darker: 95 % interval", "paler: paired at random, 95 %"]
    # names are given, since a legend would hide those that begin with _
    figure.legend(lines, names, fontsize=8, loc="outside upper left", ncols=4)
    return figure
