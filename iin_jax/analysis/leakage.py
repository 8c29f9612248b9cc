"""What a linear probe reads from each factor: its own concept, and others'."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from iin_jax.analysis.judges import is_class
from iin_jax.interpreter import Interpreter
from iin_jax.types import Latents


def linear_leakage(
    interpreter: Interpreter,
    z_train: Latents,
    z_test: Latents,
    values_train: Mapping[str, np.ndarray],
    values_test: Mapping[str, np.ndarray],
) -> dict[str, dict[str, dict[str, Any]]]:
    """Linear probes of every attribute from every factor, raw z and its PCA.

    Classes (integers or strings) are probed by logistic regression and scored by
    accuracy, real values by ridge regression and scored by R^2. The PCA has as many
    components as the attribute's own factor (N / 2 for an attribute without one).

    Args:
      interpreter: T and layout.
      z_train, z_test: (n, N).
      values_train, values_test: attribute -> (n,) or (n, d).

    Returns:
      factor, or ``"z"``, or ``"pca"`` -> attribute -> ``figure``, ``chance``,
      ``measure``.
    """
    z_train, z_test = np.asarray(z_train), np.asarray(z_test)
    test_parts = interpreter.to_factors(z_test)
    spaces = {
        name: (np.asarray(part), np.asarray(test_parts[name]))
        for name, part in interpreter.to_factors(z_train).items()
    }
    spaces["z"] = (z_train, z_test)
    result: dict[str, dict[str, dict[str, Any]]] = {}
    for space, (train, test) in spaces.items():
        result[space] = {
            name: _probe(train, test, values_train[name], values_test[name])
            for name in values_train
        }
    result["pca"] = {}
    for name in values_train:
        layout = interpreter.layout
        size = layout[name] if name in layout.concepts else layout.dim // 2
        pca = PCA(max(1, size)).fit(z_train)
        train, test = pca.transform(z_train), pca.transform(z_test)
        result["pca"][name] = _probe(train, test, values_train[name], values_test[name])
    return result


def _probe(train, test, values_train, values_test) -> dict[str, Any]:
    classes = is_class(values_train)
    measure = "accuracy" if classes else "r2"
    if classes:
        _, counts = np.unique(values_test, return_counts=True)
        chance = float(counts.max() / counts.sum())
    else:
        chance = 0.0
    if train.shape[1] == 0:
        return {"figure": chance, "chance": chance, "measure": measure}
    model = LogisticRegression(max_iter=1000) if classes else Ridge()
    probe = make_pipeline(StandardScaler(), model).fit(train, values_train)
    figure = float(probe.score(test, values_test))
    return {"figure": figure, "chance": chance, "measure": measure}
