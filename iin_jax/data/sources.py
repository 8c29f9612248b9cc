"""Sources of images by name, and splits of their images."""

from collections.abc import Callable, Mapping

import numpy as np

from iin_jax.data.dataset import Dataset, SourceOptions, StoredImages
from iin_jax.data.folder import folder
from iin_jax.data.tfds_sets import SETS, tfds_source

__all__ = [
    "SOURCES",
    "SPLITS",
    "Dataset",
    "SourceOptions",
    "StoredImages",
    "embedded_digits",
    "split_dataset",
    "split_indices",
]

SPLITS = ("train", "validation", "test")


def embedded_digits(image_size: int) -> Dataset:
    """The 1,797 handwritten digits that come with scikit-learn, without a download.

    The set is Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998,
    UCI). Its 8x8 counts 0..16 are scaled to 0..255 and enlarged bicubically.

    Args:
      image_size: H = W of the images, in pixels, at least 8.

    Returns:
      Grey images (1797, H, W, 1) with the attribute ``digit``.

    Raises:
      ValueError: an image size below 8.
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    if image_size < 8:
        raise ValueError(f"the embedded digits are 8x8; image_size is {image_size}")
    counts, digits = load_digits(return_X_y=True)
    grey = np.round(counts.reshape(-1, 8, 8) * (255.0 / 16.0)).astype(np.uint8)
    size = (image_size, image_size)
    resized = [
        np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
        for image in grey
    ]
    return Dataset(
        "digits",
        np.stack(resized)[..., None],
        {"digit": np.asarray(digits, np.int32)},
        {"digit": tuple("0123456789")},
        "Optical Recognition of Handwritten Digits, Alpaydin and Kaynak, UCI, 1998",
    )


# name -> source
SOURCES: dict[str, Callable[[SourceOptions], Dataset]] = {
    "digits": lambda options: embedded_digits(options.image_size),
    **{name: tfds_source(name) for name in SETS},
    "folder": folder,
}


def split_dataset(
    dataset: Dataset, fractions: Mapping[str, float], seed: int
) -> dict[str, np.ndarray]:
    """Splits a data set as its publisher did, or else at random by shares.

    Args:
      dataset: the data set. If it has published parts, these are used unchanged, and a
        missing validation part is drawn from the training part.
      fractions: ``"validation"`` and ``"test"`` -> share of all images, in [0, 1]. With
        published parts, validation is a share of the training part, and test unused.
      seed: seed of the shuffle.

    Returns:
      ``"train"``, ``"validation"`` or ``"test"`` -> sorted indices, disjoint: of a data
      set without parts those that ``fractions`` name, and train.

    Raises:
      ValueError: a split would be empty, or ``fractions`` has no share for a missing
        validation part.
    """
    parts = dataset.parts
    if parts is None or "test" not in parts:
        return split_indices(len(dataset), dict(fractions), seed)
    result = {name: np.sort(parts[name]) for name in SPLITS if name in parts}
    if "validation" not in parts:
        if "validation" not in fractions:
            raise ValueError(
                f"{dataset.name} has no validation part of its own, and fractions give "
                f"no share for one; got {dict(fractions)}"
            )
        train = result["train"]
        drawn = split_indices(len(train), {"validation": fractions["validation"]}, seed)
        result |= {name: train[indices] for name, indices in drawn.items()}
    return {name: result[name] for name in SPLITS}


def split_indices(
    count: int, fractions: dict[str, float], seed: int
) -> dict[str, np.ndarray]:
    """Splits images at random by index, so that no image is in two splits.

    Args:
      count: number of images.
      fractions: split -> share of the images, in [0, 1], for every split but
        ``"train"``, which takes the rest.
      seed: seed of the shuffle.

    Returns:
      Split -> sorted indices; the splits are disjoint and together contain all images.

    Raises:
      ValueError: a split would be empty, or fractions that are no shares.
    """
    bad = [name for name, share in fractions.items() if not 0.0 <= share <= 1.0]
    if bad or sum(fractions.values()) > 1.0:
        raise ValueError(
            f"fractions are shares in [0, 1] and sum to at most 1; got {fractions}"
        )
    order = np.random.default_rng([seed, 0x5B117]).permutation(count)
    result, start = {}, 0
    for name, fraction in fractions.items():
        size = round(count * fraction)
        result[name] = np.sort(order[start : start + size])
        start += size
    result["train"] = np.sort(order[start:])
    empty = [name for name, indices in result.items() if not len(indices)]
    if empty:
        raise ValueError(
            f"{count} images split by {fractions} leave nothing for {empty}"
        )
    return {name: result[name] for name in SPLITS if name in result}
