"""Do swaps transfer what they should, and keep the rest?"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from iin_jax.analysis.comparisons import (
    Difference,
    PairedImages,
    unbeaten_lines,
)
from iin_jax.analysis.judges import Judge
from iin_jax.analysis.linear_edits import LinearEdits
from iin_jax.data.values import known_rows, plain
from iin_jax.interpreter import Interpreter
from iin_jax.types import Array, Images

Values = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class _Jury:
    """Judges, what they expect of either side of n pairs, and where it is known."""

    judges: Mapping[str, Judge]
    targets_a: Values
    targets_b: Values
    known_a: Values
    known_b: Values
    count: int

    def rows(self, concept: str) -> np.ndarray:
        """Pairs of which a swap can be judged: both values are known, (n,)."""
        if concept not in self.known_a:
            return np.ones(self.count, bool)
        return self.known_a[concept] & self.known_b[concept]

    def verdict(self, concept: str, outputs: Array) -> "_Verdict":
        """Figures of one swap, and what they stand on."""
        rows, own = self.rows(concept), self.judges.get(concept)
        transferred = _Score(None, 0, None)
        if own is not None:
            wanted, unlike = self.targets_b[concept], rows
            if own.measure == "accuracy":  # a class that both have proves nothing
                unlike = rows & (np.asarray(self.targets_a[concept]) != wanted)
            transferred = _score(own, outputs, wanted, unlike)
        kept = {}
        for name, judge in self.judges.items():
            if name != concept:
                known = rows & self.known_a[name]
                kept[name] = _score(judge, outputs, self.targets_a[name], known)
        return _Verdict(transferred, kept)

    def plain_figures(self, outputs: Array) -> dict[str, "_Score"]:
        """Figures of unedited images."""
        return {
            name: _score(judge, outputs, self.targets_a[name], self.known_a[name])
            for name, judge in self.judges.items()
        }


class _Score(NamedTuple):
    """A figure (None if no pair is left), its number of pairs, and every pair's own.

    ``each`` is (n,), NaN where a pair was not judged; None if the judge gives none.
    """

    figure: float | None
    count: int
    each: np.ndarray | None


class _Verdict(NamedTuple):
    """What judges say of one swap."""

    transferred: _Score
    kept: dict[str, _Score]

    def column(self, index: int) -> dict[str, Any]:
        """Figures (0) or numbers of pairs (1)."""
        kept = _column(self.kept, index)
        return {"transferred": self.transferred[index], "others_kept": kept}

    def intervals(self, images: PairedImages) -> dict[str, Any]:
        """95 % intervals of the figures, as ``column`` has these."""

        def interval(score: _Score) -> tuple[float, float] | None:
            if score.each is None or not score.count:
                return None
            return images.interval(score.each)

        kept = {name: interval(score) for name, score in self.kept.items()}
        return {"transferred": interval(self.transferred), "others_kept": kept}

    def scores(self, concept: str) -> dict[str, _Score]:
        """Attribute -> score; the concept's own is what was transferred."""
        return {concept: self.transferred, **self.kept}


