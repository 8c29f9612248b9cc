"""A user's own images: a folder of picture files and a CSV of attributes."""

import collections
import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import sys
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from iin_jax.data.attributes import composed, encode_columns, read_table, some
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
from iin_jax.files.array_files import ArrayFile
from iin_jax.files.digests import text_digest
from iin_jax.files.paths import local_path
from iin_jax.files.whole import write_text

CITATION = "your own images"
VERSION = 3  # version of ``read_picture``; caches of other versions are stale
CHANNELS = 3
Outcomes = Generator[Picture | str, None, None]


@dataclasses.dataclass(frozen=True)
class Decoded:
    """Decoded images of a list of files.

    Attributes:
      images: images of the readable files, in their order, uint8 (n, H, W, 3).
      faults: file -> why it cannot be read.
      conversions: kind of conversion -> number of converted images.
      kept: cached folder, whose ``report.json`` lists all faults.
    """

    images: np.ndarray | StoredImages
    faults: dict[str, str]
    conversions: dict[str, int]
    kept: Path


def folder(options: SourceOptions) -> Dataset:
    """Loads the images of a folder and its subfolders for which a CSV has a row.

    Every image becomes an RGB square by a centre crop. The other columns of the CSV are
    attributes: see ``attributes.encode_columns``.

    Args:
      options: options of the source, of which ``root`` and ``attributes`` are needed.

    Raises:
      ValueError: a missing folder or CSV, a CSV that cannot be used, rows without their
        image, more unreadable images than allowed, or no attribute with two values.
    """
    if options.root is None or options.attributes is None:
        raise ValueError(
            "images of your own need their folder and a CSV of attributes: give "
            "--data.root FOLDER --data.attributes FILE.csv"
        )
    root = local_path(options.root)
    files = find_pictures(root)
    csv = local_path(options.attributes)
    table, notes = read_table(csv, options.image_column)
    table = dataclasses.replace(table, images=_as_on_disk(table.images, files))
    _check_all_there(table.images, files, root)
    surplus = len(files) - len(table)
    if surplus:
        notes.append(f"{surplus:,} images without a row in {csv.name} were left out")
    decoded = decode(root, table.images, options)
    notes += _reading_notes(decoded, len(table), options)
    attributes = encode_columns(table.without(decoded.faults), options.classes)
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
    """Paths of all picture files in a folder, relative to it, with ``/``, sorted.

    Hidden files are left out; links to folders are followed.

    Raises:
      ValueError: a missing folder, or a folder without pictures.
    """
    if not root.is_dir():
        raise ValueError(f"there is no folder {root}; give the images' by --data.root")
    files = sorted(
        path.relative_to(root).as_posix()
        for path in _files(root)
        if path.suffix.lower() in SUFFIXES
    )
    if not files:
        raise ValueError(f"{root} holds no images ({', '.join(SUFFIXES)})")
    return files


