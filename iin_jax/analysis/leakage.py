"""Leakage between factors: how well probes read every attribute from each factor."""

import dataclasses
import warnings
from typing import Any

import numpy as np

from iin_jax.analysis.base import (
    Evidence,
    Finding,
    Record,
    Section,
    Table,
    Values,
    Verdict,
    shown,
)
from iin_jax.data.values import is_class, known_rows, plain
from iin_jax.interpreter import Interpreter
from iin_jax.types import Latents

PER_TEST = 4  # most training latents for each test latent
SLOW_TRAIN, SLOW_TEST = 8192, 4096  # most latents of the MLP and nearest neighbours
NEIGHBORS = 5
SPARED, LEAKED = 0.2, 0.5  # shares of the own factor's reading in any other factor
HELD_OUT = 0.1  # share of training latents held out to stop the MLP early
MLP: Any = {
    "hidden_layer_sizes": (128,),
    "learning_rate_init": 3e-3,
    "max_iter": 100,
    "n_iter_no_change": 10,
    "validation_fraction": HELD_OUT,
}

Space = tuple[np.ndarray, np.ndarray]  # training latents (n, D), test latents (m, D)


@dataclasses.dataclass(frozen=True)
class ProbeFigures:
    """Figures of the probes of one attribute in one space.

    Attributes:
      figure: figure of the linear probe.
      mlp, nearest: figures of the MLP and of the nearest neighbours.
      chance: the figure of a guess: the share of the most frequent class among the
        test latents; 0 for real values.
      measure: ``"accuracy"``, in [0, 1], for classes; ``"r2"`` for real values.
      train, test: numbers of latents behind the linear probe.
      slow_train, slow_test: numbers of latents behind the other two probes.
    """

    figure: float
    mlp: float
    nearest: float
    chance: float
    measure: str
    train: int
    test: int
    slow_train: int
    slow_test: int


@dataclasses.dataclass(frozen=True)
class LeakageRecord(Record):
    """Figures of the probes of every attribute in every space.

    Attributes:
      leakage: factor, ``"z"`` or ``"pca"`` -> attribute -> figures.
      probe_train, probe_test: numbers of training and test latents.
    """

    leakage: dict[str, dict[str, ProbeFigures]]
    probe_train: int
    probe_test: int


class LeakageAnalysis:
    """Fits probes on training latents and scores them on test latents."""

    record = LeakageRecord

    def measure(self, evidence: Evidence) -> LeakageRecord | None:
        train, test = evidence.train, evidence.test
        names = [name for name in train.values if name in test.values]
        if not names:
            return None
        rng = np.random.default_rng(evidence.seed)
        rows = np.sort(rng.permutation(len(train))[: PER_TEST * len(test)])
        figures = leakage(
            evidence.interpreter,
            train.latents.mean[rows],
            test.latents.mean,
            {name: train.values[name][rows] for name in names},
            {name: test.values[name] for name in names},
            seed=evidence.seed,
        )
        return LeakageRecord(figures, len(rows), len(test))

    def section(self, record: LeakageRecord) -> Section:
        first = next(iter(record.leakage.values()))
        space_names = {"z": "raw z", "pca": "PCA of z"}
        head = ["read from"]
        for name, cell in first.items():
            measure = "R²" if cell.measure == "r2" else cell.measure
            head.append(
                f"{name} ({measure}; a guess has {shown(cell.chance, cell.measure)})"
            )
        rows = [
            [space_names.get(space, f"factor {space}"), *map(_in_words, row.values())]
            for space, row in record.leakage.items()
        ]
        text = (
            "A probe is a small model that reads an attribute from one factor alone. "
            "It should read a concept from the concept's own factor, and no better "
            "than by guessing from all others. Accuracy is the share of right classes; "
            "R² the share of the variance of real values that the probe explains, "
            "below 0 if it does worse than the mean."
        )
        note = (
            "Every cell has a linear probe / an MLP / the five nearest neighbours, "
            f"fitted on {record.probe_train} training latents and scored on "
            f"{record.probe_test} latents of held-out images (the latter two on "
            "subsets). Linear probes alone understate what a factor holds."
        )
        title = "What probes read from each factor"
        return Section(
            title, [text], [Table(head, rows)], [note], findings=_findings(record)
        )


