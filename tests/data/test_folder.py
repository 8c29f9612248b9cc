"""A folder of pictures and a CSV: every kind of file, cell and mistake in both."""

import errno
import io
import json
import os
import shutil
import struct
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from iin_jax.data import SOURCES, SourceOptions
from iin_jax.data.attributes import AttributeTable, encode_columns
from iin_jax.data.pictures import (
    SUFFIXES,
    UnreadablePictureError,
    fit_square,
    read_picture,
)
from tests.files.shortages import full, small_disk

SIZE = 16


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("IIN_JAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "data"


@pytest.fixture
def pictures(tmp_path):
    """Twelve square pictures in two folders, each of a single colour."""
    root = tmp_path / "pictures"
    for index in range(12):
        path = root / "ab"[index % 2] / f"{index:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (SIZE, SIZE), (20 * index, 255 - index, 7)).save(path)
    return root


NAMES = [f"{'ab'[index % 2]}/{index:02d}.png" for index in range(12)]


def load(root: Path, csv: str | bytes, **options):
    path = root.parent / "table.csv"
    path.write_bytes(csv if isinstance(csv, bytes) else csv.encode())
    return SOURCES["folder"](
        SourceOptions(image_size=SIZE, root=str(root), attributes=str(path), **options)
    )


def table(header: str, rows) -> str:
    return "\n".join([header, *(f"{name},{row}" for name, row in rows)]) + "\n"


def test_columns_of_every_kind(pictures):
    shapes = ["round", "square", ""] * 4
    wide = np.linspace(-1.5, 4.0, 12)
    rows = [
        (
            name,
            f"{shapes[i]},{i % 2 == 0},{i // 4 - 1},{wide[i]},{100 + i * 7},"
            f"{'' if i == 3 else i % 3},{'NA' if i == 5 else i / 7},one",
        )
        for i, name in enumerate(NAMES)
    ]
    header = "image,shape,big,level,width,id,count,weight,same"
    dataset = load(pictures, table(header, rows))
    labels, classes = dataset.labels, dataset.classes
    assert dataset.images.shape == (12, SIZE, SIZE, 3)
    for index in range(12):
        assert (dataset.images[index] == (20 * index, 255 - index, 7)).all()
    assert classes["shape"] == ("round", "square")
    assert labels["shape"].mask.tolist() == [False, False, True] * 4
    assert labels["shape"].compressed().tolist() == [0, 1] * 4
    assert classes["big"] == ("false", "true") and labels["big"].tolist() == [1, 0] * 6
    assert classes["level"] == ("-1", "0", "1")
    assert labels["level"].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    np.testing.assert_allclose(labels["width"], wide)
    assert classes["count"] == ("0", "1", "2")
    assert labels["count"].mask.tolist() == [i == 3 for i in range(12)]
    assert labels["weight"].dtype == np.float64 and "weight" not in classes
    assert np.isnan(labels["weight"]).tolist() == [i == 5 for i in range(12)]
    assert len(classes["id"]) == 12 and "same" not in labels
    discrete = [labels[name].dtype for name in classes]
    assert set(discrete) == {np.dtype(np.int32)}
    assert "the attribute 'same' was left out: it has one value only" in dataset.notes
    assert "'shape' is missing for 4 images" in dataset.notes
    assert "'weight' is missing for 1 images" in dataset.notes


def test_more_than_twenty_whole_numbers_are_continuous(tmp_path):
    root = tmp_path / "many"
    root.mkdir()
    names = [f"{index:02d}.bmp" for index in range(22)]
    for name in names:
        Image.new("L", (4, 4)).save(root / name)
    rows = [(name, f"{i},{min(i, 19)}") for i, name in enumerate(names)]
    dataset = load(root, table("image,age,grade", rows))
    assert dataset.labels["age"].dtype == np.float64
    assert dataset.labels["grade"].dtype == np.int32
    assert dataset.classes["grade"] == tuple(map(str, range(20)))


# cells -> classes of the column, or None if it is a quantity, and a part of its notes
COLUMNS = {
    "names of digits": (["1_2", "12", "1_3", "13"], ("12", "13", "1_2", "1_3"), ""),
    "numbers with zeros": (["007", "7", "012", "12"], ("007", "012", "12", "7"), ""),
    "equal widths": (["01", "02", "10", "02"], ("1", "2", "10"), ""),
    "floats": (["1", "1.0", "2", "2.0"], ("1", "2"), ""),
    "long ids": (
        ["9007199254740992", "9007199254740993"] * 2,
        ("9007199254740992", "9007199254740993"),
        "",
    ),
    "truth": (["True", "true", "False", "nan"], ("false", "true"), "missing for 1"),
    "truth in two words": (
        ["yes", "TRUE", "no", "0"],
        ("false", "true"),
        "0, no, true",
    ),
    "yes": (["yes", "Yes", "NO", "n/a"], ("no", "yes"), "missing for 1"),
    "Yes": (["Yes", "No", "No", ""], ("No", "Yes"), "missing for 1"),
    "spellings": (["Red", "red", "blue", "NaN"], ("Red", "blue", "red"), "Red, red"),
    "no hat": (["None", "cap", "top", "cap"], ("None", "cap", "top"), "class None;"),
    "missing": (["NaT", "<NA>", "a", "b"], ("a", "b"), "missing for 2"),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_cells_are_classes_as_people_mean_them(kind):
    cells, classes, note = COLUMNS[kind]
    table = AttributeTable((), {"x": np.array(cells, object)})
    attributes = encode_columns(table)
    assert attributes.classes["x"] == classes
    assert note in " ".join(attributes.notes)
    assert bool(note) == bool(attributes.notes)


def test_numbers_of_persons_are_classes_if_asked_for():
    cells = np.array([f"{100 + i % 25}" for i in range(60)], object)
    cells[3] = "NA"
    columns = {
        "person": cells,
        "place": np.array([f"0{i % 25:02d}" for i in range(60)], object),
        "age": np.array([*map(str, range(60))], object),
    }
    table = AttributeTable((), columns)
    quantities = encode_columns(table)
    assert not quantities.classes
    (note,) = (line for line in quantities.notes if "--data.classes person" in line)
    assert note.startswith("'person' has 25 different whole numbers")
    asked = encode_columns(table, ("person", "place"))
    assert asked.classes["person"] == tuple(str(100 + i) for i in range(25))
    assert asked.labels["person"].mask.tolist() == [i == 3 for i in range(60)]
    assert asked.classes["place"][:2] == ("000", "001")
    assert asked.labels["age"].dtype == np.float64
    with pytest.raises(ValueError, match="no column 'persn'; did you mean person"):
        encode_columns(table, ("persn",))


def test_files_without_a_row_are_counted_and_rows_are_in_their_order(pictures):
    (pictures / ".hidden.png").write_bytes(b"")
    (pictures / "notes.txt").write_text("no picture")
    rows = [(f".\\{name}".replace("/", "\\"), i % 2) for i, name in enumerate(NAMES)]
    dataset = load(pictures, table("image,odd", rows[8:2:-1]))
    assert "6 images without a row in table.csv were left out" in dataset.notes
    assert dataset.images[:, 0, 0, 0].tolist() == [160, 140, 120, 100, 80, 60]
    assert dataset.labels["odd"].tolist() == [0, 1, 0, 1, 0, 1]


BAD_TABLES = {
    "no such column": (
        "file,odd\nx,1\n",
        r"has no column 'image'; it has: file, odd; .*--data\.image-column",
    ),
    "missing images": (
        table("image,odd", [(NAMES[0], 1), ("c/1.png", 2), ("d.png", 3)]),
        r"2 of 3 rows name images that are not in .*: c/1\.png, d\.png",
    ),
    "a line break in a name": (
        'image,odd\n"a\nb.png",1\n',
        r"not in .*: 'a\\nb\.png'; paths",
    ),
    "a name of 5,000 letters": (
        f"image,odd\n{'a' * 5000},1\n",
        r"not in .*: a+ \.\.\. a+; paths",
    ),
    "an image outside": (
        table("image,odd", [(NAMES[0], 1), ("../a.png", 2)]),
        r"1 of 2 rows name images that are not in",
    ),
    "one value only": (
        table("image,odd", [(name, 1) for name in NAMES]),
        "no attribute is left to look at: .*'odd'.*one value only",
    ),
    "no attribute": ("image\n" + "\n".join(NAMES), "no attribute is left"),
    "contradicting rows": (
        table("image,odd", [(NAMES[0], 1), (NAMES[1], 0), (NAMES[0], 0)]),
        r"1 images have rows in .* that contradict each other: a/00\.png",
    ),
    "latin-1": (
        table("image,colour", [(NAMES[0], "grün"), (NAMES[1], "blau")]).encode(
            "latin1"
        ),
        "is not UTF-8: byte 0xfc in line 2; save it as UTF-8",
    ),
    "empty": ("", "is no CSV table: No columns to parse"),
    "blank": ("\n\n", "is no CSV table"),
    "header only": ("image,odd\n", "names of columns, but no rows"),
    "ragged": ("image,odd\na,1\nb,1,2\n", "is no CSV table: .*Expected 2 .*line 3"),
    "a column twice": ("image,odd,odd\na,1,2\n", "has the column 'odd' twice"),
    "a nameless row": (
        "image,odd\na/00.png,1\n ,2\n",
        "1 rows of .*; the first is row 2",
    ),
    "infinite": (
        table(
            "image,w", [(n, "inf" if i == 2 else i / 3) for i, n in enumerate(NAMES)]
        ),
        "'w' has 1 infinite values",
    ),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_bad_table_is_one_line(pictures, case):
    csv, message = BAD_TABLES[case]
    with pytest.raises(ValueError, match=message) as caught:
        load(pictures, csv)
    assert "\n" not in str(caught.value)


def test_a_bad_folder_is_one_line(pictures, tmp_path):
    (tmp_path / "empty").mkdir()
    cases = [
        ({"root": str(tmp_path / "nowhere")}, "there is no folder .*nowhere"),
        ({"root": str(tmp_path / "empty")}, r"empty holds no images \(\.png"),
        ({"root": None}, r"give --data\.root FOLDER --data\.attributes FILE\.csv"),
        ({"attributes": None}, r"--data\.attributes FILE\.csv"),
        (
            {"attributes": str(tmp_path / "no.csv")},
            r"no CSV of attributes at .*no\.csv",
        ),
    ]
    for change, message in cases:
        values = {"root": str(pictures), "attributes": str(tmp_path / "no.csv")}
        with pytest.raises(ValueError, match=message) as caught:
            SOURCES["folder"](SourceOptions(**{**values, **change}))
        assert "\n" not in str(caught.value)


def test_a_file_of_another_kind_is_not_called_missing(pictures):
    (pictures / "c.heic").write_bytes(b"")
    csv = table("image,odd", [(NAMES[0], 1), ("c.heic", 0), ("d.heic", 0)])
    message = r"1 of 3 rows name files with an unsupported suffix: c\.heic; pictures"
    with pytest.raises(ValueError, match=message) as caught:
        load(pictures, csv)
    assert "\n" not in str(caught.value)


def test_linked_folders_are_looked_through(pictures, tmp_path):
    (pictures / "a").rename(tmp_path / "elsewhere")
    (pictures / "a").symlink_to(tmp_path / "elsewhere")
    (pictures / "b" / "around").symlink_to(pictures)
    csv = table("image,odd", [(name, i % 2) for i, name in enumerate(NAMES)])
    dataset = load(pictures, csv)
    assert dataset.images[:, 0, 0, 0].tolist() == [20 * i for i in range(12)]
    assert dataset.notes == ()


def test_identical_rows_bom_quotes_and_an_index_column(pictures):
    rows = [f'{i},{name},"a, {i % 2}"' for i, name in enumerate(NAMES)]
    csv = "\ufeff" + "\r\n".join([",image,kind", *rows]) + "\r\n"
    dataset = load(pictures, csv)
    assert dataset.classes == {"kind": ("a, 0", "a, 1")}
    assert "columns without a name were left out" in dataset.notes
    doubled = [*zip(NAMES, [0, 1] * 6, strict=True), (NAMES[3], 1), (NAMES[3], 1)]
    dataset = load(pictures, table("image,odd", doubled))
    assert len(dataset) == 12
    assert "2 rows of the CSV stood twice" in dataset.notes


def gradient(width=20, height=20):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 200 // width, y * 200 // height, 0 * x + 50], -1).astype(
        np.uint8
    )


def save(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


def close(path: Path, expected: np.ndarray, tolerance: float, *conversions: str):
    picture = read_picture(path, SIZE)
    assert picture.pixels.shape == (SIZE, SIZE, 3)
    assert picture.pixels.dtype == np.uint8
    assert np.abs(picture.pixels - expected.astype(int)).mean() <= tolerance
    assert set(picture.conversions) == set(conversions)


def test_modes_become_rgb(tmp_path):
    rgb = gradient(SIZE, SIZE)
    image = Image.fromarray(rgb)
    close(save(tmp_path / "a.webp", image, lossless=True), rgb, 0)
    close(save(tmp_path / "a.jpeg", image, quality=100), rgb, 2)
    cmyk = save(tmp_path / "c.jpg", image.convert("CMYK"), quality=100)
    close(cmyk, rgb, 2, "CMYK")
    grey = np.asarray(image.convert("L"))
    expected = np.repeat(grey[..., None], 3, -1)
    close(save(tmp_path / "l.png", image.convert("L")), expected, 0, "grey")
    wide = Image.fromarray(grey.astype(np.uint16) * 257)
    close(save(tmp_path / "w.png", wide), expected, 0, "16-bit grey")
    close(save(tmp_path / "w.tif", wide), expected, 0, "16-bit grey")
    palette = image.quantize(256)
    close(save(tmp_path / "p.png", palette), rgb, 6, "palette")
    bits = image.convert("1")
    expected = np.repeat(np.asarray(bits)[..., None] * 255, 3, -1)
    close(save(tmp_path / "b.tiff", bits), expected, 0, "black and white")


def test_transparency_shows_white_not_what_hides_below(tmp_path):
    rgba = np.dstack([gradient(SIZE, SIZE), np.zeros((SIZE, SIZE), np.uint8)])
    rgba[:8, :, 3] = 255
    expected = np.where(rgba[..., 3:] > 0, rgba[..., :3], 255)
    path = save(tmp_path / "t.png", Image.fromarray(rgba))
    close(path, expected, 0, "transparent, laid on white")


def test_animations_give_their_first_frame(tmp_path):
    frames = [Image.new("RGB", (SIZE, SIZE), color) for color in ("red", "blue")]
    save(tmp_path / "f.gif", frames[0], save_all=True, append_images=frames[1:])
    pixels = read_picture(tmp_path / "f.gif", SIZE).pixels
    assert (pixels == (255, 0, 0)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_pictures_upright(tmp_path, orientation):
    upright = gradient(SIZE, SIZE)
    undo = {  # orientation -> pixels that a camera stores, by the EXIF standard
        1: lambda x: x,
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.swapaxes(0, 1),
        6: lambda x: np.rot90(x),
        7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
        8: lambda x: np.rot90(x, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(undo[orientation](upright)))
    path = save(tmp_path / "e.png", stored, exif=exif)
    conversions = ["rotated as its EXIF says"] if orientation > 1 else []
    close(path, upright, 0, *conversions)


def test_the_central_square_is_kept(tmp_path):
    wide = np.zeros((40, 100, 3), np.uint8)
    wide[:, 30:70] = 200  # the central square alone
    path = save(tmp_path / "w.png", Image.fromarray(wide))
    picture = read_picture(path, SIZE)
    assert (picture.pixels == 200).all()
    assert picture.conversions == ("cropped to its central square",)
    tall = Image.fromarray(wide.swapaxes(0, 1))
    assert (np.asarray(fit_square(tall, 8)) == 200).all()
    assert (np.asarray(fit_square(Image.fromarray(wide), 8, crop=20)) == 200).all()


def test_large_jpegs_are_decoded_small_and_look_the_same(tmp_path):
    image = Image.fromarray(gradient(640, 640))
    path = save(tmp_path / "large.jpg", image, quality=95)
    exact = np.asarray(fit_square(image, SIZE)).astype(int)
    assert np.abs(read_picture(path, SIZE).pixels - exact).max() <= 3


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [9_500, 40_000])  # Pillow warns, or refuses
def test_bombs_and_damaged_files_are_refused(tmp_path, recwarn, side):
    path = tmp_path / "x.png"
    path.write_bytes(bomb(side, side))
    with pytest.raises(UnreadablePictureError, match="pixels"):
        read_picture(path, SIZE)
    whole = io.BytesIO()
    Image.fromarray(gradient()).save(whole, "PNG")
    for content in (b"", b"text", whole.getvalue()[:-40]):
        path.write_bytes(content)
        with pytest.raises(UnreadablePictureError):
            read_picture(path, SIZE)


@pytest.mark.filterwarnings("error")
def test_unreadable_images_are_counted_named_and_left_out(pictures):
    (pictures / NAMES[2]).write_bytes(bomb(9_500, 9_500))
    (pictures / NAMES[5]).write_bytes((pictures / NAMES[4]).read_bytes()[:-30])
    csv = table("image,third", [(name, i % 3) for i, name in enumerate(NAMES)])
    with pytest.raises(
        ValueError, match=r"2 of 12 .* share of 0\.01 .*02\.png"
    ) as stop:
        load(pictures, csv)
    report = Path(str(stop.value).rpartition("all are in ")[2])
    dataset = load(pictures, csv, max_unreadable=0.2)
    assert list(dataset.unreadable) == [NAMES[2], NAMES[5]]
    assert json.loads(report.read_text())["faults"] == dataset.unreadable
    kept = [i for i in range(12) if i not in (2, 5)]
    assert dataset.images[:, 0, 0, 0].tolist() == [20 * i for i in kept]
    assert dataset.labels["third"].tolist() == [i % 3 for i in kept]
    (note,) = (note for note in dataset.notes if "cannot be read" in note)
    assert note.startswith(
        "2 images that cannot be read were left out: a/02.png (9500x"
    )
    assert "b/05.png (" in note
    for name in NAMES:
        (pictures / name).write_bytes(b"")
    with pytest.raises(ValueError, match=r"none of the 12 images in .* can be read"):
        load(pictures, csv, max_unreadable=1.0)


def test_mixed_images_are_converted_and_said(pictures):
    Image.new("L", (40, 30), 99).save(pictures / NAMES[0])
    Image.new("RGBA", (7, 7), (1, 2, 3, 255)).save(pictures / NAMES[1])
    csv = table("image,odd", [(name, i % 2) for i, name in enumerate(NAMES)])
    dataset = load(pictures, csv)
    assert dataset.images.shape == (12, SIZE, SIZE, 3)
    assert (dataset.images[0] == 99).all() and (dataset.images[1] == (1, 2, 3)).all()
    assert [note for note in dataset.notes if "converted" in note] == [
        "1 images were converted: cropped to its central square",
        "1 images were converted: grey",
        "2 images were converted: resized from other sizes than 16x16",
        "1 images were converted: transparent, laid on white",
    ]


def test_a_full_disk_is_one_line_while_images_are_decoded(
    pictures, tmp_path, monkeypatch
):
    csv = table("image,odd", [(name, i % 2) for i, name in enumerate(NAMES)])
    with small_disk(tmp_path / "disk") as disk:
        monkeypatch.setenv("IIN_JAX_CACHE", str(disk))
        message = rf"^{disk}[^\n]* cannot be written: No space left on device$"
        with full(disk, 8192), pytest.raises(OSError, match=message):
            load(pictures, csv)
        assert load(pictures, csv).images.shape == (12, SIZE, SIZE, 3)


def test_a_large_folder_stays_on_disk(pictures):
    (pictures / NAMES[7]).write_bytes(b"broken")
    csv = table("image,odd", [(name, i % 2) for i, name in enumerate(NAMES)])
    options = {"max_unreadable": 0.1}
    memory = load(pictures, csv, **options)
    stored = load(pictures, csv, max_memory=12 * SIZE * SIZE * 3 - 1, **options)
    assert isinstance(memory.images, np.ndarray)
    assert not isinstance(stored.images, np.ndarray)
    assert stored.images.shape == memory.images.shape == (11, SIZE, SIZE, 3)
    chosen = np.array([[10, 7], [0, 7]])
    np.testing.assert_array_equal(stored.images[chosen], memory.images[chosen])
    np.testing.assert_array_equal(stored.images[2:5], memory.images[2:5])
    assert stored.digest == memory.digest
    os.remove(pictures / NAMES[0])
    with pytest.raises(ValueError, match=r"a/00\.png can no longer be read"):
        stored.images[np.array([0])]


@pytest.mark.parametrize("max_memory", [2**30, 0])
def test_the_digest_follows_images_labels_and_size(pictures, max_memory):
    csv = table("image,odd", [(name, i % 2) for i, name in enumerate(NAMES)])
    load_again = {"max_memory": max_memory}
    first = load(pictures, csv, **load_again).digest
    assert load(pictures, csv, **load_again).digest == first
    relabelled = csv.replace(f"{NAMES[0]},0", f"{NAMES[0]},1")
    assert load(pictures, relabelled, **load_again).digest != first
    Image.new("RGB", (SIZE, SIZE), (1, 1, 1)).save(pictures / NAMES[0])
    changed = load(pictures, csv, **load_again)
    assert changed.digest != first
    assert (changed.images[0] == 1).all(), "a kept image of the older file"
    moved = shutil.copytree(pictures, pictures.parent / "elsewhere" / "pictures")
    os.utime(moved / NAMES[1], (0, 0))
    assert load(moved, csv, **load_again).digest == changed.digest


@pytest.mark.parametrize("max_memory", [2**30, 0])
def test_what_was_kept_and_is_damaged_is_made_again(
    pictures, cache, capsys, max_memory
):
    csv = table("image,odd", [(name, i % 2) for i, name in enumerate(NAMES)])
    digest = load(pictures, csv, max_memory=max_memory).digest
    (kept,) = cache.glob("folder-*")
    report = kept / "report.json"
    damages = [lambda: os.truncate(report, 30), lambda: report.write_text("[1]")]
    if max_memory:
        damages += [lambda: os.truncate(kept / "images.npy", 300)]
    for damage in damages:
        damage()
        assert load(pictures, csv, max_memory=max_memory).digest == digest
        (message,) = capsys.readouterr().err.splitlines()
        assert str(kept) in message and message.endswith("decoding again")


def raising(error):
    def refuse(*arguments, **settings):
        raise error

    return refuse


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.EMFILE, "Too many open files"),
        OSError(errno.EIO, "Input/output error"),
        MemoryError(),
    ],
    ids=repr,
)
def test_what_the_system_refuses_is_no_bad_picture(pictures, monkeypatch, error):
    csv = table("image,odd", [(name, i % 2) for i, name in enumerate(NAMES)])
    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", raising(error))
        with pytest.raises(type(error)) as caught:
            load(pictures, csv, max_unreadable=1.0)
    if isinstance(error, OSError):
        assert ".png" in str(caught.value)
    dataset = load(pictures, csv)  # a failed decoding leaves no trace
    assert len(dataset) == 12 and not dataset.unreadable


@pytest.mark.parametrize(
    "error",
    [
        UnidentifiedImageError("cannot identify image file"),
        OSError("image file is truncated"),
        OSError(errno.EINVAL, "Invalid argument"),  # a seek outside of the file
    ],
    ids=repr,
)
def test_what_pillow_refuses_is_a_bad_picture(tmp_path, monkeypatch, error):
    monkeypatch.setattr(Image, "open", raising(error))
    with pytest.raises(UnreadablePictureError, match=str(error.args[-1])):
        read_picture(tmp_path / "a.png", SIZE)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_semicolons_and_tabs_with_decimal_commas(pictures, separator):
    rows = [
        separator.join((n, f"{i / 4:g}".replace(".", ","), "a,b"[i % 3]))
        for i, n in enumerate(NAMES)
    ]
    dataset = load(pictures, "\n".join([separator.join(("image", "w", "s")), *rows]))
    np.testing.assert_array_equal(dataset.labels["w"], np.arange(12) / 4)
    assert dataset.classes["s"] == (",", "a", "b")
    assert any("between cells" in note for note in dataset.notes)
    assert "decimal commas were read as points" in dataset.notes


def test_commas_in_text_stay_and_commas_go_first(pictures):
    rows = [f'{n};"x, {i % 2}";{i % 2}' for i, n in enumerate(NAMES)]
    dataset = load(pictures, "\n".join(["image;s;t", *rows]))
    assert dataset.classes["s"] == ("x, 0", "x, 1")
    dataset = load(pictures, table("image,a;b", [(n, n[0]) for n in NAMES]))
    assert dataset.classes["a;b"] == ("a", "b")


def test_celebas_own_list(pictures):
    signs = [(1 if i % 2 else -1, 1 if i > 3 else -1) for i in range(12)]
    rows = [f"{n} {a:2d} {b:2d}" for n, (a, b) in zip(NAMES, signs, strict=True)]
    lines = ["12", "Smiling Young ", *rows]
    dataset = load(pictures, "\r\n".join(lines))
    assert dataset.classes == {"Smiling": ("-1", "1"), "Young": ("-1", "1")}
    assert dataset.labels["Smiling"].tolist() == [0, 1] * 6
    for damaged, message in [
        (lines[:-1], "says it has 12 rows, but has 11"),
        ([*lines[:-1], "x 1"], "row 12 has 2 entries, not 2|row .* entries"),
    ]:
        with pytest.raises(ValueError, match=rf"CelebA's form .*({message})"):
            load(pictures, "\n".join(damaged))


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_composed_and_decomposed_names_are_one_file(tmp_path, forms):
    root = tmp_path / "p"
    root.mkdir()
    names = [f"caf\u00e9 {i}.png" for i in range(4)]
    for i, name in enumerate(names):
        path = root / unicodedata.normalize(forms[0], name)
        Image.new("RGB", (8, 8), (i, 0, 0)).save(path)
    text = table("image,s", zip(names, "abab", strict=True))
    dataset = load(root, unicodedata.normalize(forms[1], text))
    assert dataset.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3]


