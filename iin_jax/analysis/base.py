"""The contract of an analysis: it reads the evidence and returns a typed record."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

import cattrs
import numpy as np

from iin_jax.analysis.judges import Judge
from iin_jax.concepts import LabelPairs, PairSource, quantile_classes
from iin_jax.data.values import is_class, is_vector, label_columns
from iin_jax.interpreter import Interpreter
from iin_jax.invariances import Invariances
from iin_jax.latents import LatentCache, encode_all
from iin_jax.networks import Network
from iin_jax.types import Images

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# attribute -> values (n,) or (n, d); missing values are masked or NaN
Values = Mapping[str, np.ndarray]
Verdict = Literal["fails", "in part", "open", "holds"]
HOLDS, IN_PART = 0.8, 0.5  # least shares of what can be reached for these verdicts


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Images, their true attribute values, and their latents under a network.

    Attributes:
      network: the frozen network whose latents are read.
      read: slice or indices -> images (b, H, W, C) in [-1, 1].
      count: number of images, n.
      values: attribute -> true values: classes (n,), real values (n,) or (n, d), or
        colours (n, 3) in [0, 1]; missing values are masked or NaN.
      picture: index of the picture that each image shows, (n,); images of one picture
        in several colours have one index.
      source: source of pairs; None: pairs are drawn by the attributes whose values
        are (n,), real values cut into quantile classes.
      encoded: latents computed before; None: ``latents`` computes them at first use.
      classes: attribute -> names of its class codes, for attributes that have names.
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
        """Examples of images in memory, each a picture of its own.

        Args:
          network: the frozen network that encodes them.
          images: (n, H, W, C) in [-1, 1], n >= 1.
          labels: attribute -> values (n,) or (n, d); a dictionary or data frame, whose
            columns are lists, arrays, tensors or of pandas. Floating-point numbers are
            real values; whole numbers, truth values, text, categories and dates are
            classes. Missing values are masked, None, NaN, NA or NaT.

        Raises:
          ValueError: no image, no labels, labels of another form, or of another length
            than the images, or images that the network cannot take.
        """
        images, columns = np.asarray(images), label_columns(labels, "attribute")
        if not len(images) or not columns:
            raise ValueError(
                f"a score needs images and labels; got {len(images)} images and labels "
                f"of {list(columns)}"
            )
        for name, values in columns.items():
            if len(values) != len(images):
                raise ValueError(
                    f"attribute {name!r} has {len(values)} labels for {len(images)} "
                    "images"
                )
        network.check_images(images)
        return cls(
            network,
            lambda part: images[part],
            len(images),
            columns,
            np.arange(len(images)),
        )

    def __len__(self) -> int:
        return self.count

    def some(self, most: int, seed: int) -> np.ndarray:
        """Indices of all images, or of ``most`` of them drawn at random; sorted."""
        if self.count <= most:
            return np.arange(self.count)
        rng = np.random.default_rng([seed, 0x50E])
        return np.sort(rng.permutation(self.count)[:most])

    @functools.cached_property
    def latents(self) -> LatentCache:
        """Mean and log-variance of every image's latent, (n, N) each."""
        if self.encoded is not None:
            return self.encoded
        return encode_all(self.network, self.read, self.count)

    def named(self, name: str, part: np.ndarray) -> np.ndarray:
        """Values of an attribute at the indices ``part``, codes as class names.

        An attribute without class names keeps its values.
        """
        values = self.values[name][part]
        if name not in self.classes:
            return values
        class_names = np.asarray(self.classes[name])[np.ma.filled(values, 0)]
        return np.ma.array(class_names, mask=np.ma.getmaskarray(values))

    @functools.cached_property
    def pairs(self) -> PairSource | None:
        """Source of pairs; None if no attribute has one value per image to pair by."""
        if self.source is not None:
            return self.source
        labels = {
            name: x if is_class(x) else quantile_classes(x, what=f"attribute {name!r}")
            for name, x in self.values.items()
            if not is_vector(x)
        }
        return LabelPairs(labels, {}, self.picture) if labels else None