def _findings(record: LeakageRecord) -> list[Finding]:
    """Whether each concept is read from no factor but its own."""
    factors = [name for name in record.leakage if name not in ("z", "pca")]
    groups: dict[Verdict, list[str]] = {"fails": [], "in part": [], "holds": []}
    for concept in factors:
        cells = {f: record.leakage[f].get(concept) for f in factors}
        known = {f: cell for f, cell in cells.items() if cell is not None}
        if concept not in known or len(known) < 2:
            continue
        verdict, line = _spill(concept, known)
        groups[verdict].append(line)
    texts: dict[Verdict, str] = {
        "fails": "Other factors hold much of a concept (more than half of what its own "
        "factor holds above guessing):",
        "in part": "Other factors hold some of a concept (20 % to 50 % of what its own "
        "factor holds above guessing):",
        "holds": "A concept is read from its own factor and hardly from any other:",
    }
    return [Finding(v, texts[v], lines) for v, lines in groups.items() if lines]


def _spill(concept: str, cells: dict[str, ProbeFigures]) -> tuple[Verdict, str]:
    """Verdict and line on the factor, beside its own, that best gives a concept away.

    Args:
      concept: the concept.
      cells: factor -> figures of the probes of the concept.
    """
    best = {f: max(x.figure, x.mlp, x.nearest) for f, x in cells.items()}
    own, chance, measure = best.pop(concept), *_guess(cells[concept])
    factor = max(best, key=lambda name: best[name])
    line = (
        f"{concept}: {'R² ' if measure == 'r2' else ''}{shown(own, measure)} from its "
        "own factor, at most "
        f"{shown(best[factor], measure)} from another ({factor}), "
        f"{shown(chance, measure)} by guessing"
    )
    held = own - chance
    spilled = (best[factor] - chance) / held if held > 0 else 1.0
    if spilled <= SPARED:
        return "holds", line
    return ("in part" if spilled <= LEAKED else "fails"), line


def _guess(cell: ProbeFigures) -> tuple[float, str]:
    """The figure of a guess and its measure."""
    return cell.chance, cell.measure


def _in_words(cell: ProbeFigures) -> str:
    """The figures of the three probes as text."""
    figures = (cell.figure, cell.mlp, cell.nearest)
    return " / ".join(shown(figure, cell.measure) for figure in figures)


def leakage(
    interpreter: Interpreter,
    z_train: Latents,
    z_test: Latents,
    values_train: Values,
    values_test: Values,
    *,
    seed: int = 0,
) -> dict[str, dict[str, ProbeFigures]]:
    """Probes every attribute in every factor, the residual, raw z and its PCA.

    Three probes read standardised components: a linear one (logistic or ridge
    regression) on all latents, and an MLP (one hidden layer of 128 units, stopped early
    or after 100 passes) and the five nearest neighbours on at most 8,192 training and
    4,096 test latents. Classes are scored by accuracy, real values by R^2. Linear
    probes alone understate what a factor holds. The PCA of z has as many components as
    the attribute's own factor, at least one; N / 2 for an attribute without a factor.

    Args:
      interpreter: T and layout.
      z_train, z_test: latents, (n, N) and (m, N).
      values_train, values_test: attribute -> values, (n,) or (n, d) and (m,) or (m, d);
        rows that are masked or NaN are left out.
      seed: seed of the subsets and of the MLP.

    Returns:
      factor, ``"z"`` or ``"pca"`` -> attribute -> figures.

    Raises:
      ValueError: an attribute without a known value among training or test latents.
    """
    from sklearn.decomposition import PCA

    z_train, z_test = (np.asarray(z).reshape(len(z), -1) for z in (z_train, z_test))
    test_parts = interpreter.to_factors(z_test)
    spaces = {
        name: (np.asarray(part), np.asarray(test_parts[name]))
        for name, part in interpreter.to_factors(z_train).items()
    }
    spaces["z"] = (z_train, z_test)
    result: dict[str, dict[str, ProbeFigures]] = {name: {} for name in spaces}
    result["pca"] = {}
    layout = interpreter.layout
    for name in values_train:
        size = layout[name] if name in layout.concepts else layout.dim // 2
        pca = PCA(min(max(1, size), *z_train.shape)).fit(z_train)
        reduced = pca.transform(z_train), pca.transform(z_test)
        probes = _Probes(name, values_train[name], values_test[name], seed)
        for space, latents in {**spaces, "pca": reduced}.items():
            result[space][name] = probes.figures(latents)
    return result