def evaluate_swaps(
    interpreter: Interpreter,
    images_a: Images,
    images_b: Images,
    values_a: Values,
    values_b: Values,
    judges: Mapping[str, Judge],
    *,
    latents: bool = False,
    linear: LinearEdits | None = None,
    truths: Mapping[str, Images] | None = None,
    start: Interpreter | None = None,
    pictures: tuple[np.ndarray, np.ndarray] | None = None,
) -> dict[str, Any]:
    """Swaps every concept alone, and lets the judges look.

    A swap of a concept is judged on the pairs whose two values of it are known (all, if
    it has no values), and whether a class was transferred on those in which the two
    differ; what it should keep, where a's value is known too. Expected is
    what ``Judge.target`` says of the real image that the value comes from.

    Args:
      interpreter: with a network.
      images_a, images_b: (n, H, W, C) in [-1, 1]; a receives b's factor.
      values_a, values_b: attribute -> true values, (n,) or (n, d); masked or NaN where
        they are missing.
      judges: attribute -> judge.
      latents: judges look at z instead of what the network decodes it to.
      linear: makes the same edits on raw z, for comparison.
      truths: concept -> what its swap should give, (n, H, W, C) in [-1, 1], where that
        can be made: for networks that decode to images.
      start: the linear start alone, for comparison.
      pictures: which image each a and each b is of, (n,) each, for the intervals; None:
        all are different.

    Returns:
      ``swap`` {concept: {``transferred`` (None if no judge reads the concept, or no
      pair is left), ``others_kept`` {attribute: figure}}},
      ``swap_counts`` the same with the number of pairs of every figure,
      ``swap_intervals`` the same with 95 % intervals (None where a judge gives none),
      ``floor`` {attribute: figure} of the judges on plain reconstructions of a,
      ``floor_counts`` the same with the number of images,
      ``floor_inputs`` ``floor`` on the pictures themselves (for networks that decode to
      images), ``measure`` {attribute: name}, ``swap_pairs`` (n); with ``linear``:
      ``linear`` as ``swap``, of the concepts that it was fitted to; with ``start``:
      ``start`` as ``swap``; with either ``compared`` {concept: {baseline: {attribute:
      {``value``, ``interval``, ``count``}}}}, how much better T is on the same pairs,
      and ``unbeaten``, one line for every baseline that T does not beat; with
      ``truths``:
      ``truth_l1`` {concept: {``edited``, ``linear``, ``unedited``, ``reconstructed``}},
      mean absolute errors in [0, 1] against the true result: of the swap, of the linear
      edit if there is one, of the reconstruction of a without any edit, and of the
      reconstruction of the true result itself, which no edit is expected to beat.

    Raises:
      ValueError: truths of another shape, of no concept, or for a network that does not
        decode to images.
    """
    network, truths = interpreter.network, truths or {}
    shows_images = network is not None and network.output == "images" and not latents
    _check_truths(interpreter, truths, np.shape(images_a), shows_images)
    jury = _jury(images_a, images_b, values_a, values_b, judges)
    z_a = interpreter.encode(images_a)
    z_tilde_a = interpreter.translate(z_a)
    z_tilde_b = interpreter.translate(interpreter.encode(images_b))

    def shown(z: Array) -> Array:
        return z.reshape(len(z), -1) if latents else interpreter.decode(z)

    plain_a = shown(z_a)
    floor = jury.plain_figures(plain_a)
    result: dict[str, Any] = {
        "swap": {},
        "swap_counts": {},
        "swap_intervals": {},
        "floor": _column(floor, 0),
        "floor_counts": _column(floor, 1),
        "measure": {name: judge.measure for name, judge in judges.items()},
        "swap_pairs": len(images_a),
        **({} if linear is None else {"linear": {}}),
        **({"truth_l1": {}} if truths else {}),
    }
    if shows_images:
        result["floor_inputs"] = _column(jury.plain_figures(images_a), 0)
    images = PairedImages(*(pictures or _all_different(len(images_a))))
    started = None
    if start is not None:
        started = start.translate(z_a), start.translate(interpreter.encode(images_b))
        result["start"] = {}
    compared: dict[str, dict] = {}
    for concept in interpreter.layout.concepts:
        swapped = interpreter.layout.swap(z_tilde_a, z_tilde_b, [concept])
        seen = {"swap": shown(interpreter.untranslate(swapped))}
        if linear is not None and concept in linear.moves:
            rows = jury.rows(concept)
            moved = _moved(linear, z_a, concept, values_a, values_b, rows)
            seen["linear"] = shown(moved)
        if start is not None and started is not None:
            swapped = start.layout.swap(*started, [concept])
            seen["start"] = shown(start.untranslate(swapped))
        verdicts = {name: jury.verdict(concept, x) for name, x in seen.items()}
        for name, verdict in verdicts.items():
            result[name][concept] = verdict.column(0)
        result["swap_counts"][concept] = verdicts["swap"].column(1)  # the same of all
        result["swap_intervals"][concept] = verdicts["swap"].intervals(images)
        compared[concept] = _compared(concept, verdicts, images, judges)
        if concept in truths:
            truth = truths[concept]
            seen.pop("start", None)
            seen["unedited"] = plain_a
            seen["reconstructed"] = interpreter.decode(interpreter.encode(truth))
            errors = {name: _l1(outputs, truth) for name, outputs in seen.items()}
            result["truth_l1"][concept] = {"edited": errors.pop("swap"), **errors}
    if linear is not None or start is not None:
        result["compared"] = {
            concept: {
                baseline: {
                    name: None if found is None else dataclasses.asdict(found)
                    for name, found in differences.items()
                }
                for baseline, differences in baselines.items()
            }
            for concept, baselines in compared.items()
        }
        result["unbeaten"] = unbeaten_lines(compared, result["measure"])
    return result


