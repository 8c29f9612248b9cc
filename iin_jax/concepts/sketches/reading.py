"""Sketches as people have them: files or arrays of any size, mode and polarity."""

import os
from typing import Any

import numpy as np
from PIL import Image

from iin_jax.concepts.sketches.ink import background
from iin_jax.data.pictures import UnreadablePictureError, read_picture
from iin_jax.files.paths import local_path

LEAST_RANGE = 0.05  # smallest range of values in [-1, 1] that is not a blank sketch
DRAWN_AT = 512  # pixels of a sketch file's side before it is brought to the images'
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # weights of R, G, B, ITU-R BT.601


def read_sketch(
    sketch: Any, shape: tuple[int, int, int], ground: np.ndarray, name: str
) -> tuple[np.ndarray, list[str]]:
    """A sketch in the form of the images, and what was converted.

    It is cut to its central square, resized, and turned into its negative where that
    brings its background nearer to the images'.

    Args:
      sketch: a picture file, or an array (h, w), (h, w, 1), (h, w, 3) or (h, w, 4):
        integers or truth values 0..255, or numbers in [0, 1] or, if one is negative, in
        [-1, 1].
      shape: (H, W, C) of the images.
      ground: (C,), background of the images, in [-1, 1].
      name: the argument, for messages.

    Returns:
      The sketch (H, W, C) in [-1, 1], and lines on its conversions.

    Raises:
      ValueError: what is no picture, values of another range, or a blank sketch.
      OSError: the file cannot be read.
    """
    height, width, channels = shape
    if isinstance(sketch, str | os.PathLike):
        pixels, notes = _of_file(sketch, name)
    else:
        pixels, notes = _of_array(sketch, name)
    side = min(pixels.shape[:2])
    top, left = ((n - side) // 2 for n in pixels.shape[:2])
    if pixels.shape[0] != pixels.shape[1]:
        notes.append("cut to its central square")
    pixels = pixels[top : top + side, left : left + side]
    if side != height or height != width:
        notes.append(f"resized from {side} to {height}x{width} pixels")
    result = _resized(pixels, height, width)
    if channels == 1:
        if np.ptp(result, axis=-1).max() > 0.02:
            notes.append("colours as grey")
        result = (result @ LUMA)[..., None]
    if np.ptp(result) < LEAST_RANGE:
        raise ValueError(f"{name} is blank: all of its pixels are alike")
    here = np.asarray(background(result))
    if np.abs(-here - ground).sum() < np.abs(here - ground).sum():
        notes.append("its negative, since its background is unlike the images'")
        result = -result
    return result.astype(np.float32), [f"{name}: {note}" for note in notes]


def _of_file(path: str | os.PathLike, name: str) -> tuple[np.ndarray, list[str]]:
    """Pixels (512, 512, 3) in [-1, 1] of a picture file."""
    try:
        picture = read_picture(local_path(path), DRAWN_AT)
    except FileNotFoundError:
        raise FileNotFoundError(f"{name}: there is no file {os.fspath(path)}") from None
    except UnreadablePictureError as error:
        raise ValueError(f"{name}: {os.fspath(path)} is no picture: {error}") from None
    return picture.pixels / 127.5 - 1.0, list(picture.conversions)


def _of_array(sketch: Any, name: str) -> tuple[np.ndarray, list[str]]:
    """Pixels (h, w, 3) in [-1, 1] of an array."""
    try:
        array = np.asarray(sketch)
    except (TypeError, ValueError, RuntimeError):
        array = np.asarray(None)
    if array.ndim == 2:
        array = array[..., None]
    known = array.ndim == 3 and array.shape[-1] in (1, 3, 4) and array.size
    if not known or array.dtype.kind not in "buif":
        raise ValueError(
            f"{name} is a picture file or an array of (h, w), (h, w, 1), (h, w, 3) or "
            f"(h, w, 4) numbers; got {_brief(sketch, array)}"
        )
    unit, notes = _unit(array, name)
    if array.shape[-1] == 4:
        alpha = unit[..., 3:]
        unit = unit[..., :3] * alpha + 1.0 - alpha
        notes.append("transparent, laid on white")
    return np.broadcast_to(2.0 * unit - 1.0, (*unit.shape[:2], 3)), notes


def _unit(array: np.ndarray, name: str) -> tuple[np.ndarray, list[str]]:
    """Values in [0, 1], and the range that they were taken to have."""
    values = array.astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds NaN or infinite values")
    low, high = float(values.min()), float(values.max())
    if array.dtype.kind == "b":
        return values, []
    if array.dtype.kind in "ui" and low >= 0 and high <= 255:
        return values / 255.0, []
    if array.dtype.kind == "f" and low >= -1.0 and high <= 1.0:
        if low < 0.0:
            return (values + 1.0) / 2.0, []
        return values, ["no negative value, so taken as in [0, 1]"]
    raise ValueError(
        f"{name} has values from {low:g} to {high:g}; integers are 0..255, others in "
        "[0, 1] or [-1, 1]"
    )


def _resized(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixels (s, s, 3) as (H, W, 3), antialiased where they shrink."""
    size = (width, height)
    planes = [
        Image.fromarray(np.ascontiguousarray(pixels[..., k], np.float32)).resize(
            size, Image.Resampling.BILINEAR
        )
        for k in range(3)
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


def _brief(sketch: Any, array: np.ndarray) -> str:
    if array.dtype.kind in "buif" and array.ndim:
        return f"shape {array.shape}"
    return type(sketch).__name__
