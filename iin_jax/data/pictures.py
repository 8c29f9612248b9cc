"""One picture file of any kind -> one square RGB image."""

import dataclasses
import errno
import os
import struct
import zlib

import numpy as np
from PIL import ExifTags, Image, ImageOps

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
MAX_PIXELS = 89_478_485  # Pillow's own limit; more counts as a decompression bomb
TRANSPARENT = "white"  # what shows through a transparent picture
FAULTS = (  # Pillow's errors at damaged files
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
OF_THE_PICTURE = (None, errno.EINVAL)  # Pillow's own; a seek to nowhere
ROTATED = "rotated as its EXIF says"


class UnreadablePictureError(ValueError):
    """A file is no picture, is damaged, or is too large to be decoded."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A decoded file.

    Attributes:
      pixels: uint8 (size, size, 3).
      size: width and height in the file.
      conversions: what was changed beside the size, in words.
    """

    pixels: np.ndarray
    size: tuple[int, int]
    conversions: tuple[str, ...]


def read_picture(path: str | os.PathLike, size: int) -> Picture:
    """Decodes a file: upright, RGB, centre crop to a square, bilinear resize.

    Of an animation the first frame is taken; 16-bit grey is scaled to 8 bit;
    transparent pixels show white.

    Args:
      path: of the file.
      size: H = W of the result.

    Raises:
      UnreadablePictureError: what is wrong with the file.
      OSError: the system could not read it, which says nothing of the picture.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise UnreadablePictureError(
                    f"{width}x{height} pixels are more than {MAX_PIXELS:,}"
                )
            image.draft(None, (2 * size, 2 * size))  # JPEG: decode no more than needed
            upright, conversions = _upright(image)
            rgb, conversion = _to_rgb(upright)
            if width != height:
                conversions.append("cropped to its central square")
            pixels = np.asarray(fit_square(rgb, size))
            return Picture(pixels, (width, height), (*conversions, *conversion))
    except UnreadablePictureError:
        raise
    except FAULTS as error:
        if isinstance(error, OSError) and error.errno not in OF_THE_PICTURE:
            error.filename = error.filename or os.fspath(path)
            raise
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UnreadablePictureError(reason) from error


def fit_square(image: Image.Image, size: int, crop: int | None = None) -> Image.Image:
    """Centre crop to a square, then bilinear resize (smoothed if it shrinks).

    Args:
      image: of any mode that can be resized.
      size: H = W of the result.
      crop: side of the square; None: the shorter side of the image.
    """
    width, height = image.size
    side = min(crop or width, width, height)
    left, top = (width - side) // 2, (height - side) // 2
    # cropped first: resize(box=) would smooth in pixels from outside the box
    square = image.crop((left, top, left + side, top + side))
    return square.resize((size, size), Image.Resampling.BILINEAR)


def _upright(image: Image.Image) -> tuple[Image.Image, list[str]]:
    if image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9):
        return ImageOps.exif_transpose(image), [ROTATED]
    return image, []


def _to_rgb(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """RGB, and what was converted; Pillow alone would clip 16 bit at 255."""
    mode = image.mode
    if mode == "RGB" and "transparency" not in image.info:
        return image, []
    if mode.startswith("I;16") or mode == "I":
        return _from_wide(image).convert("RGB"), ["16-bit grey"]
    if mode == "F":
        raise UnreadablePictureError("floating-point pixels have no stated range")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, TRANSPARENT)
        return Image.alpha_composite(ground, layer).convert("RGB"), [
            f"transparent, laid on {TRANSPARENT}"
        ]
    kinds = {"1": "black and white", "L": "grey", "P": "palette"}
    return image.convert("RGB"), [kinds.get(mode, mode)]


def _from_wide(image: Image.Image) -> Image.Image:
    """16-bit grey, 0..65535, as 8-bit grey."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise UnreadablePictureError("32-bit pixels have no stated range")
    return Image.fromarray(np.round(values / 257.0).astype(np.uint8))