def decode(root: Path, files: Sequence[str], options: SourceOptions) -> Decoded:
    """Decodes all files once, and caches the images if they fit ``max_memory``.

    The result stays in the user's cache folder until a file's size or date changes.
    Without cached images, files are decoded again at every use.

    Args:
      root: folder of the files.
      files: paths relative to ``root``.
      options: options of the source, for ``image_size`` and ``max_memory``.

    Raises:
      ValueError: no file can be read, or the cache folder cannot be written.
    """
    size = options.image_size
    fits_memory = len(files) * size * size * CHANNELS <= options.max_memory
    stamp = _stamp(root, files, size)
    shape = (len(files), size, size, CHANNELS)
    kept, report, images = cached(
        f"folder-{stamp[:32]}-{'images' if fits_memory else 'checked'}",
        functools.partial(
            _decode_into, root=root, files=files, size=size, keep=fits_memory
        ),
        functools.partial(_load, shape=shape if fits_memory else None),
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
    """Reader of the files that were readable when they were checked."""

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
    """Files of a folder and its subfolders, hidden ones left out."""
    here = folder.resolve()
    if here in above:  # a link to one of its own parent folders
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _files(folder / entry.name, (*above, here))
            else:
                yield folder / entry.name


def _as_on_disk(rows: Sequence[str], files: Sequence[str]) -> tuple[str, ...]:
    """Names of rows in the Unicode form that the files have.

    Systems write accents composed or decomposed; both look alike. ``read_table``
    composes.
    """
    on_disk = {composed(file): file for file in files}
    return tuple(on_disk.get(row, row) for row in rows)


def _check_all_there(rows: Sequence[str], files: Sequence[str], root: Path) -> None:
    """Raises ValueError unless every image that a row names is among the files."""
    missing = sorted(set(rows) - set(files))
    unsupported = [
        name
        for name in missing
        if Path(name).suffix.lower() not in SUFFIXES and os.path.isfile(root / name)
    ]
    if unsupported:
        raise ValueError(
            f"{len(unsupported):,} of {len(rows):,} rows name files with an "
            f"unsupported suffix: {some(unsupported)}; pictures are "
            f"{', '.join(SUFFIXES)}"
        )
    if missing:
        raise ValueError(
            f"{len(missing):,} of {len(rows):,} rows name images that are not in "
            f"{root}: {some(missing)}; paths are relative to that folder"
        )


def _reading_notes(
    decoded: Decoded, count: int, options: SourceOptions
) -> Iterator[str]:
    """Notes on unreadable and converted images.

    Raises:
      ValueError: more images than the allowed share are unreadable.
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
    """The first faulty files with the reasons why they cannot be read."""
    return some([f"{file} ({reason})" for file, reason in faults.items()])


def _stamp(root: Path, files: Sequence[str], size: int) -> str:
    """SHA-256 of the files' paths, sizes and dates, and of the preprocessing."""
    entries = [f"{VERSION};{size};{root.resolve()}"]
    for file in files:
        status = (root / file).stat()
        entries.append(f"{file};{status.st_size};{status.st_mtime_ns}")
    return text_digest(entries)


def _load(
    kept: Path, shape: tuple[int, ...] | None
) -> tuple[Path, dict[str, Any], np.ndarray | None]:
    """The cached folder, its report, and its images if their shape is given."""
    report = load_json(kept, "report", ("faults", "conversions", "pixels"))
    if shape is None:
        return kept, report, None
    return kept, report, load_array(kept, "images", shape, np.uint8)


def _decode_into(
    target: Path, root: Path, files: Sequence[str], size: int, keep: bool
) -> None:
    """Decodes all files; writes ``report.json``, and ``images.npy`` if ``keep``."""
    faults: dict[str, str] = {}
    conversions: collections.Counter[str] = collections.Counter()
    sizes: collections.Counter[tuple[int, int]] = collections.Counter()
    pixels = hashlib.sha256()  # equal to that in ``Dataset.digest`` of an array
    shape = (len(files), size, size, CHANNELS)
    written = 0
    with contextlib.ExitStack() as stack:
        images = None
        if keep:
            new = ArrayFile(target / "images.npy", shape, np.uint8)
            images = stack.enter_context(new)
        # closed, the bar ends before an error is printed
        outcomes = stack.enter_context(contextlib.closing(_outcomes(root, files, size)))
        for file, outcome in zip(files, outcomes, strict=True):
            if isinstance(outcome, str):
                faults[file] = outcome
                continue
            conversions.update(outcome.conversions)
            sizes[outcome.size] += 1
            pixels.update(outcome.pixels.data)
            if images is not None:
                images[written] = outcome.pixels
            written += 1
    if len(sizes) > 1:
        (width, height), most = sizes.most_common(1)[0]
        conversions[f"resized from other sizes than {width}x{height}"] = written - most
    report = {
        "faults": faults,
        "conversions": conversions,
        "pixels": pixels.hexdigest(),
    }
    write_text(target / "report.json", json.dumps(report, indent=2))


def _outcomes(root: Path, files: Sequence[str], size: int) -> Outcomes:
    """For every file its picture, or why it cannot be read; decoded in threads."""

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
