"""The scorecard of an interpretation: the figures of all rows of ``ANALYSES``."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import cattrs
import jax
import numpy as np
from tqdm import tqdm

from iin_jax.analysis.base import (
    Analysis,
    Evidence,
    Examples,
    FeatureNetwork,
    Section,
    Swapped,
    Values,
)
from iin_jax.analysis.certificate import CertificateAnalysis
from iin_jax.analysis.choice import (
    MOST_PICTURES,
    Pictures,
    as_pictures,
    choose_judges,
)
from iin_jax.analysis.distances import DistancesAnalysis
from iin_jax.analysis.embedding import EmbeddingAnalysis
from iin_jax.analysis.invariance import InvarianceAnalysis
from iin_jax.analysis.judged_swaps import SwapAnalysis
from iin_jax.analysis.judges import Judge
from iin_jax.analysis.layers import LayersAnalysis
from iin_jax.analysis.leakage import LeakageAnalysis
from iin_jax.analysis.likelihood import LikelihoodAnalysis
from iin_jax.analysis.midpoints import MidpointsAnalysis
from iin_jax.analysis.pair_scores import PairScoresAnalysis
from iin_jax.analysis.plausible import PlausibilityAnalysis
from iin_jax.analysis.support import SupportAnalysis
from iin_jax.analysis.usage import UsageAnalysis
from iin_jax.analysis.walks import WalksAnalysis
from iin_jax.concepts import PairSource
from iin_jax.data.values import is_class, is_color
from iin_jax.files.hints import nearest
from iin_jax.files.machine import commit, versions
from iin_jax.interpreter import Interpreter
from iin_jax.types import Images

SWAPPED = 2000  # pairs of test images between which concepts are swapped
DRAWN_PER_PAIR = 8  # candidate pairs drawn for each pair of unlike images

# name -> analysis, in the order of the report; registering is assignment
ANALYSES: dict[str, Analysis] = {
    "swaps": SwapAnalysis(),
    "walks": WalksAnalysis(),
    "plausibility": PlausibilityAnalysis(),
    "response": UsageAnalysis(),
    "invariances": InvarianceAnalysis(),
    "leakage": LeakageAnalysis(),
    "certificate": CertificateAnalysis(),
    "support": SupportAnalysis(),
    "likelihood": LikelihoodAnalysis(),
    "pair_scores": PairScoresAnalysis(),
    "layers": LayersAnalysis(),
    "distances": DistancesAnalysis(),
    "midpoints": MidpointsAnalysis(),
    "embedding": EmbeddingAnalysis(),
}


def score(
    interpreter: Interpreter,
    train: tuple[Images, Values],
    test: tuple[Images, Values],
    *,
    judges: Mapping[str, Judge] | None = None,
    pairs: PairSource | None = None,
    features: FeatureNetwork | None = None,
    analyses: Sequence[str] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Scores an interpreter: judged edits, leakage, certificate, likelihood and more.

    Without ``judges``, they are chosen by the network's output: see ``choose_judges``.

    Args:
      interpreter: an interpreter with a network.
      train: images (n, H, W, C) in [-1, 1] that T was trained on, and their labels:
        attribute -> classes or real values (n,), or colours (n, 3) in [0, 1], in any
        form that ``Examples.of`` takes. Labels of concepts have the concepts' names in
        the layout.
      test: images that neither trained nor chose anything, with the same attributes.
      judges: attribute -> its judge; None: judges are chosen and trained on ``train``.
      pairs: source of pairs of test images for the published scores; None: pairs by
        their labels.
      features: network that compares sets of images; None: no distances.
      analyses: names of rows of ``ANALYSES``; None: all that apply.
      seed: seed of every random draw.
      progress: shows bars over judges and analyses.

    Returns:
      Entry -> JSON value: those of a run's ``scorecard.json`` that apply.

    Raises:
      ValueError: no network, images or labels of another form, an attribute that only
        one side has, test images that are alike in every concept, or an unknown
        analysis.
    """
    network = interpreter.network
    if network is None:
        raise ValueError(
            "the interpreter has no network, so no image can be scored: attach one "
            "with with_network"
        )
    train_set, test_set = Examples.of(network, *train), Examples.of(network, *test)
    one_sided = set(train_set.values) ^ set(test_set.values)
    if one_sided:
        raise ValueError(
            "training and test images have the same attributes; "
            f"{sorted(one_sided)} are on one side alone"
        )
    concepts = interpreter.layout.concepts
    paired = _paired(test_set, concepts, pairs)
    evidence = Evidence(
        interpreter=interpreter,
        train=train_set,
        test=test_set,
        judges=_judges(concepts, train_set, test_set, seed, progress)
        if judges is None
        else judges,
        swapped=draw_swapped(test_set, concepts, SWAPPED, seed) if concepts else None,
        paired=paired,
        layered=paired,
        features=features,
        seed=seed,
    )
    device = jax.devices()[0]
    return {
        "sizes": interpreter.layout.as_dict(),
        **scorecard(evidence, analyses, progress=progress),
        "test_images": len(test_set),
        "seed": seed,
        "commit": commit(),
        "versions": versions(),
        "device": f"{len(jax.devices())} x {device.device_kind} ({device.platform})",
    }


