"""Versions of pictures: every picture several times, each time in another manner."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from iin_jax.data.augment import Affine
from iin_jax.data.dataset import Dataset
from iin_jax.data.image_sets import ImageSet
from iin_jax.data.palette import Background
from iin_jax.data.views import ColorChoice, DatasetView


def with_versions(
    dataset: Dataset,
    splits: Mapping[str, np.ndarray],
    chosen: np.ndarray,
    versions: Mapping[str, np.ndarray],
    label: str,
    notes: Sequence[str] = (),
) -> Dataset:
    """The chosen pictures of a data set, in all versions, with a label that says which.

    Args:
      dataset: the data set of the pictures.
      splits: split -> indices of its pictures in the data set.
      chosen: sorted indices of the pictures that have versions, (m,).
      versions: name -> the chosen pictures in that version, uint8 (m, H, W, C).
      label: name of the label.
      notes: lines to add to those of the data set.

    Returns:
      A data set of all pictures in the first version, then all in the second, and so
      on; its parts are the splits.

    Raises:
      ValueError: the data set has a label of that name.
    """
    if label in dataset.labels:
        raise ValueError(
            f"{dataset.name} has an attribute {label!r} already: choose another name "
            "for what the sketches show"
        )
    count, number = len(chosen), len(versions)
    labels = {}
    for name, values in dataset.labels.items():
        of_chosen = values[chosen]
        labels[name] = np.ma.concatenate([of_chosen] * number)
        if not isinstance(values, np.ma.MaskedArray):
            labels[name] = np.asarray(labels[name])
    labels[label] = np.repeat(np.arange(number, dtype=np.int32), count)
    parts = {}
    for split, indices in splits.items():
        place = np.flatnonzero(np.isin(chosen, indices))
        parts[split] = np.concatenate([place + k * count for k in range(number)])
    return dataclasses.replace(
        dataset,
        images=np.concatenate(list(versions.values())),
        labels=labels,
        classes={**dataset.classes, label: tuple(versions)},
        parts=parts,
        notes=(*dataset.notes, *notes),
        versions=number,
        origin=dataset.digest,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class VersionsView:
    """A view whose entries come in all versions, alike in distortion and colour.

    Attributes:
      view: a plain or painted view of the same data set.
      dataset: a data set of several versions.
    """

    view: DatasetView
    dataset: Dataset

    @property
    def labels(self) -> Mapping[str, np.ndarray]:
        return self.view.labels

    @property
    def names(self) -> tuple[str, ...]:
        return self.view.names

    @property
    def channels(self) -> int:
        return self.view.channels

    @property
    def background(self) -> Background:
        return self.view.background

    @property
    def train_colors(self) -> np.ndarray | None:
        return self.view.train_colors

    def entries(
        self,
        indices: np.ndarray,
        colors: ColorChoice,
        *,
        variants: int = 1,
        augment: Affine | None = None,
        seed: int = 0,
    ) -> ImageSet:
        pictures = np.unique(self.dataset.picture_of(np.asarray(indices)))
        options = {"variants": variants, "augment": augment, "seed": seed}
        sets = [
            self.view.entries(pictures + k * self.dataset.pictures, colors, **options)
            for k in range(self.dataset.versions)
        ]
        return self._joined(sets)

    def singles(self, items: np.ndarray, purpose: str) -> ImageSet:
        single = self.view.singles(items, purpose)
        picture = self.dataset.picture_of(single.item)
        return dataclasses.replace(single, picture=picture)

    def _joined(self, sets: Sequence[ImageSet]) -> ImageSet:
        """Entries of all versions, those of the first version first."""
        first = sets[0]
        variants, variant = first.variants, [each.variant for each in sets]
        if any(each.variants is not variants for each in sets):  # distorted ones
            starts = np.cumsum([0, *(len(each.variants) for each in sets[:-1])])
            variant = [x + start for x, start in zip(variant, starts, strict=True)]
            variants = np.concatenate([each.variants[:] for each in sets])
        item = np.concatenate([each.item for each in sets])
        colors = [each.color for each in sets if each.color is not None]
        return dataclasses.replace(
            first,
            variants=variants,
            item=item,
            variant=np.concatenate(variant),
            color=np.concatenate(colors) if colors else None,
            picture=self.dataset.picture_of(item),
            original=np.tile(first.variant, len(sets)),
        )
