"""Images that are held out of a training, whole: no pair crosses over."""

import numpy as np

from iin_jax.concepts.pair_forms import connected

LEAST_HELD_OUT = 20  # fewest images or groups held out, unless a quarter is fewer
LEAST_PART = 0.5  # least part of the requested share that whole groups must reach


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


def held_out_images(
    first: np.ndarray, second: np.ndarray, images: int, share: float, seed: int
) -> np.ndarray:
    """Which images are held out of given pairs, bool (images,).

    Whole groups of connected pairs where there are several, so that no pair has one
    half on either side; otherwise images, and pairs that cross over are of no use.

    Args:
      first, second: (p,), the images of each pair.
      images: number of images.
      share: of the groups or images, in [0, 1).
      seed: of the choice.

    Raises:
      ValueError: a share outside [0, 1).
    """
    group = connected(first, second, images)
    groups = np.unique(group[first])
    held = groups[_chosen(len(groups), share, seed)]
    if share > 0 and np.isin(group[first], held).mean() < LEAST_PART * share:
        return _chosen(images, min(1.5 * share, 0.5), seed)
    return np.isin(group, held)


def _chosen(count: int, share: float, seed: int) -> np.ndarray:
    if not 0.0 <= share < 1.0:
        raise ValueError(f"held_out is a share of the images in [0, 1); got {share}")
    chosen = np.zeros(count, bool)
    if share > 0.0:
        number = max(round(share * count), min(LEAST_HELD_OUT, count // 4))
        order = np.random.default_rng([seed, 0x4E1D]).permutation(count)
        chosen[order[:number]] = True
    return chosen
