"""Images that are held out of a training, whole: no pair crosses over."""

from typing import NamedTuple

import numpy as np

from iin_jax.concepts.pair_forms import connected

LEAST = 20  # images or groups of pairs that are held out, of a quarter at most
UNEVEN = 0.5  # least part of the wanted share that groups must reach


class HeldOutPairs(NamedTuple):
    """Rows of given pairs.

    Attributes:
      train, held_out: rows, sorted.
      crossing: number of pairs in neither, since one half is held out.
    """

    train: np.ndarray
    held_out: np.ndarray
    crossing: int


def hold_out_entries(image: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which entries are held out, bool (n,): all of some images.

    Args:
      image: (n,), which image each entry is of, 0 .. images - 1.
      share: of the images, in [0, 1); at least 20, or a quarter if there are few.
      seed: of the choice.

    Raises:
      ValueError: a share outside [0, 1).
    """
    images = int(image.max()) + 1
    chosen = _chosen(images, share, seed)
    return chosen[image]


def hold_out_pairs(
    image: np.ndarray, first: np.ndarray, second: np.ndarray, share: float, seed: int
) -> HeldOutPairs:
    """Splits given pairs such that no image is on both sides.

    Whole groups of connected pairs are held out where there are several; otherwise
    images are, and pairs that cross over are dropped.

    Args:
      image: (n,), which image each latent is of, 0 .. images - 1.
      first, second: (p,), latents of the two halves.
      share: of the groups or images, in [0, 1).
      seed: of the choice.

    Raises:
      ValueError: a share outside [0, 1), or one that leaves no pair on one side.
    """
    a, b = image[first], image[second]
    wanted = held_out_images(a, b, int(image.max()) + 1, share, seed)
    held, crossing = wanted[a] & wanted[b], wanted[a] ^ wanted[b]
    train = ~held & ~crossing
    if share > 0 and not (train.any() and held.any()):
        raise ValueError(
            f"holding out {share:g} of the images leaves {int(train.sum())} pairs to "
            f"train on and {int(held.sum())} to judge by, of {len(a)}: give more "
            "pairs, another held_out, or held_out=0 to go without"
        )
    return HeldOutPairs(
        np.flatnonzero(train), np.flatnonzero(held), int(crossing.sum())
    )


def held_out_images(
    first: np.ndarray, second: np.ndarray, images: int, share: float, seed: int
) -> np.ndarray:
    """Which images are held out, bool (images,): best in whole groups of pairs.

    Args:
      first, second: (p,), the images of each pair.
      images: number of images.
      share, seed: as in ``hold_out_pairs``.
    """
    group = connected(first, second, images)
    names = np.unique(group[first])
    held = names[_chosen(len(names), share, seed)]
    if share > 0 and np.isin(group[first], held).mean() < UNEVEN * share:
        return _chosen(images, min(1.5 * share, 0.5), seed)
    return np.isin(group, held)


def _chosen(count: int, share: float, seed: int) -> np.ndarray:
    if not 0.0 <= share < 1.0:
        raise ValueError(f"held_out is a share of the images in [0, 1); got {share}")
    chosen = np.zeros(count, bool)
    if share > 0.0:
        number = max(round(share * count), min(LEAST, count // 4))
        order = np.random.default_rng([seed, 0x4E1D]).permutation(count)
        chosen[order[:number]] = True
    return chosen
