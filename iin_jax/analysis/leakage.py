"""What probes read from each factor: its own concept, and others'."""

import dataclasses
import warnings
from typing import Any

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from iin_jax.analysis.base import Evidence, Record, Section, Table, Values, shown
from iin_jax.data.values import is_class, known_rows, plain
from iin_jax.interpreter import Interpreter
from iin_jax.types import Latents

PER_TEST = 4  # training latents for each test latent, at most
SLOW_TRAIN, SLOW_TEST = 8192, 4096  # latents for the slower two probes, at most
NEIGHBORS = 5
HELD_OUT = 0.1  # share of latents that stops an MLP's training
MLP: Any = {
    "hidden_layer_sizes": (128,),
    "learning_rate_init": 3e-3,
    "max_iter": 100,
    "n_iter_no_change": 10,
    "validation_fraction": HELD_OUT,
}

Space = tuple[np.ndarray, np.ndarray]  # latents to train on and to test on


@dataclasses.dataclass(frozen=True)
class ProbeFigures:
    """What probes read of one attribute in one space.

    Attributes:
      figure: of the linear probe.
      mlp, nearest: of the other two.
      chance: what no knowledge gives.
      measure: ``"accuracy"`` or ``"r2"``.
      train, test: number of latents behind the linear probe.
      slow_train, slow_test: behind the other two.
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
    """What probes read from each factor.

    Attributes:
      leakage: factor, or ``"z"``, or ``"pca"`` -> attribute -> figures.
      probe_train, probe_test: number of latents.
    """

    leakage: dict[str, dict[str, ProbeFigures]]
    probe_train: int
    probe_test: int


class LeakageAnalysis:
    """Probes of every attribute, fitted on training and read on test latents."""

    record = LeakageRecord

    def measure(self, evidence: Evidence) -> LeakageRecord | None:
        train, test = evidence.train, evidence.test
        names = [name for name in train.values if name in test.values]
        if not names:
            return None
        rng = np.random.default_rng(evidence.seed)
        part = np.sort(rng.permutation(len(train))[: PER_TEST * len(test)])
        figures = leakage(
            evidence.interpreter,
            train.latents.mean[part],
            test.latents.mean,
            {name: train.values[name][part] for name in names},
            {name: test.values[name] for name in names},
            seed=evidence.seed,
        )
        return LeakageRecord(figures, len(part), len(test))

    def section(self, record: LeakageRecord) -> Section:
        first = next(iter(record.leakage.values()))
        words = {"z": "raw z", "pca": "PCA of z"}
        head = ["read from"]
        for name, cell in first.items():
            measure = "R²" if cell.measure == "r2" else cell.measure
            head.append(
                f"{name} ({measure}; chance {shown(cell.chance, cell.measure)})"
            )
        rows = [
            [words.get(space, f"factor {space}"), *map(_three, row.values())]
            for space, row in record.leakage.items()
        ]
        note = (
            "Linear probe / MLP / five nearest neighbours, fitted on "
            f"{record.probe_train} training latents, read on {record.probe_test} "
            "latents of held-out images (the slower two on subsets). Linear probes "
            "alone understate what a factor holds."
        )
        title = "What probes read from each factor"
        return Section(title, (), [Table(head, rows)], [note])


def _three(cell: ProbeFigures) -> str:
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
    """Probes of every attribute from every factor, the residual, raw z and its PCA.

    Classes are scored by accuracy, real values by R^2, on standardised components: by a
    linear probe (logistic or ridge regression) on all latents, and by an MLP (a hidden
    layer of 128, stopped early, after 100 passes at most) and the five nearest
    neighbours on a subset of at most 8,192 training and 4,096 test latents. Linear
    probes alone understate what a factor holds. The PCA has as many components as the
    attribute's own factor (N / 2 for an attribute without one).

    Args:
      interpreter: T and layout.
      z_train, z_test: (n, N).
      values_train, values_test: attribute -> (n,) or (n, d); rows that are masked or
        NaN are left out.
      seed: of the subsets and of the MLP.

    Returns:
      factor, or ``"z"``, or ``"pca"`` -> attribute -> figures.

    Raises:
      ValueError: an attribute without a known value among training or test latents.
    """
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
        question = _Question(name, values_train[name], values_test[name], seed)
        for space, latents in {**spaces, "pca": reduced}.items():
            result[space][name] = question.ask(latents)
    return result


class _Question:
    """One attribute: what is known of it, and which latents the slow probes see."""

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
            np.sort(rng.permutation(chosen)[:limit])
            for chosen, limit in zip(rows, (SLOW_TRAIN, SLOW_TEST), strict=True)
        ]
        self.classes, self.seed = is_class(train), seed
        self.train, self.test = plain(train), plain(test)
        if self.classes:
            self.train, self.test = self._class_indices()

    @property
    def chance(self) -> float:
        """The share of the most frequent class among the test latents; R^2 of 0."""
        if not self.classes:
            return 0.0
        _, counts = np.unique(self.test[self.rows[1]], return_counts=True)
        return float(counts.max() / counts.sum())

    def ask(self, latents: Space) -> ProbeFigures:
        """The figures of all probes in one space."""
        train, test, slow_train, slow_test = map(len, (*self.rows, *self.slow_rows))
        return ProbeFigures(
            figure=self._probe(self._linear(), latents, self.rows),
            mlp=self._probe(self._mlp(), latents, self.slow_rows),
            nearest=self._probe(self._nearest(), latents, self.slow_rows),
            chance=self.chance,
            measure="accuracy" if self.classes else "r2",
            train=train,
            test=test,
            slow_train=slow_train,
            slow_test=slow_test,
        )

    def _probe(self, model: Any, latents: Space, rows: list[np.ndarray]) -> float:
        train_rows, test_rows = rows
        seen = self.train[train_rows]
        nothing_to_learn = self.classes and len(np.unique(seen)) < 2
        if latents[0].shape[1] == 0 or nothing_to_learn:
            return self.chance
        probe = make_pipeline(StandardScaler(), model)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Stochastic Optimizer: Maximum iter")
            probe.fit(latents[0][train_rows], seen)
        return float(probe.score(latents[1][test_rows], self.test[test_rows]))

    def _linear(self) -> Any:
        return LogisticRegression(max_iter=1000) if self.classes else Ridge()

    def _mlp(self) -> Any:
        if self.classes:
            early = self._can_hold_out()
            return MLPClassifier(early_stopping=early, random_state=self.seed, **MLP)
        early = len(self.slow_rows[0]) >= 2 / HELD_OUT
        model = MLPRegressor(early_stopping=early, random_state=self.seed, **MLP)
        return TransformedTargetRegressor(model, transformer=StandardScaler())

    def _nearest(self) -> Any:
        count = min(NEIGHBORS, len(self.slow_rows[0]))
        kind = KNeighborsClassifier if self.classes else KNeighborsRegressor
        return kind(count)

    def _can_hold_out(self) -> bool:
        """Whether a tenth of the latents can hold some of every class."""
        _, counts = np.unique(self.train[self.slow_rows[0]], return_counts=True)
        return counts.min() >= 2 and HELD_OUT * counts.sum() >= len(counts)

    def _class_indices(self) -> Space:
        """Indices of known classes; -1 where missing, or in no training latent."""
        known = np.unique(self.train[self.rows[0]])
        result = []
        for values, rows in zip((self.train, self.test), self.rows, strict=True):
            indices = np.full(len(values), -1)
            places = np.searchsorted(known, values[rows]).clip(max=len(known) - 1)
            indices[rows] = np.where(known[places] == values[rows], places, -1)
            result.append(indices)
        return result[0], result[1]
