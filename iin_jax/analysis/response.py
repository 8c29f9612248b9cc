"""How a classifier's answer responds when one factor is replaced (paper, section 3.4).

With all else fixed, one factor of an image takes the value that it has in other images,
z_tilde is mapped back, and G answers anew. A factor that G never reads changes nothing.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from iin_jax.analysis.answers import Answers, FactorEdits
from iin_jax.analysis.comparisons import PairedImages
from iin_jax.analysis.significance import corrected, explained_by, p_value
from iin_jax.data.values import known_rows, label_columns
from iin_jax.interpreter import Interpreter
from iin_jax.networks import Network
from iin_jax.types import Images, Latents

MOST_IMAGES = 500  # images whose factors are replaced
FEWEST = 10  # least number of images
PERMUTATIONS = 200  # permutations of the donors' values
ROUNDING = 1e-5  # relative spread of log-probabilities that is none

Interval = tuple[float, float]
Null = Literal["values", "subspaces"]


@dataclasses.dataclass(frozen=True)
class ClassResponse:
    """What replacing a factor does to one class of a classifier.

    Attributes:
      variance: of the class's log-softmax over the donors, in the mean over images.
      flips: share of changed predictions among edits of images that were predicted as
        this class; None if none was.
      becomes: class that most of these changed to; None if none changed.
      gain: share of edits predicted as this class, less the share before.
      p_value, q_value: as in ``Response``, for the log-softmax of this class.
    """

    variance: float
    flips: float | None
    becomes: int | None
    gain: float
    p_value: float
    q_value: float


@dataclasses.dataclass(frozen=True)
class Response:
    """What replacing one factor does to a classifier's answer.

    Attributes:
      effect: Kullback-Leibler divergence of the new answer from the old one, mean over
        edits, in nats.
      interval: its 95 % interval, edits with an image in common counted as dependent.
      flips: share of edits that change the prediction.
      flips_interval: its 95 % interval.
      prior_effect, prior_flips: the same where the factor is drawn from N(0, 1).
      rank: share of random subspaces of z_tilde, as large as the factor, that have less
        effect.
      p_value: probability of so much under the null, at least 1 / (1 + its draws).
      q_value: least false-discovery rate at which it counts as found, among all
        concepts; for classes among all concepts and classes.
      null: what p is taken from: ``"values"``, the answers follow the donors' values of
        the concept no more than values dealt out at random; ``"subspaces"``, where
        these are unknown, the factor has no more effect than random subspaces.
      images, donors: number of images, and of donors of each.
      by_class: class -> its response.
    """

    effect: float
    interval: Interval
    flips: float
    flips_interval: Interval
    prior_effect: float
    prior_flips: float
    rank: float
    p_value: float
    q_value: float
    null: Null
    images: int
    donors: int
    by_class: dict[int, ClassResponse]


class _Test(NamedTuple):
    """p of a concept and of every class (C,), and their null."""

    whole: float
    by_class: np.ndarray
    null: Null


def response(
    interpreter: Interpreter,
    images: Images,
    labels: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    most: int = MOST_IMAGES,
    permutations: int = PERMUTATIONS,
) -> dict[str, Response]:
    """Whether a classifier uses the concepts of an interpreter, and how much.

    One factor of every image is replaced by its value in other images, and beside it by
    draws of the prior; what the classifier answers says what it makes of the factor.
    Nothing depends on the order of concepts or images.

    Args:
      interpreter: with a network that puts out logits.
      images: (n, H, W, C) in [-1, 1], n >= 10, each of another picture; none that
        trained T, whose factors were made to follow the values of those.
      labels: concept -> values of the images, as in ``Examples.of``. A concept without
        values, or with less than 10 known ones, is compared with random subspaces. No
        other names.
      seed: of donors, prior, permutations and subspaces.
      most: images at most, drawn by the seed.
      permutations: of the donors' values. With 200, a false-discovery rate of 0.01
        finds none that stands alone among more than two tests.

    Returns:
      Concept -> response, in the order of the layout.

    Raises:
      ValueError: no network, one that puts out images, no concept, too few images, or
        labels of another form, length or name.
    """
    _classifier(interpreter)
    concepts = interpreter.layout.concepts
    if not concepts:
        raise ValueError("the interpreter has no concept whose use could be tested")
    if len(images) < FEWEST:
        raise ValueError(f"a response needs {FEWEST} images; got {len(images)}")
    values = label_columns(labels)
    for name, column in values.items():
        interpreter.layout.index(name)  # its error names the nearest
        if len(column) != len(images):
            raise ValueError(
                f"concept {name!r} has {len(column)} labels for {len(images)} images"
            )
    z_tilde = np.asarray(interpreter.translate(interpreter.encode(images)))
    rows = _rows(z_tilde, most, seed)
    edits = FactorEdits(interpreter, z_tilde[rows], seed)
    answers = {name: edits.replaced(name) for name in concepts}
    tests = {}
    for name in concepts:
        column = values[name][rows] if name in values else None
        tests[name] = _test(edits, name, answers[name], column, permutations)
    return _responses(edits, answers, tests)


def _classifier(interpreter: Interpreter) -> Network:
    network = interpreter.network
    if network is None or network.output != "logits":
        what = "no network" if network is None else "a network that makes images"
        raise ValueError(
            f"a response is of a classifier's answers; the interpreter has {what}"
        )
    return network


def _rows(z_tilde: Latents, most: int, seed: int) -> np.ndarray:
    """Indices of at most so many latents, whatever order they came in."""
    order = np.lexsort(z_tilde.T)
    return order[np.random.default_rng([seed, 0x0DE]).permutation(len(order))[:most]]


def _test(
    edits: FactorEdits,
    name: str,
    answers: Answers,
    values: np.ndarray | None,
    permutations: int,
) -> _Test:
    """Whether the answers follow a concept, given its values or without them."""
    known = None if values is None else known_rows(values)
    if values is None or known is None or known.sum() < FEWEST:
        own, random = edits.effects(answers), edits.random_effects(edits.layout[name])
        each = zip(own.by_class[0], random.by_class.T, strict=True)
        whole = p_value(own.divergence[0], random.divergence)
        return _Test(whole, np.array([p_value(*pair) for pair in each]), "subspaces")
    followed = edits.by_donor(answers)[known]
    spread = followed.std(axis=0)
    rounding = ROUNDING * max(1.0, float(np.abs(edits.before).max()))
    followed = np.where(spread > rounding, followed / np.maximum(spread, rounding), 0.0)
    rng = edits.rng(f"permutations of {name}")
    own, null = explained_by(values[known], followed, permutations, rng)
    each = [p_value(*pair) for pair in zip(own, null.T, strict=True)]
    return _Test(p_value(own.sum(), null.sum(axis=1)), np.array(each), "values")


def _responses(
    edits: FactorEdits, answers: Mapping[str, Answers], tests: Mapping[str, _Test]
) -> dict[str, Response]:
    q_values = corrected([test.whole for test in tests.values()])
    q_by_class = corrected([p for test in tests.values() for p in test.by_class])
    rounds, count = edits.donors.shape
    # every image is in several edits, as the one edited and as a donor
    pairs = PairedImages(np.tile(np.arange(count), rounds), edits.donors.ravel())
    result = {}
    for index, (name, answer) in enumerate(answers.items()):
        own = edits.effects(answer).divergence[0]
        random = edits.random_effects(edits.layout[name]).divergence
        prior, classes = edits.drawn(name), answer.before.shape[1]
        divergence = answer.divergence.ravel()
        flipped = answer.flipped.ravel().astype(float)
        result[name] = Response(
            float(divergence.mean()),
            pairs.interval(divergence),
            float(flipped.mean()),
            pairs.share_interval(flipped),
            float(prior.divergence.mean()),
            float(prior.flipped.mean()),
            float((random < own).mean()),
            tests[name].whole,
            float(q_values[index]),
            tests[name].null,
            count,
            rounds,
            _by_class(
                answer, tests[name].by_class, q_by_class[classes * index :][:classes]
            ),
        )
    return result


def _by_class(
    answers: Answers, p_values: np.ndarray, q_values: np.ndarray
) -> dict[int, ClassResponse]:
    """Class -> its response."""
    before, after = answers.before.argmax(-1), answers.after.argmax(-1)
    variance = answers.after.var(axis=0).mean(axis=0)
    result = {}
    for label in range(len(variance)):
        new = after[:, before == label].ravel()
        changed = new[new != label]
        result[label] = ClassResponse(
            float(variance[label]),
            float(len(changed) / len(new)) if len(new) else None,
            int(np.bincount(changed).argmax()) if len(changed) else None,
            float((after == label).mean() - (before == label).mean()),
            float(p_values[label]),
            float(q_values[label]),
        )
    return result
