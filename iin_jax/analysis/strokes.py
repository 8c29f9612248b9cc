"""Measures of what is drawn: how wide strokes are, how outlines bend, and texture."""

import numpy as np
from tqdm import tqdm

from iin_jax.types import Images

FINER = 4  # pixels per pixel of the image in which lines are traced
LEAST_INK = 0.1  # range of brightness in [0, 1] below which an image is blank
SMOOTHING = 1.0  # standard deviation along an outline, in pixels of the image
LEAST_OUTLINE = 12  # points of an outline that is no speck
EVEN = 1.5  # standard deviation of the blur that takes a texture away, in pixels
EDGE = 2  # pixels along a shape's outline that count as its edge, not as its texture
LEAST_FILLED = 12  # pixels of a shape with an inside


def stroke_width(images: Images, progress: str | None = None) -> np.ndarray:
    """Mean width of the strokes: ink over the length of their skeleton.

    Args:
      images: (n, H, W, C) in [-1, 1], bright on dark or dark on bright.
      progress: label of a bar; None: no bar.

    Returns:
      Widths in pixels (n,), NaN where an image is blank.
    """
    return _measured(_width, images, progress)


def bending(images: Images, progress: str | None = None) -> np.ndarray:
    """Bending energy of the outlines, 1 for a circle of any size, more with corners.

    The mean squared curvature of an outline, times the square of its length over 2 pi;
    the mean over an image's outlines, weighted by their lengths.

    Args:
      images, progress: as in ``stroke_width``.

    Returns:
      Energies (n,), NaN where an image is blank.
    """
    return _measured(_bending, images, progress)


def texture(images: Images, progress: str | None = None) -> np.ndarray:
    """Unevenness of filled shapes: deviation of their inside from what a blur leaves.

    Root of the mean square over the inside, as a share of its mean brightness.

    Args:
      images, progress: as in ``stroke_width``.

    Returns:
      Shares (n,) >= 0, 0 for an even shape; NaN where nothing has an inside.
    """
    return _measured(_texture, images, progress)


def _measured(measure, images: Images, progress: str | None) -> np.ndarray:
    bar = tqdm(_ink(images), desc=progress, disable=progress is None)
    return np.array([np.nan if ink is None else measure(ink) for ink in bar])


def _ink(images: Images) -> list[np.ndarray | None]:
    """Difference from the background, (H, W) in [0, 1]; None for blank images."""
    bright = (np.asarray(images, np.float32).max(axis=-1) + 1.0) / 2.0
    border = [bright[:, 0], bright[:, -1], bright[:, :, 0], bright[:, :, -1]]
    ground = np.median(np.concatenate(border, axis=1), axis=1)
    ink = np.abs(bright - ground[:, None, None])
    result: list[np.ndarray | None] = []
    for each in ink:
        most = np.quantile(each, 0.99)
        blank = most < LEAST_INK
        result.append(None if blank else np.asarray(each / most).clip(0.0, 1.0))
    return result


def _finer(ink: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    finer = ndimage.zoom(ink, FINER, order=1, grid_mode=True, mode="nearest")
    return np.asarray(finer)


def _width(ink: np.ndarray) -> float:
    from skimage.morphology import skeletonize

    skeleton = skeletonize(_finer(ink) > 0.5)
    straight = (skeleton[1:] & skeleton[:-1]).sum()
    straight += (skeleton[:, 1:] & skeleton[:, :-1]).sum()
    slanted = (skeleton[1:, 1:] & skeleton[:-1, :-1]).sum()
    slanted += (skeleton[1:, :-1] & skeleton[:-1, 1:]).sum()
    # a slanted step beside two straight ones is a corner, which these count already
    corners = _corners(skeleton)
    length = (straight + np.sqrt(2.0) * max(slanted - corners, 0)) / FINER
    return float(ink.sum() / length) if length > 0 else np.nan


def _corners(skeleton: np.ndarray) -> int:
    """Number of squares of four pixels of which three are in the skeleton."""
    whole = skeleton.astype(int)
    four = whole[1:, 1:] + whole[:-1, 1:] + whole[1:, :-1] + whole[:-1, :-1]
    return int((four == 3).sum())


def _bending(ink: np.ndarray) -> float:
    from skimage.measure import find_contours

    outlines = find_contours(np.pad(_finer(ink), 2), 0.5)
    found = [_energy(x / FINER) for x in outlines if len(x) >= LEAST_OUTLINE * FINER]
    if not found:
        return np.nan
    energies, lengths = np.array(found).T
    return float(np.average(energies, weights=lengths))


def _energy(outline: np.ndarray) -> tuple[float, float]:
    """Bending energy of a closed outline (m, 2) and its length."""
    from scipy import ndimage

    steps = np.linalg.norm(np.diff(outline, axis=0), axis=1)
    place = np.r_[0.0, np.cumsum(steps)]
    length = place[-1]
    count = max(16, round(length * FINER))
    grid = np.linspace(0.0, length, count, endpoint=False)
    points = np.stack([np.interp(grid, place, x) for x in outline.T], axis=1)
    spread = SMOOTHING * count / length
    smooth = ndimage.gaussian_filter1d(points, spread, axis=0, mode="wrap")
    tangent = np.roll(smooth, -1, axis=0) - smooth
    angle = np.arctan2(tangent[:, 1], tangent[:, 0])
    turn = np.angle(np.exp(1j * (np.roll(angle, -1) - angle)))
    each = np.linalg.norm(tangent, axis=1)
    curvature = turn / np.maximum(each, 1e-6)
    whole = each.sum()
    energy = (curvature**2 * each).sum() / whole * (whole / (2 * np.pi)) ** 2
    return float(energy), float(length)


def _texture(ink: np.ndarray) -> float:
    from scipy import ndimage

    ink = np.pad(ink, EDGE)
    shape = ndimage.binary_closing(ink > LEAST_INK, iterations=EDGE)
    inside = np.asarray(ndimage.binary_erosion(shape, iterations=EDGE), bool)
    if inside.sum() < LEAST_FILLED:
        return np.nan
    blurred = np.asarray(ndimage.gaussian_filter(np.where(shape, ink, 0.0), EVEN))
    share = np.asarray(ndimage.gaussian_filter(shape.astype(float), EVEN))
    fine = ink[inside] - blurred[inside] / share[inside]
    return float(np.sqrt(np.square(fine).mean()) / ink[inside].mean())
