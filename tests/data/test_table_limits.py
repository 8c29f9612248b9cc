"""Tables and pictures of a size that took seconds each."""

import time
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from iin_jax.data.attributes import read_table
from iin_jax.data.pictures import read_picture
from iin_jax.data.tables import MOST_COLUMNS

SECONDS = 5.0  # on a busy machine; what is refused here took minutes


def write_table(path, columns: int, separator: str = ",") -> None:
    names = ["image", *(f"c{i}" for i in range(columns - 1))]
    rows = [[f"{row}.png", *["1"] * (columns - 1)] for row in range(3)]
    path.write_text("\n".join(separator.join(cells) for cells in (names, *rows)))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_of_too_many_columns_is_refused_at_once(tmp_path, separator):
    path = tmp_path / "table.csv"
    write_table(path, 100_000, separator)
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"^[^\n]* 100,000 columns, .* 4,096[^\n]*$"):
        read_table(path, "image")
    assert time.monotonic() - start < SECONDS


def test_a_name_without_end_is_one_line(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("x" * 200_000 + "\n1\n2\n")
    with pytest.raises(ValueError, match=r"^[^\n]* has no column 'image'[^\n]*$") as e:
        read_table(path, "image")
    assert len(str(e.value)) < 1500


def test_a_list_in_the_form_of_celeba_has_the_limit_too(tmp_path):
    path = tmp_path / "list.txt"
    names = " ".join(f"c{i}" for i in range(5000))
    path.write_text(f"1\n{names}\n0.jpg {' '.join(['1'] * 5000)}\n")
    with pytest.raises(ValueError, match=r"5,001 columns, .* 4,096"):
        read_table(path, "image")


def test_a_table_at_the_limit_is_read(tmp_path):
    path = tmp_path / "table.csv"
    write_table(path, MOST_COLUMNS)
    assert len(read_table(path, "image")[0].columns) == MOST_COLUMNS - 1


def test_16_bits_take_no_copies_in_floating_point(tmp_path):
    side, path = 1000, tmp_path / "x.png"
    levels = np.resize(np.arange(65536, dtype=np.uint16), (side, side))
    Image.fromarray(levels).save(path)
    tracemalloc.start()
    read_picture(path, side)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * side * side
    pixels = read_picture(path, side).pixels
    np.testing.assert_array_equal(pixels[..., 0], np.round(levels / 257.0))