def _jury(images_a, images_b, values_a: Values, values_b: Values, judges) -> _Jury:
    return _Jury(
        judges,
        {name: judges[name].target(images_a, plain(values_a[name])) for name in judges},
        {name: judges[name].target(images_b, plain(values_b[name])) for name in judges},
        {name: known_rows(values) for name, values in values_a.items()},
        {name: known_rows(values) for name, values in values_b.items()},
        len(images_a),
    )


def _score(
    judge: Judge, outputs: Array, expected: np.ndarray, rows: np.ndarray
) -> _Score:
    """A figure on the chosen rows, None if there is none, and what it stands on."""
    count = int(rows.sum())
    if count == 0:
        return _Score(None, 0, None)
    if count < len(rows):
        outputs, expected = np.asarray(outputs)[rows], expected[rows]
    each = judge.each(outputs, expected)
    if each is None:
        return _Score(judge.score(outputs, expected), count, None)
    every = np.full(len(rows), np.nan)
    every[rows] = each
    return _Score(float(each.mean()), count, every)


def _compared(
    concept: str,
    verdicts: Mapping[str, _Verdict],
    images: PairedImages,
    judges: Mapping[str, Judge],
) -> dict[str, dict[str, Difference | None]]:
    """baseline -> attribute -> how much better T is."""
    ours = verdicts["swap"].scores(concept)
    result: dict[str, dict[str, Difference | None]] = {}
    for baseline, verdict in verdicts.items():
        if baseline == "swap":
            continue
        result[baseline] = {}
        for name, score in verdict.scores(concept).items():
            mine = ours[name].each
            if name not in judges or score.each is None or mine is None:
                continue
            measure = judges[name].measure
            result[baseline][name] = images.difference(mine, score.each, measure)
    return result


def _all_different(count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(count), count + np.arange(count)


def _column(pairs: Mapping[str, tuple], index: int) -> dict[str, Any]:
    return {name: pair[index] for name, pair in pairs.items()}


def _moved(
    linear: LinearEdits,
    z_a: Array,
    concept: str,
    values_a: Values,
    values_b: Values,
    rows: np.ndarray,
) -> Array:
    """z after the linear edit; rows of unknown values or classes stay as they are."""
    z = np.array(z_a)
    value_a, value_b = (plain(values[concept]) for values in (values_a, values_b))
    knows = linear.moves[concept].knows
    rows = rows & knows(value_a) & knows(value_b)
    if rows.any():
        z[rows] = linear.edit(z[rows], concept, value_a[rows], value_b[rows])
    return z


def _l1(images: Array, truth: Images) -> float:
    """Mean absolute difference of images in [-1, 1], in units of [0, 1]."""
    return float(np.abs(np.asarray(images) - np.asarray(truth)).mean(dtype=float) / 2.0)


def _check_truths(
    interpreter: Interpreter,
    truths: Mapping[str, Images],
    shape: tuple[int, ...],
    shows_images: bool,
) -> None:
    for concept, images in truths.items():
        if concept not in interpreter.layout.concepts:
            raise ValueError(
                f"truths are given for {concept!r}, but the concepts are "
                f"{list(interpreter.layout.concepts)}"
            )
        if not shows_images:
            raise ValueError(
                "truths are images that a swap should give; this network decodes to "
                "none, or judges look at its latents"
            )
        if np.shape(images) != shape:
            raise ValueError(
                f"the truths of {concept!r} have shape {np.shape(images)}; expected "
                f"{shape}, one for every pair"
            )