class _Probes:
    """The probes of one attribute, on latents whose value of it is known.

    Args:
      name: the attribute, for messages.
      train, test: values (n,) or (n, d), masked or NaN where missing.
      seed: seed of the subsets for the slow probes and of the MLP.

    Raises:
      ValueError: no known value among training or test latents.
    """

    def __init__(self, name: str, train: np.ndarray, test: np.ndarray, seed: int):
        rows = [np.flatnonzero(known_rows(values)) for values in (train, test)]
        if not all(map(len, rows)):
            raise ValueError(
                f"{name!r} is known of {len(rows[0])} of {len(train)} training and of "
                f"{len(rows[1])} of {len(test)} test latents; a probe needs some of "
                "both: leave the attribute out"
            )
        rng = np.random.default_rng([seed, 0x9B0B])
        self.rows = rows
        self.slow_rows = [
            np.sort(rng.permutation(known)[:limit])
            for known, limit in zip(rows, (SLOW_TRAIN, SLOW_TEST), strict=True)
        ]
        self.classes, self.seed = is_class(train), seed
        self.train, self.test = plain(train), plain(test)
        if self.classes:
            self.train, self.test = self._class_indices()

    @property
    def chance(self) -> float:
        """Share of the test latents in their most frequent class; 0 for real values."""
        if not self.classes:
            return 0.0
        _, counts = np.unique(self.test[self.rows[1]], return_counts=True)
        return float(counts.max() / counts.sum())

    def figures(self, latents: Space) -> ProbeFigures:
        """Figures of all probes in one space."""
        train, test, slow_train, slow_test = map(len, (*self.rows, *self.slow_rows))
        return ProbeFigures(
            figure=self._fitted_score(self._linear(), latents, self.rows),
            mlp=self._fitted_score(self._mlp(), latents, self.slow_rows),
            nearest=self._fitted_score(self._nearest(), latents, self.slow_rows),
            chance=self.chance,
            measure="accuracy" if self.classes else "r2",
            train=train,
            test=test,
            slow_train=slow_train,
            slow_test=slow_test,
        )

    def _fitted_score(
        self, model: Any, latents: Space, rows: list[np.ndarray]
    ) -> float:
        """Test score of a model; chance where the space or the values do not vary."""
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        train_rows, test_rows = rows
        targets = self.train[train_rows]
        nothing_to_learn = self.classes and len(np.unique(targets)) < 2
        if latents[0].shape[1] == 0 or nothing_to_learn:
            return self.chance
        probe = make_pipeline(StandardScaler(), model)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Stochastic Optimizer: Maximum iter")
            probe.fit(latents[0][train_rows], targets)
        return float(probe.score(latents[1][test_rows], self.test[test_rows]))

    def _linear(self) -> Any:
        from sklearn.linear_model import LogisticRegression, Ridge

        return LogisticRegression(max_iter=1000) if self.classes else Ridge()

    def _mlp(self) -> Any:
        from sklearn.compose import TransformedTargetRegressor
        from sklearn.neural_network import MLPClassifier, MLPRegressor
        from sklearn.preprocessing import StandardScaler

        if self.classes:
            early = self._can_hold_out()
            return MLPClassifier(early_stopping=early, random_state=self.seed, **MLP)
        early = len(self.slow_rows[0]) >= 2 / HELD_OUT
        model = MLPRegressor(early_stopping=early, random_state=self.seed, **MLP)
        return TransformedTargetRegressor(model, transformer=StandardScaler())

    def _nearest(self) -> Any:
        from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

        count = min(NEIGHBORS, len(self.slow_rows[0]))
        kind = KNeighborsClassifier if self.classes else KNeighborsRegressor
        return kind(count)

    def _can_hold_out(self) -> bool:
        """Whether the held-out tenth of the latents can contain every class."""
        _, counts = np.unique(self.train[self.slow_rows[0]], return_counts=True)
        return counts.min() >= 2 and HELD_OUT * counts.sum() >= len(counts)

    def _class_indices(self) -> Space:
        """Class indices of all latents; -1 for missing classes and untrained ones."""
        classes = np.unique(self.train[self.rows[0]])
        result = []
        for values, rows in zip((self.train, self.test), self.rows, strict=True):
            indices = np.full(len(values), -1)
            nearest = np.searchsorted(classes, values[rows]).clip(max=len(classes) - 1)
            indices[rows] = np.where(classes[nearest] == values[rows], nearest, -1)
            result.append(indices)
        return result[0], result[1]
