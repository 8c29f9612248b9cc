"""Prepared sets of TensorFlow Datasets (TFDS): opening, reading, and clear errors."""

import contextlib
import dataclasses
import importlib.util
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.json_format import ParseError

from iin_jax.files.faults import raise_system_fault
from iin_jax.files.paths import local_path

Example = Mapping[str, Any]
# what TFDS raises where a set's description or records are damaged
UNREADABLE = (
    ParseError,
    AssertionError,
    LookupError,
    RuntimeError,
    ValueError,
    OSError,
)


@dataclasses.dataclass(frozen=True)
class Records:
    """Examples of the parts of a set, numbered through all parts.

    Attributes:
      name: name of the set.
      root: folder of prepared sets, for messages.
      sources: data source of each part, as TFDS returns it.
      ends: number of examples up to the end of each part.
    """

    name: str
    root: Path
    sources: tuple[Any, ...]
    ends: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of examples in all parts."""
        return self.ends[-1]

    def parts(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Part -> indices of its examples, for the names of the parts in order."""
        starts = (0, *self.ends)
        return {
            name: np.arange(start, end)
            for name, start, end in zip(names, starts, self.ends, strict=False)
        }

    def read(self, indices: Sequence[int]) -> list[Example]:
        """Examples at the given indices, in their order.

        Raises:
          ValueError: the files are damaged.
        """
        part_of = np.searchsorted(self.ends, indices, side="right")
        starts = (0, *self.ends)
        result: list[Example] = [{}] * len(indices)
        for part, source in enumerate(self.sources):
            positions = np.flatnonzero(part_of == part).tolist()
            keys = [int(indices[i]) - starts[part] for i in positions]
            try:
                examples = source.__getitems__(keys)
            except (RuntimeError, OSError) as error:
                raise_system_fault(error, self.root / self.name)
                raise ValueError(_damaged(self.name, self.root, error)) from error
            for i, example in zip(positions, examples, strict=True):
                result[i] = example
        return result


def tfds_root(root: str | None) -> Path:
    """Folder of prepared sets: the given one, ``$TFDS_DATA_DIR``, or TFDS's default."""
    path = root or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return local_path(path)


@contextlib.contextmanager
def quiet_tfds() -> Iterator[None]:
    """Silences the warnings of TFDS, in place of which this package has errors."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def open_builder(name: str, root: Path, download: bool) -> Any:
    """TFDS's builder of a set.

    Args:
      name: name of the set in TFDS.
      root: folder of prepared sets.
      download: whether a set that is not prepared is downloaded and prepared.

    Raises:
      ValueError: the set's files are damaged, or, for a download, TensorFlow is missing
        or the download fails.
    """
    tfds = _tfds()
    try:
        builder = tfds.builder(name, data_dir=os.fspath(root))
    except UNREADABLE as error:
        raise_system_fault(error, root / name)
        raise ValueError(_damaged(name, root, error)) from error
    if download and not builder.is_prepared():
        _download(builder, name)
    return builder


def _download(builder: Any, name: str) -> None:
    """Downloads and prepares a set, or raises ValueError with the reason."""
    missing = [
        module
        for module in ("tensorflow", "importlib_resources")
        if importlib.util.find_spec(module) is None
    ]
    if missing:
        raise ValueError(
            f"preparing {name} needs {' and '.join(missing)}: pip install -e "
            "'.[prepare]' (reading it afterwards does not)"
        )
    download = _tfds().core.download
    failures = (
        download.util.DownloadError,
        download.download_manager.NonMatchingChecksumError,
        download.extractor.ExtractError,
        OSError,
        RuntimeError,
        ValueError,
    )
    try:
        builder.download_and_prepare(file_format="array_record")
    except failures as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{name} could not be prepared: {reason}") from error


def open_parts(
    builder: Any, parts: Sequence[str], root: Path, *, decode: bool = True
) -> Records:
    """Opens parts of a prepared set.

    Args:
      builder: TFDS's builder of the set.
      parts: names of the parts.
      root: folder of prepared sets, for messages.
      decode: whether images are decoded to arrays; else they stay encoded bytes.

    Raises:
      ValueError: a set that is not prepared, incompletely prepared, or damaged.
    """
    decoders = None if decode else {"image": _tfds().decode.SkipDecoding()}
    sources = [_open(builder, part, root, decoders) for part in parts]
    ends = np.cumsum([len(source) for source in sources])
    return Records(builder.name, root, tuple(sources), tuple(map(int, ends)))


def _open(
    builder: Any, part: str, root: Path, decoders: Any = None
) -> Sequence[Example]:
    """Opens a part of a prepared set and reads its first and last record as a test."""
    name = builder.name
    try:
        source = builder.as_data_source(split=part, decoders=decoders)
    except (NotImplementedError, ValueError, LookupError) as error:
        raise ValueError(_unprepared(builder, root)) from error
    lost = [path for path in _expected_files(builder, part) if not path.is_file()]
    if lost:
        raise ValueError(_damaged(name, root, f"{lost[0].name} is missing"))
    try:
        source.__getitems__([0, len(source) - 1])
    except UNREADABLE as error:
        raise_system_fault(error, root / name)
        raise ValueError(_damaged(name, root, error)) from error
    return source


def _expected_files(builder: Any, part: str) -> list[Path]:
    """Paths of the files that hold a part."""
    splits = builder.info.splits
    return [Path(path) for path in splits[part].filepaths] if part in splits else []


def record_files(builder: Any) -> list[str]:
    """Names and sizes of a set's files, and TFDS's description; [] without files."""
    folder = Path(builder.data_dir)
    files = sorted(path for path in folder.glob("*-*-of-*") if path.is_file())
    sizes = [f"{path.name};{path.stat().st_size}" for path in files]
    return [*sizes, (folder / "dataset_info.json").read_text()] if files else []


def _unprepared(builder: Any, root: Path) -> str:
    """Message for a set that is not prepared: the reason, and what to do."""
    name, folder = builder.name, Path(builder.data_dir)
    others = sorted(path.name for path in folder.parent.glob("*") if path.is_dir())
    if not root.is_dir():
        what = f"there is no folder {root}"
    elif (root / "dataset_info.json").is_file() or root.name == name:
        return f"{root} lies inside a set; give the folder above {name}"
    elif (folder / "dataset_info.json").is_file():
        what = f"{folder} does not hold all parts as array_record; delete it"
    elif folder.is_dir() or any(other.startswith("incomplete") for other in others):
        what = f"{name} in {root} is prepared by half"
    elif others:
        what = f"{root} has {name} {', '.join(others)}, not {builder.version}"
    else:
        what = f"{name} is not prepared in {root}"
    return f"{what}; {_how(name, root)}"


def _damaged(name: str, root: Path, error: object) -> str:
    """Message for a set that is damaged: the reason, and what to do."""
    reason = str(error).partition("\n")[0]
    return (
        f"{name} in {root} is prepared by half or damaged ({reason}); delete "
        f"{root / name}, then {_how(name, root)}"
    )


def _how(name: str, root: Path) -> str:
    """Instruction to prepare a set."""
    return (
        f"prepare it: pip install -e '.[prepare]' && python -m iin_jax.data.prepare "
        f"{name} --root {root}, or give --data.download"
    )


def _tfds() -> Any:
    """The TFDS module, imported at first use, since its import takes half a second."""
    import tensorflow_datasets

    return tensorflow_datasets