@dataclasses.dataclass(frozen=True, eq=False)
class Swapped:
    """Pairs of test images between which concepts are swapped.

    Attributes:
      a, b: the two halves of n pairs; a receives b's factor.
      truths: concept -> the images that its swap should give, (n, H, W, C) in [-1, 1],
        for concepts whose true result can be made.
    """

    a: Examples
    b: Examples
    truths: Mapping[str, Images] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class FeatureNetwork:
    """A pretrained network whose features compare two sets of images.

    Attributes:
      name: the network, a key of ``analysis.distances.FEATURES``.
      images: most images on either side of a comparison.
      size: H = W to which images are resized, in pixels; 0: the network's own size.
      download: whether missing weights are downloaded.
    """

    name: str
    images: int = 10_000
    size: int = 0
    download: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """The interpreter, images and judges that all analyses share.

    Attributes:
      interpreter: T, layout and network under examination.
      train: images that T was trained on.
      test: images that neither trained nor chose anything.
      judges: attribute -> its judge, which never saw the flow.
      swapped: pairs of test images for swaps; None without concepts.
      paired: images whose pairs give the scores of ``PairScoresAnalysis``.
      layered: images whose pairs give the scores of ``LayersAnalysis``.
      estimator: estimator of both scores, ``"pooled"`` or ``"correlation"``.
      score_pairs: number of pairs asked for behind the scores; ``LayersAnalysis``
        takes at most 1,000.
      certified: most test images behind the certificate.
      features: network that compares sets of images; None: no distances.
      invariances: layer of a classifier -> the flow that shows what it leaves open.
      seed: seed of every random draw of the analyses.
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
    invariances: Mapping[str, Invariances] = dataclasses.field(default_factory=dict)
    seed: int = 0

    @property
    def network(self) -> Network:
        """The frozen network under interpretation."""
        return self.train.network


class Record:
    """Base of the frozen dataclasses of figures that analyses return.

    A subclass is a dataclass whose fields turn into JSON values; fields that are None
    are left out of the scorecard.

    Attributes:
      key: name of the record's one entry in the scorecard; None: each field is an
        entry under its own name.
    """

    key: ClassVar[str | None] = None

    def entries(self) -> dict[str, Any]:
        """The record's entries in a scorecard: name -> JSON value."""
        values = {k: x for k, x in cattrs.unstructure(self).items() if x is not None}
        return values if self.key is None else {self.key: values}

    @classmethod
    def of(cls, card: Mapping[str, Any]) -> Self | None:
        """Reads the record from a scorecard, as measured or read back from JSON.

        Returns:
          The record; None if an entry without a default is missing from the scorecard.

        Raises:
          cattrs.BaseValidationError: entries of another form, as of another version.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}  # pyright: ignore[reportArgumentType]
        values = card if cls.key is None else card.get(cls.key)
        if values is None:
            return None
        required = [n for n, f in fields.items() if f.default is dataclasses.MISSING]
        if any(values.get(name) is None for name in required):
            return None
        return cattrs.structure({n: values[n] for n in fields if n in values}, cls)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of formatted cells.

    Attributes:
      head: names of the columns; empty: the table has no head.
      rows: cells of each row, the first of which names the row.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Finding:
    """What an analysis says on one claim, for the first lines of the report.

    Attributes:
      verdict: whether the claim holds; ``"open"`` where the figures cannot tell.
      text: the claim and its main figures, in one or two sentences.
      details: further lines, in smaller type.
    """

    verdict: Verdict
    text: str
    details: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Section:
    """The section of a report that presents a record.

    Attributes:
      title: headline.
      text: paragraphs of plain text.
      tables: tables below the paragraphs.
      notes: paragraphs in smaller type below the tables.
      figures: name -> figure, below the notes.
      grids: names of grids of images of the run's record, below the figures.
      lead: lines for the top of the report: a sentence, then items of a list.
      findings: verdicts for the top of the report, above all leads.
    """

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    figures: Mapping[str, "Figure"] = dataclasses.field(default_factory=dict)
    grids: Sequence[str] = ()
    lead: Sequence[str] = ()
    findings: Sequence[Finding] = ()


class Analysis(Protocol):
    """One measurement and its presentation; a row of ``ANALYSES``."""

    @property
    def record(self) -> type[Record]:
        """Type of the record that ``measure`` returns; a class attribute will do."""
        ...

    def measure(self, evidence: Evidence, /) -> Record | None:
        """The record of this analysis; None where the analysis does not apply."""
        ...

    def section(self, record: Any, /) -> Section:
        """The report's section on a record of this analysis."""
        ...


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure, in inches; Matplotlib is imported when something is drawn."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def verdict_of(share: float) -> Verdict:
    """``"holds"`` from 0.8 of what can be reached, ``"in part"`` from 0.5 of it."""
    if share >= HOLDS:
        return "holds"
    return "in part" if share >= IN_PART else "fails"


def shown(value: float | None, measure: str) -> str:
    """A figure as text: accuracy in per cent, others to 3 decimals, None as a dash."""
    if value is None:
        return "-"
    return f"{100 * value:.1f} %" if measure == "accuracy" else f"{value:.3f}"
