"""How far few pairs go: ``python -m experiments.few_pairs RUN CONCEPT``.

Takes the network, images and T of a finished run with pairs by labels. Of all pairs
that agree in a concept only a few are kept, as if nothing else were labelled, and T is
trained anew on these and on all latents. The figures are those of the run's own test
pairs: how well the concept is transferred by T, by T_0 from the same pairs, and by a
linear start from the products of these pairs alone.
"""

import argparse
import json
import shlex
import sys
import warnings
from pathlib import Path

import numpy as np

import iin_jax
from iin_jax.analysis.swaps import evaluate_swaps
from iin_jax.command_line import exit_status
from iin_jax.concepts.closed_form import LinearView
from iin_jax.concepts.explicit_pairs import ExplicitPairs
from iin_jax.concepts.pair_forms import PairForm
from iin_jax.factors import RESIDUAL, FactorLayout
from iin_jax.fit import fit_prepared
from iin_jax.flows import LinearStart
from iin_jax.interpreter import Interpreter
from iin_jax.prepared import PreparedLatents
from iin_jax.runs.command import parse
from iin_jax.runs.configs import find
from iin_jax.runs.evaluation import evidence_of
from iin_jax.runs.run import Run
from iin_jax.training.defaults import Training

MOST_LATENTS = 30_000  # latents that T is trained on, drawn from the run's


def of_agreeing(run: Run, concept: str, count: int, draw: int) -> PreparedLatents:
    """Some latents of a run, with ``count`` pairs of other images that agree."""
    images, latents = run.images.train_set, run.latents.cached("train")
    rng = np.random.default_rng([count, draw])
    rows = np.sort(rng.permutation(len(images))[:MOST_LATENTS])
    source = run.concepts.source(images)
    if source is None:
        raise ValueError("the run has no concepts")
    among = source.among(rows)
    drawn = among.scored(20 * count, seed=int(rng.integers(2**31)))
    chosen = np.flatnonzero(drawn.concept == drawn.names.index(concept))[:count]
    pairs = ExplicitPairs.of(
        (concept,),
        drawn.a[chosen],
        drawn.b[chosen],
        np.ones((len(chosen), 1), bool),
        len(rows),
        image=among.image,
    )
    log_var = None if latents.log_var is None else latents.log_var[rows]
    return PreparedLatents(latents.mean[rows], log_var, pairs, among.image)


class ByProducts(PairForm):
    """Pairs that count as many, so that their products alone are looked at."""

    def __init__(self, pairs: PairForm):
        self.pairs, self.image, self.differs = pairs, pairs.image, pairs.differs

    def form(self):
        return self.pairs.form()

    def resampled(self, rng):
        return self.pairs.resampled(rng)

    def null(self, rng):
        return self.pairs.null(rng)

    def subset(self, rows):
        return ByProducts(self.pairs.subset(rows))

    def sampled_rows(self, count, seed):
        return self.pairs.sampled_rows(count, seed)


def by_products(prepared: PreparedLatents, layout: FactorLayout) -> Interpreter:
    """The linear start from products of the pairs."""
    forms = {name: ByProducts(form) for name, form in prepared.pairs(0).items()}
    view = LinearView.of(prepared.mean, forms, prepared.image, prepared.spread)
    start = view.start({name: layout[name] for name in layout.concepts})
    return Interpreter(LinearStart(layout.dim), {"constants": start.constants}, layout)


def main(arguments: list[str]) -> int:
    """The command line; prints one line of JSON per number of pairs and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("concept")
    parser.add_argument(
        "--pairs", type=int, nargs="+", default=[4, 8, 16, 64, 256, 1024]
    )
    parser.add_argument("--draws", type=int, default=3)
    options = parser.parse_args(arguments)
    card = json.loads((options.run / "scorecard.json").read_text())
    name, *flags = shlex.split(card["command"])[3:]
    config = find(name)
    run = Run.of(config.name, parse(config, flags).experiment, options.run, "")
    whole = iin_jax.load(options.run)
    size = whole.layout[options.concept]
    layout = FactorLayout({options.concept: size, RESIDUAL: whole.layout.dim - size})
    evidence = evidence_of(run)
    swapped = evidence.swapped
    if swapped is None:
        raise ValueError("the run has no concepts")
    judges = {options.concept: evidence.judges[options.concept]}
    everything = slice(None)
    images_a, images_b = (x.read(everything) for x in (swapped.a, swapped.b))
    values_a, values_b = (x.values for x in (swapped.a, swapped.b))

    def transferred(interpreter: Interpreter) -> float | None:
        attached = interpreter.with_network(run.network)
        record = evaluate_swaps(
            attached, images_a, images_b, values_a, values_b, judges
        )
        return record.swap[options.concept].transferred

    print(json.dumps({"all labels": transferred(whole)}), flush=True)
    for count in options.pairs:
        for draw in range(options.draws):
            prepared = of_agreeing(run, options.concept, count, draw)
            train, held_out = prepared.split(0.15, draw)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fitted, record = fit_prepared(
                    train, held_out, layout, Training(seed=draw), progress=False
                )
                plain = by_products(train, layout)
            line = {
                "pairs": count,
                "draw": draw,
                "T": transferred(fitted),
                "T_0": transferred(fitted.without_flow()),
                "products": transferred(plain),
                "step": record["step"],
            }
            print(json.dumps(line), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
