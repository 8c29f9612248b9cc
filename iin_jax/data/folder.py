"""Your own images: a folder of picture files and a CSV of attributes."""

import collections
import dataclasses
import functools
import hashlib
import json
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from PIL import Image
from tqdm import tqdm

from iin_jax.data.attributes import encode_columns, read_table, some
from iin_jax.data.dataset import (
    Dataset,
    SourceOptions,
    StoredImages,
    decoder_threads,
)
from iin_jax.data.decoded import cached, load_array, load_json
from iin_jax.data.pictures import (
    SUFFIXES,
    Picture,
    UnreadablePictureError,
    read_picture,
)
from iin_jax.files.digests import text_digest

CITATION = "your own images"
VERSION = 2  # version of ``read_picture``; other caches are stale
CHANNELS = 3


@dataclasses.dataclass(frozen=True)
class Decoded:
    """What decoding of all files gave.

    Attributes:
      images: of the readable files, in their order.
      faults: file -> why it cannot be read.
      conversions: what was changed -> number of images.
      kept: folder of what is kept; ``report.json`` in it names all faults.
    """

    images: np.ndarray | StoredImages
    faults: dict[str, str]
    conversions: dict[str, int]
    kept: Path


def folder(options: SourceOptions) -> Dataset:
    """Images of a folder and its subfolders that a CSV has a row for.

    All become RGB squares by a centre crop. Columns of the CSV are attributes: see
    ``attributes.encode_columns``.

    Args:
      options: ``root`` and ``attributes`` are needed.

    Raises:
      ValueError: no folder or CSV, a CSV that cannot be used, rows without their image,
        more unreadable images than allowed, or no attribute with two values.
    """
    if options.root is None or options.attributes is None:
        raise ValueError(
            "images of your own need their folder and a CSV of attributes: give "
            "--data.root FOLDER --data.attributes FILE.csv"
        )
    root = Path(options.root).expanduser()
    found = find_pictures(root)
    csv = Path(options.attributes).expanduser()
    table, notes = read_table(csv, options.image_column)
    _check_all_there(table.images, found, root)
    surplus = len(found) - len(table)
    if surplus:
        notes.append(f"{surplus:,} images without a row in {csv.name} were left out")
    decoded = decode(root, table.images, options)
    notes += _reading_notes(decoded, len(table), options)
    attributes = encode_columns(table.without(decoded.faults))
    return Dataset(
        "folder",
        decoded.images,
        attributes.labels,
        attributes.classes,
        CITATION,
        notes=(*notes, *attributes.notes),
        unreadable=decoded.faults,
    )


def find_pictures(root: Path) -> list[str]:
    """Paths of all picture files relative to a folder, with ``/``; none hidden.

    Linked folders are looked through as well.

    Raises:
      ValueError: no such folder, or no pictures in it.
    """
    if not root.is_dir():
        raise ValueError(f"there is no folder {root}; give the images' by --data.root")
    found = sorted(
        path.relative_to(root).as_posix()
        for path in _files(root)
        if path.suffix.lower() in SUFFIXES
    )
    if not found:
        raise ValueError(f"{root} holds no images ({', '.join(SUFFIXES)})")
    return found


def decode(root: Path, files: Sequence[str], options: SourceOptions) -> Decoded:
    """Decodes all files once; keeps the images themselves if they are few enough.

    The result is kept in the user's cache folder until a file's size or date changes.

    Raises:
      ValueError: no file can be read, or the cache folder cannot be written.
    """
    size = options.image_size
    small = len(files) * size * size * CHANNELS <= options.max_memory
    stamp = _stamp(root, files, size)
    shape = (len(files), size, size, CHANNELS)
    kept, report, images = cached(
        f"folder-{stamp[:32]}-{'images' if small else 'checked'}",
        functools.partial(_decode_into, root=root, files=files, size=size, keep=small),
        functools.partial(_load, shape=shape if small else None),
    )
    readable = [file for file in files if file not in report["faults"]]
    if not readable:
        raise ValueError(
            f"none of the {len(files):,} images in {root} can be read: "
            f"{_reasons(report['faults'])}"
        )
    if images is not None:
        images = images[: len(readable)]
    else:
        read = _PictureReader(root, tuple(readable), size)
        images = StoredImages((len(readable), *shape[1:]), read, report["pixels"])
    return Decoded(images, report["faults"], report["conversions"], kept)


@dataclasses.dataclass(frozen=True)
class _PictureReader:
    """Index -> pixels of a file that was readable before."""

    root: Path
    files: tuple[str, ...]
    size: int

    def __call__(self, index: int) -> np.ndarray:
        file = self.files[index]
        try:
            return read_picture(self.root / file, self.size).pixels
        except (UnreadablePictureError, FileNotFoundError) as error:
            raise ValueError(
                f"{self.root / file} can no longer be read: {error}; start again to "
                "leave it out"
            ) from error


