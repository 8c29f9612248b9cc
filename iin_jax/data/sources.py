"""Images with labels, and how they are split."""

import dataclasses
from collections.abc import Callable

import numpy as np

SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images with labels, in memory.

    Attributes:
      name: of the source.
      images: uint8 (n, H, W, C), 0..255.
      labels: attribute -> (n,).
      citation: where the images come from.
    """

    name: str
    images: np.ndarray
    labels: dict[str, np.ndarray]
    citation: str

    def __len__(self) -> int:
        return len(self.images)


def embedded_digits(image_size: int) -> Dataset:
    """The 1,797 handwritten digits that scikit-learn ships: no download, no network.

    Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998, UCI), 8x8
    counts 0..16, scaled to 0..255 and enlarged bicubically.

    Args:
      image_size: H = W of the result, at least 8.
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
        {"digit": digits.astype(np.int32)},
        "Optical Recognition of Handwritten Digits, Alpaydin and Kaynak, UCI, 1998",
    )


SOURCES: dict[str, Callable[[int], Dataset]] = {"digits": embedded_digits}


def split_indices(
    count: int, fractions: dict[str, float], seed: int
) -> dict[str, np.ndarray]:
    """Splits images by index, so that no image is in two splits in any colour.

    Args:
      count: number of images.
      fractions: split -> share of the images, for all but ``"train"``, which takes
        the rest.
      seed: of the shuffle.

    Returns:
      split -> sorted indices; disjoint, together all.

    Raises:
      ValueError: a split would be empty.
    """
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
