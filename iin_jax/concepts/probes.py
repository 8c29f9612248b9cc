"""Probes that read a concept from latents."""

from typing import TYPE_CHECKING, Any

import numpy as np

from iin_jax.concepts.pair_forms import ClassPairs, PairForm
from iin_jax.concepts.position_pairs import whole
from iin_jax.data.values import MISSING

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

MOST_CLASSES = 50  # most classes of a concept that a probe reads
PROBED = 2000  # most latents on either side of a probe
# Penalty of the kernel ridge regression of real values; the stubs say it is an integer.
PENALTY: Any = 0.1
KNOWN = 0.5  # least share of held-out latents whose class has training latents


def common_classes(
    train: PairForm, held_out: PairForm
) -> tuple[np.ndarray, np.ndarray] | None:
    """Codes of both sides for a probe, (n,) each; None without such classes.

    They are what at least half of the held-out latents have in common with training
    latents, from 2 to 50. A held-out class without training latents counts as missing.
    """
    train, held_out = whole(train)[0], whole(held_out)[0]
    if not (isinstance(train, ClassPairs) and isinstance(held_out, ClassPairs)):
        return None
    classes = np.unique(train.codes[train.codes != MISSING])
    known = np.isin(held_out.codes, classes)
    if not 2 <= len(classes) <= MOST_CLASSES or known.mean() <= KNOWN:
        return None
    return train.codes, np.where(known, held_out.codes, MISSING)


def known_rows(codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows whose class is known, 2,000 at most, in random order."""
    known = np.flatnonzero(codes != MISSING)
    return rng.permutation(known)[:PROBED]


def fitted_probe(x: np.ndarray, y: np.ndarray, *, classes: bool = True) -> "Pipeline":
    """A method of Gaussian kernel on standardised components of z.

    Args:
      x: latents (n, N).
      y: classes (n,), for a support vector machine, or real values (n,) or (n, d), for
        a ridge regression.
      classes: which of the two.

    Raises:
      ValueError: no latents, or a single class.
    """
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    model = SVC(C=10.0) if classes else KernelRidge(alpha=PENALTY, kernel="rbf")
    return make_pipeline(StandardScaler(), model).fit(x, y)