def scorecard(
    evidence: Evidence,
    analyses: Sequence[str] | None = None,
    *,
    progress: bool = False,
) -> dict[str, Any]:
    """Runs analyses and collects their figures.

    Args:
      evidence: the evidence that all analyses share.
      analyses: names of rows of ``ANALYSES``; None: all that apply.
      progress: shows a bar over the analyses.

    Returns:
      Entry -> JSON value, of every analysis that applies.

    Raises:
      ValueError: an unknown analysis.
    """
    card: dict[str, Any] = {}
    names = list(ANALYSES if analyses is None else analyses)
    bar = tqdm(names, desc="scorecard", disable=not progress)
    for name in bar:
        bar.set_postfix_str(name)
        if name not in ANALYSES:
            raise ValueError(f"no analysis {name!r}{nearest(name, ANALYSES)}")
        record = ANALYSES[name].measure(evidence)
        if record is not None:
            card |= record.entries()
    return card


def sections(card: Mapping[str, Any]) -> list[Section]:
    """The report's sections on a scorecard, in the order of ``ANALYSES``.

    Args:
      card: a scorecard, as measured or read back from JSON. An entry of another form,
        as another version may have written, becomes a section that says so.
    """
    result = []
    for name, analysis in ANALYSES.items():
        try:
            record = analysis.record.of(card)
        except cattrs.BaseValidationError:
            line = f"Figures of {name} from another version cannot be shown here."
            result.append(Section(name, [line]))
            continue
        if record is not None:
            result.append(analysis.section(record))
    return result


def draw_swapped(
    test: Examples, concepts: Sequence[str], count: int, seed: int
) -> Swapped:
    """Draws pairs of test images that differ in a concept with classes.

    Args:
      test: images to draw from.
      concepts: concepts to differ in; those without values in ``test`` are left out.
      count: most pairs.
      seed: seed of the draw.

    Raises:
      ValueError: no drawn pair differs.
    """
    columns = {name: test.values[name] for name in concepts if name in test.values}
    rows = unlike_pairs(np.arange(len(test)), columns, count, seed)
    if not len(rows):
        raise ValueError(
            f"no two of {len(test)} test images differ in a concept with classes, so "
            "no swap can be judged: give more of them"
        )
    a, b = (_subset(test, rows[:, side]) for side in range(2))
    return Swapped(a, b)


def unlike_pairs(
    images: np.ndarray, columns: Mapping[str, np.ndarray], count: int, seed: int
) -> np.ndarray:
    """Draws random pairs of images that differ in at least one column of classes.

    Without a column of classes, the pairs are any two different images.

    Args:
      images: indices of the images to draw from, (m,).
      columns: concept -> values of all images that an index may name, (n,) or (n, d).
      count: most pairs.
      seed: seed of the draw.

    Returns:
      Indices (p, 2), p <= count; p is 0 if no drawn pair differs.
    """
    rng = np.random.default_rng([seed, 0x5A])
    drawn = rng.choice(images, (DRAWN_PER_PAIR * count, 2))
    unlike = drawn[:, 0] != drawn[:, 1]
    classes = [x for x in columns.values() if is_class(x)]
    if classes:
        differ = [x[drawn[:, 0]] != x[drawn[:, 1]] for x in classes]
        unlike &= np.ma.filled(np.ma.stack(differ), False).any(axis=0)
    return drawn[unlike][:count]


def _subset(examples: Examples, rows: np.ndarray) -> Examples:
    """The examples at the indices ``rows``, in that order, without latents or pairs."""
    return dataclasses.replace(
        examples,
        read=lambda part: examples.read(rows[part]),
        count=len(rows),
        values={name: x[rows] for name, x in examples.values.items()},
        picture=examples.picture[rows],
        source=None,
        encoded=None,
    )


def _paired(
    examples: Examples, concepts: Sequence[str], pairs: PairSource | None
) -> Examples:
    """The same images with a source of pairs; None: pairs by labels of concepts."""
    labelled = {n: examples.values[n] for n in concepts if n in examples.values}
    return dataclasses.replace(examples, values=labelled, source=pairs)


def _judges(
    concepts: Sequence[str], train: Examples, test: Examples, seed: int, progress: bool
) -> dict[str, Judge]:
    """Judges of the concepts, trained on training images and tested on test images."""

    def pictures() -> tuple[Pictures, Pictures]:
        first, second = (as_pictures(x, MOST_PICTURES, seed) for x in (train, test))
        return first, second

    by_shape = any(is_color(x) for x in train.values.values())
    options: Any = {"by_shape": by_shape, "seed": seed, "progress": progress}
    return choose_judges(concepts, train, pictures, **options)
