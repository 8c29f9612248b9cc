"""Decoding of a picture file to a square RGB image."""

import dataclasses
import errno
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from iin_jax.files.paths import not_regular, stand_in, starting_bytes

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
# Pillow's names of these, whatever the suffix; for others it may start programs
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
NARROW = (8, 10, 12)  # bits that grey levels stored in 16 bits often have
MAX_PIXELS = 89_478_485  # Pillow's limit, above which it suspects an attack
TRANSPARENT = "white"  # background of transparent pictures
FAULTS = (  # errors that Pillow raises for damaged files
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
# Error numbers of a damaged picture: Pillow's own errors have none, and a seek outside
# the file is invalid. Any other number means that the system failed, not the picture.
PICTURE_ERRNOS = (None, errno.EINVAL)
ROTATED = "rotated as its EXIF says"


class UnreadablePictureError(ValueError):
    """A file that is not a picture, is damaged, or has too many pixels to decode."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A decoded picture file.

    Attributes:
      pixels: RGB pixels, uint8 (size, size, 3).
      size: width and height of the file's picture, in pixels.
      conversions: names of the conversions beside the resize.
    """

    pixels: np.ndarray
    size: tuple[int, int]
    conversions: tuple[str, ...]


def read_picture(path: str | os.PathLike, size: int) -> Picture:
    """Decodes a file to an upright RGB square, by a centre crop and a bilinear resize.

    An animation gives its first frame. Grey levels of 16 bit are scaled to 8 bit, and
    transparent pixels are laid on white. Only regular files of ``FORMATS`` are opened.

    Args:
      path: path of the file.
      size: H = W of the result, in pixels.

    Raises:
      UnreadablePictureError: a file that is not a picture, is damaged, too large, or
        has pixels without a stated range.
      OSError: a file that the system cannot read, whatever its content.
    """
    other = not_regular(Path(path))
    if other:
        raise UnreadablePictureError(f"{other}, no file")
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise UnreadablePictureError(
                    f"{width}x{height} pixels are more than {MAX_PIXELS:,}"
                )
            image.draft(None, (2 * size, 2 * size))  # JPEG: decodes a smaller version
            upright, conversions = _upright(image)
            rgb, conversion = _to_rgb(upright)
            if width != height:
                conversions.append("cropped to its central square")
            pixels = np.asarray(fit_square(rgb, size))
            return Picture(pixels, (width, height), (*conversions, *conversion))
    except UnreadablePictureError:
        raise
    except FAULTS as error:
        if isinstance(error, OSError) and error.errno not in PICTURE_ERRNOS:
            error.filename = error.filename or os.fspath(path)
            raise
        reason = str(error).partition("\n")[0] or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = _other_content(Path(path)) or reason
        raise UnreadablePictureError(reason) from error


def _other_content(path: Path) -> str | None:
    return stand_in(starting_bytes(path)) if path.exists() else None


def fit_square(image: Image.Image, size: int, crop: int | None = None) -> Image.Image:
    """Centre crop to a square and bilinear resize, antialiased where it shrinks.

    Args:
      image: an image of any mode that Pillow can resize.
      size: H = W of the result, in pixels.
      crop: largest side of the square, in pixels; None: the image's shorter side.
    """
    width, height = image.size
    side = min(crop or width, width, height)
    left, top = (width - side) // 2, (height - side) // 2
    # a separate crop, since resize(box=) would mix in pixels from outside the box
    square = image.crop((left, top, left + side, top + side))
    return square.resize((size, size), Image.Resampling.BILINEAR)


def _upright(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """The image turned as its EXIF orientation says, with the conversion's name."""
    if image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9):
        return ImageOps.exif_transpose(image), [ROTATED]
    return image, []


def _to_rgb(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """The image as RGB, 16 bit scaled where Pillow would clip, and the conversion."""
    mode = image.mode
    if mode == "RGB" and "transparency" not in image.info:
        return image, []
    if mode.startswith("I;16") or mode == "I":
        grey, conversion = _from_wide(image)
        return grey.convert("RGB"), [conversion]
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


def _from_wide(image: Image.Image) -> tuple[Image.Image, str]:
    """16-bit grey, 0..65535, as 8-bit grey, and the conversion.

    Whether a dark picture has a smaller range or shows something dark, it does not say;
    scaled one by one, pictures would no longer compare.
    """
    values = np.asarray(image)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise UnreadablePictureError("32-bit pixels have no stated range")
    bits = next((bits for bits in NARROW if 0 < high < 2**bits), None)
    conversion = "16-bit grey"
    if bits is not None:
        conversion += (
            f" that uses {bits} bits of 16 alone and comes out dark, with few levels "
            f"left (if that is its range, save it times {2 ** (16 - bits)})"
        )
    levels = np.round(np.arange(65536) / 257.0).astype(np.uint8)
    return Image.fromarray(levels[values]), conversion