def _files(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    here = folder.resolve()
    if here in above:  # a link to a folder that it lies in
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _files(folder / entry.name, (*above, here))
            else:
                yield folder / entry.name


def _check_all_there(rows: Sequence[str], found: Sequence[str], root: Path) -> None:
    missing = sorted(set(rows) - set(found))
    other = [
        name
        for name in missing
        if Path(name).suffix.lower() not in SUFFIXES and (root / name).is_file()
    ]
    if other:
        raise ValueError(
            f"{len(other):,} of {len(rows):,} rows name files with an unsupported "
            f"suffix: {some(other)}; pictures are {', '.join(SUFFIXES)}"
        )
    if missing:
        raise ValueError(
            f"{len(missing):,} of {len(rows):,} rows name images that are not in "
            f"{root}: {some(missing)}; paths are relative to that folder"
        )


def _reading_notes(
    decoded: Decoded, count: int, options: SourceOptions
) -> Iterator[str]:
    """What was converted, and what is unreadable.

    Raises:
      ValueError: more than the allowed share is unreadable.
    """
    faults = decoded.faults
    if len(faults) > options.max_unreadable * count:
        raise ValueError(
            f"{len(faults):,} of {count:,} images cannot be read, more than the share "
            f"of {options.max_unreadable:g} that --data.max-unreadable allows: "
            f"{_reasons(faults)}; all are in {decoded.kept / 'report.json'}"
        )
    if faults:
        yield (
            f"{len(faults):,} images that cannot be read were left out: "
            f"{_reasons(faults)}"
        )
    for conversion, number in sorted(decoded.conversions.items()):
        yield f"{number:,} images were converted: {conversion}"


def _reasons(faults: Mapping[str, str]) -> str:
    return some([f"{file} ({reason})" for file, reason in faults.items()])


def _stamp(root: Path, files: Sequence[str], size: int) -> str:
    """Tells whether files are those that were decoded: paths, sizes and dates."""
    entries = [f"{VERSION};{size};{root.resolve()}"]
    for file in files:
        status = (root / file).stat()
        entries.append(f"{file};{status.st_size};{status.st_mtime_ns}")
    return text_digest(entries)


def _load(
    kept: Path, shape: tuple[int, ...] | None
) -> tuple[Path, dict[str, Any], np.ndarray | None]:
    """What ``_decode_into`` wrote: where, the report, and the images if wanted."""
    report = load_json(kept, "report", ("faults", "conversions", "pixels"))
    if shape is None:
        return kept, report, None
    return kept, report, load_array(kept, "images", shape, np.uint8)


def _decode_into(
    target: Path, root: Path, files: Sequence[str], size: int, keep: bool
) -> None:
    """Decodes all files; writes the images, if wanted, and what was found."""
    faults: dict[str, str] = {}
    conversions: collections.Counter[str] = collections.Counter()
    sizes: collections.Counter[tuple[int, int]] = collections.Counter()
    pixels = hashlib.sha256()  # as ``Dataset.digest`` has it of an array
    images = None
    if keep:
        shape = (len(files), size, size, CHANNELS)
        images = open_memmap(target / "images.npy", "w+", np.uint8, shape)
    written = 0
    for file, outcome in zip(files, _outcomes(root, files, size), strict=True):
        if isinstance(outcome, str):
            faults[file] = outcome
            continue
        conversions.update(outcome.conversions)
        sizes[outcome.size] += 1
        pixels.update(outcome.pixels.data)
        if images is not None:
            images[written] = outcome.pixels
        written += 1
    if images is not None:
        images.flush()
    if len(sizes) > 1:
        (width, height), most = sizes.most_common(1)[0]
        conversions[f"resized from other sizes than {width}x{height}"] = written - most
    report = {
        "faults": faults,
        "conversions": conversions,
        "pixels": pixels.hexdigest(),
    }
    (target / "report.json").write_text(json.dumps(report, indent=2))


def _outcomes(root: Path, files: Sequence[str], size: int) -> Iterator[Picture | str]:
    """A picture per file, or why it cannot be read; decoded in threads."""

    def attempt(file: str) -> Picture | str:
        try:
            return read_picture(root / file, size)
        except UnreadablePictureError as error:
            return str(error)

    quiet = not sys.stderr.isatty()
    with ThreadPoolExecutor(decoder_threads()) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        for start in tqdm(
            range(0, len(files), 1024), desc="decode", disable=quiet, leave=False
        ):
            yield from pool.map(attempt, files[start : start + 1024])
