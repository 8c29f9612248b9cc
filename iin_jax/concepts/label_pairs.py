"""The pairs that labels define, concept by concept, as forms of their latents."""

from collections.abc import Iterable, Mapping

import numpy as np

from iin_jax.concepts.columns import MISSING, read_columns
from iin_jax.concepts.continuous import quantile_classes
from iin_jax.concepts.labels import pairs_from_labels
from iin_jax.concepts.pair_forms import ClassPairs, GivenPairs, PairForm

DRAWN = 20_000  # pairs that differ in a concept, from which its directions follow


def label_pairs(
    labels: Mapping[str, np.ndarray],
    *,
    graded: Mapping[str, np.ndarray] | None = None,
    agree: Iterable[str] | None = None,
    differ: Iterable[str] = (),
    identity: np.ndarray | None = None,
    image: np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, PairForm]:
    """Concept -> its pairs, all others drawn without regard to them.

    Graded concepts pair within ten quantiles. A concept that pairs agree in is taken
    from these alone; one that they only differ in, from drawn pairs that do.

    Args:
      labels, graded, agree, differ, identity, image: as in ``concepts.pair_table``.
      seed: of pairs that differ.
    """
    graded = graded or {}
    columns = read_columns(labels, graded)
    agree = columns.names if agree is None else tuple(agree)
    same = identity if image is None else image
    count = len(columns)
    where = (
        np.arange(count)
        if same is None
        else np.unique(same, return_inverse=True)[1].reshape(-1)
    )
    result: dict[str, PairForm] = {}
    for k, name in enumerate(columns.names):
        if name in graded:
            classes = quantile_classes(graded[name], what=f"concept {name!r}")
            result[name] = ClassPairs(np.ma.filled(classes, MISSING), where)
        elif name in agree or name not in tuple(differ):
            result[name] = ClassPairs(columns.codes[:, k], where)
        else:
            drawn = pairs_from_labels(
                labels,
                DRAWN,
                seed,
                agree=(),
                differ=(name,),
                identity=identity,
                graded=graded,
                drop_alone=True,
            )
            each = np.full(DRAWN, 1 / DRAWN)
            result[name] = GivenPairs(drawn.a, drawn.b, each, where, differs=True)
    return result