def test_grey_levels_of_fewer_bits_are_said(tmp_path):
    levels = np.arange(64, dtype=np.uint16).reshape(8, 8)
    for scale, told in {1024: (), 64: ("12 bits of 16",), 1: ("8 bits of 16",)}.items():
        Image.fromarray(levels * scale).save(tmp_path / "a.png")
        (conversion,) = read_picture(tmp_path / "a.png", 8).conversions
        assert conversion.startswith("16-bit grey")
        assert all(part in conversion for part in told)
        assert ("dark" in conversion) == bool(told)
    Image.fromarray(levels * 0).save(tmp_path / "a.png")  # black in any range
    assert read_picture(tmp_path / "a.png", 8).conversions == ("16-bit grey",)


def test_only_named_formats_and_regular_files_are_opened(tmp_path, monkeypatch):
    def opened(*arguments):
        pytest.fail("a program was to be started")

    monkeypatch.setattr("subprocess.Popen", opened)
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\n"
    path = tmp_path / "x.png"
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    for content, message in {
        postscript: "cannot identify",
        b"P5 1 1 255 x": "cannot identify",
        pointer: "is a Git LFS pointer",
    }.items():
        path.write_bytes(content)
        with pytest.raises(UnreadablePictureError, match=message):
            read_picture(path, 8)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UnreadablePictureError, match="a named pipe"):
        read_picture(path, 8)
    for name in SUFFIXES:
        Image.new("RGB", (8, 8)).save(tmp_path / f"y{name}")
        assert read_picture(tmp_path / f"y{name}", 8).size == (8, 8)


def test_a_pipe_or_a_pointer_as_table_is_one_line(pictures):
    pipe = pictures.parent / "pipe.csv"
    os.mkfifo(pipe)
    options = SourceOptions(image_size=8, root=str(pictures), attributes=str(pipe))
    with pytest.raises(ValueError, match=r"pipe\.csv is a named pipe"):
        SOURCES["folder"](options)
    with pytest.raises(ValueError, match=r"table\.csv is a Git LFS pointer"):
        load(pictures, "version https://git-lfs.github.com/spec/v1\n")
