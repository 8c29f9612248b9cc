"""What gets measured: an analysis reads the evidence and returns a typed record."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, Self

import cattrs
import numpy as np
from matplotlib.figure import Figure

from iin_jax.analysis.judges import Judge
from iin_jax.concepts import LabelPairs, PairSource, quantile_classes
from iin_jax.data.values import is_class, is_vector
from iin_jax.interpreter import Interpreter
from iin_jax.latents import LatentCache, encode_all
from iin_jax.networks import Network
from iin_jax.types import Images

Values = Mapping[str, np.ndarray]  # attribute -> (n,) or (n, d), masked or NaN: missing


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Images, what is true of them, and what a network makes of them.

    Attributes:
      network: frozen.
      read: slice or indices -> images (b, H, W, C) in [-1, 1].
      count: number of images, n.
      values: attribute -> true values; classes (n,), real values (n,) or (n, d), and
        colours (n, 3) in [0, 1].
      picture: (n,), which picture each image shows: equal for one in several colours.
      source: where pairs come from; None: labels of the attributes that have values
        (n,), real ones by quantile.
      encoded: the latents, if they are at hand.
      classes: attribute -> the names behind its codes, where it has some.
    """

    network: Network
    read: Callable[[Any], Images]
    count: int
    values: Values
    picture: np.ndarray
    source: PairSource | None = None
    encoded: LatentCache | None = None
    classes: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, network: Network, images: Images, labels: Values) -> "Examples":
        """Images in memory, all different.

        Raises:
          ValueError: no image, none with labels, or labels of another length.
        """
        images = np.asarray(images)
        if not len(images) or not labels:
            raise ValueError(
                f"a score needs images and labels; got {len(images)} images and labels "
                f"of {list(labels)}"
            )
        for name, values in labels.items():
            if len(values) != len(images):
                raise ValueError(
                    f"attribute {name!r} has {len(values)} labels for {len(images)} "
                    "images"
                )
        network.check_images(images)
        values = {name: _column(x) for name, x in labels.items()}
        return cls(
            network,
            lambda part: images[part],
            len(images),
            values,
            np.arange(len(images)),
        )

    def __len__(self) -> int:
        return self.count

    @functools.cached_property
    def latents(self) -> LatentCache:
        """Posterior of every image, (n, N)."""
        if self.encoded is not None:
            return self.encoded
        return encode_all(self.network, self.read, self.count)

    def named(self, name: str, part: np.ndarray) -> np.ndarray:
        """Some values of an attribute, codes as the names of their classes."""
        values = self.values[name][part]
        if name not in self.classes:
            return values
        words = np.asarray(self.classes[name])[np.ma.filled(values, 0)]
        return np.ma.array(words, mask=np.ma.getmaskarray(values))

    @functools.cached_property
    def pairs(self) -> PairSource | None:
        """Where pairs come from; None if no attribute can form any."""
        if self.source is not None:
            return self.source
        labels = {
            name: x if is_class(x) else quantile_classes(x, what=f"attribute {name!r}")
            for name, x in self.values.items()
            if not is_vector(x)
        }
        return LabelPairs(labels, {}, self.picture) if labels else None


def _column(values: np.ndarray) -> np.ndarray:
    return values if np.ma.isMaskedArray(values) else np.asarray(values)


@dataclasses.dataclass(frozen=True, eq=False)
class Swapped:
    """Pairs of test images between which concepts are swapped.

    Attributes:
      a, b: both halves of every pair; a receives b's factor.
      truths: concept -> what its swap should give, (n, H, W, C) in [-1, 1], where that
        can be made.
    """

    a: Examples
    b: Examples
    truths: Mapping[str, Images] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class FeatureNetwork:
    """What compares sets of pictures.

    Attributes:
      name: of a pretrained network.
      images: most pictures on either side.
      size: H = W that it sees, in pixels; 0: its own.
      download: fetches its weights where they are missing.
    """

    name: str
    images: int = 10_000
    size: int = 0
    download: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """What analyses share.

    Attributes:
      interpreter: with a network.
      train: what T was trained on.
      test: what neither trained nor chose anything.
      judges: concept -> who reads it; they never saw the flow.
      swapped: pairs for swaps; None: without concepts.
      paired: images whose pairs give the test scores.
      layered: images whose pairs give every layer's scores.
      estimator: of these scores, ``"pooled"`` or ``"correlation"``.
      score_pairs: number of these pairs.
      certified: most latents that the certificate stands on.
      features: compares sets of pictures; None: nobody does.
      seed: of everything drawn.
    """

    interpreter: Interpreter
    train: Examples
    test: Examples
    judges: Mapping[str, Judge]
    swapped: Swapped | None
    paired: Examples
    layered: Examples
    estimator: str = "pooled"
    score_pairs: int = 10_000
    certified: int = 1000
    features: FeatureNetwork | None = None
    seed: int = 0

    @property
    def network(self) -> Network:
        """What is interpreted."""
        return self.train.network


class Record:
    """A frozen dataclass of figures; subclasses say how it stands in a scorecard.

    Attributes:
      key: name of its entry in the scorecard; None: each field is an entry. Fields that
        are None are left out.
    """

    key: ClassVar[str | None] = None

    def entries(self) -> dict[str, Any]:
        """Entries of the scorecard, as JSON values."""
        values = {k: x for k, x in cattrs.unstructure(self).items() if x is not None}
        return values if self.key is None else {self.key: values}

    @classmethod
    def of(cls, card: Mapping[str, Any]) -> Self | None:
        """The record in a scorecard, also after JSON; None if it is not there."""
        fields = {field.name: field for field in dataclasses.fields(cls)}  # pyright: ignore[reportArgumentType]
        values = card if cls.key is None else card.get(cls.key)
        if values is None:
            return None
        needed = [n for n, f in fields.items() if f.default is dataclasses.MISSING]
        if any(values.get(name) is None for name in needed):
            return None
        return cattrs.structure({n: values[n] for n in fields if n in values}, cls)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of words: ``head`` and ``rows``, the first column in words."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Section:
    """What a report says of a record.

    Attributes:
      title: headline.
      text: paragraphs in plain words.
      tables: below them.
      notes: smaller, below the tables.
      figures: name -> picture.
      lead: what belongs in the report's first lines.
    """

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    figures: Mapping[str, Figure] = dataclasses.field(default_factory=dict)
    lead: Sequence[str] = ()


class Analysis(Protocol):
    """One thing that gets measured; a row of ``ANALYSES``."""

    @property
    def record(self) -> type[Record]:
        """Type of what it measures; a plain class attribute will do."""
        ...

    def measure(self, evidence: Evidence, /) -> Record | None:
        """Measures; None where it does not apply."""
        ...

    def section(self, record: Any, /) -> Section:
        """What the report says of a record."""
        ...


def shown(value: float | None, measure: str) -> str:
    """A figure in words: accuracies in per cent, all others to three decimals."""
    if value is None:
        return "-"
    return f"{100 * value:.1f} %" if measure == "accuracy" else f"{value:.3f}"
