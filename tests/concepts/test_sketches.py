"""Two sketches become pairs that differ in one thing; bad ones are one line."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

import iin_jax
from iin_jax.concepts import LabelPairs, sketched
from iin_jax.concepts.sketches import Transport
from iin_jax.concepts.sketches.reading import read_sketch

SIZE = 16
BLACK = -np.ones(1)


def strokes(width, side=256):
    """A drawing of a circle and a line, white on black, uint8 (side, side)."""
    image = Image.new("L", (side, side))
    draw, unit = ImageDraw.Draw(image), side / SIZE
    box = [2 * unit, 2 * unit, 9 * unit, 9 * unit]
    draw.ellipse(box, outline=255, width=round(width * unit))
    draw.line([(12 * unit, 3 * unit), (5 * unit, 14 * unit)], 255, round(width * unit))
    return np.asarray(image)


THIN, THICK = strokes(0.7), strokes(2.6)
QUICK = Transport((3,), rounds=1, steps=3)  # where little depends on the result


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("IIN_JAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def digits():
    """Real digits, (20, 16, 16, 1) in [-1, 1]."""
    pixels = iin_jax.data.embedded_digits(SIZE).images[:20]
    return np.asarray(pixels, np.float32) / 127.5 - 1.0


def ink(images):
    return ((np.asarray(images) + 1) / 2).max(axis=-1).mean(axis=(1, 2))


@pytest.mark.parametrize(
    "change", [QUICK, pytest.param(Transport(), marks=pytest.mark.thorough)]
)
def test_an_image_in_its_own_manner_is_unchanged(digits, change):
    for image in digits[:3]:
        np.testing.assert_allclose(change(image[None], image)[0], image, atol=1e-3)


@pytest.mark.thorough
def test_strokes_become_thin_and_thick_and_what_is_empty_stays_so(digits):
    entries = sketched(digits, THIN, THICK, progress=False)
    plain, thin, thick = entries.images.reshape(3, len(digits), SIZE, SIZE, 1)
    np.testing.assert_array_equal(plain, digits)
    assert (ink(thin) < 0.7 * ink(plain)).mean() > 0.9
    assert (ink(thick) > 2 * ink(thin)).mean() > 0.9
    far = np.asarray(digits) < -0.99
    for shift in range(-4, 5):  # at least four pixels from any ink
        for axis in (1, 2):
            far &= np.roll(digits, shift, axis) < -0.99
    corner = far[:, :2, :2]
    assert np.abs(thick[:, :2, :2][corner] + 1).max(initial=0) < 0.05


def test_entries_are_pairs_that_differ_in_the_sketched_concept_alone(digits):
    entries = sketched(digits, THIN, THICK, QUICK, progress=False)
    assert entries.label.tolist() == ["image"] * 20 + ["a"] * 20 + ["b"] * 20
    np.testing.assert_array_equal(entries.identity, np.tile(np.arange(20), 3))
    image = entries.identity
    source = LabelPairs(
        {"stroke": entries.label}, {}, np.arange(60), image, (), ("stroke",)
    )
    pairs = source.forms(0)["stroke"]
    assert pairs.differs
    np.testing.assert_array_equal(image[pairs.first], image[pairs.second])
    assert (entries.label[pairs.first] != entries.label[pairs.second]).all()


@pytest.mark.thorough
def test_the_concept_of_two_sketches_is_found(digits):
    """A linear network of pixels: the stroke's factor moves, the residual stays."""
    entries = sketched(digits, THIN, THICK, QUICK, progress=False)
    flat = entries.images.reshape(60, -1)
    axes = np.linalg.svd(flat - flat.mean(0), full_matrices=False)[2][:8].T
    network = iin_jax.networks.from_functions(
        lambda w, x: x.reshape(len(x), -1) @ w,
        lambda w, z: (z @ w.T).reshape(-1, SIZE, SIZE, 1),
        axes,
        image_shape=(SIZE, SIZE, 1),
    )
    seen = entries.identity < 14  # the other images' versions are not trained on
    it = iin_jax.interpret(
        network,
        entries.images[seen],
        {"stroke": entries.label[seen]},
        agree=(),
        differ=("stroke",),
        identity=entries.identity[seen],
        layout=iin_jax.FactorLayout({"stroke": 2, "residual": 6}),
        flow=iin_jax.InterpretationFlow(8, 1, 8, 0),
        steps=2,
        batch_size=8,
        sigma=0.9,
        progress=False,
    )
    parts = it.to_factors(it.encode(entries.images[~seen]))
    for name, shares in (("stroke", False), ("residual", True)):
        _, thin, thick = np.asarray(parts[name]).reshape(3, 6, -1)
        moved = np.square(thin - thick).mean() / np.square(parts[name]).mean()
        assert (moved < 0.5) == shares, (name, moved)


def test_colours_stay_under_a_grey_sketch(digits):
    colors = np.array([[1.0, 0.3, 0.2], [0.2, 0.5, 1.0]], np.float32)[:, None, None]
    painted = (digits[:2] + 1) * colors - 1
    entries = sketched(painted, THIN, THICK, QUICK, progress=False)
    _, thin, thick = entries.images.reshape(3, 2, SIZE, SIZE, 3)
    for edited in (thin, thick):
        unit = (edited + 1) / 2
        bright = unit.max(-1) > 0.5
        for image, mask, color in zip(unit, bright, colors[:, 0, 0], strict=True):
            hue = image[mask] / image[mask].max(-1, keepdims=True)
            np.testing.assert_allclose(hue.mean(0), color, atol=0.04)


def test_results_are_kept_by_what_they_depend_on(digits, cache):
    calls = []

    class Counted(Transport):
        def __call__(self, images, sketch):
            calls.append(len(images))
            return super().__call__(images, sketch)

    def counted(seed=0):
        return Counted(QUICK.sizes, QUICK.rounds, QUICK.steps, seed)

    one = sketched(digits, THIN, THICK, counted(), progress=False)
    again = sketched(digits, THIN, THICK, counted(), progress=False)
    np.testing.assert_array_equal(one.images, again.images)
    assert len(calls) == 2
    sketched(digits, THIN, THICK, counted(seed=1), progress=False)
    sketched(digits[:19], THIN, THICK, counted(), progress=False)
    assert len(calls) == 6
    for number, file in enumerate(sorted((cache / "stylised").glob("*.npy"))):
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content[:200] if number % 2 else content)
    with pytest.warns(UserWarning, match="is damaged .*; it is made again"):
        made_again = sketched(digits, THIN, THICK, counted(), progress=False)
    np.testing.assert_array_equal(one.images, made_again.images)


def test_any_function_is_a_styliser_and_its_results_are_checked(digits):
    entries = sketched(digits, THIN, THICK, lambda x, sketch: -x, progress=False)
    np.testing.assert_array_equal(entries.images[20:40], -digits)
    for wrong, message in (
        (lambda x, sketch: x[:1], "gives shape"),
        (lambda x, sketch: 2 * x, "outside"),
        (lambda x, sketch: x * np.nan, "outside"),
    ):
        with pytest.raises(ValueError, match=message):
            sketched(digits, THIN, THICK, wrong, progress=False)


def test_only_so_many_images_are_stylised_and_it_is_said(digits, capsys):
    entries = sketched(digits, THIN, THICK, QUICK, 3, most=5)
    assert len(entries.images) == 15 and len(set(entries.identity)) == 5
    np.testing.assert_array_equal(entries.images[:5], digits[entries.identity[:5]])
    assert "5 of 20 images are stylised" in capsys.readouterr().out


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1", "I;16"])
def test_sketches_are_files_of_any_mode(tmp_path, mode):
    path = tmp_path / "thin.png"
    if mode == "I;16":
        Image.fromarray(THIN.astype(np.uint16) * 257).save(path)
    else:
        Image.fromarray(THIN).convert(mode).save(path)
    found, _ = read_sketch(path, (SIZE, SIZE, 1), BLACK, "sketch_a")
    expected, _ = read_sketch(THIN, (SIZE, SIZE, 1), BLACK, "sketch_a")
    np.testing.assert_allclose(found, expected, atol=0.05)


@pytest.mark.parametrize(
    "array",
    [
        THIN[..., None],
        np.repeat(THIN[..., None], 3, -1),
        THIN / 255.0,
        THIN / 127.5 - 1.0,
        THIN > 127,
        255 - THIN,
        np.dstack([np.zeros((*THIN.shape, 3), np.uint8), THIN]),
    ],
    ids=["column", "rgb", "unit", "signed", "bool", "black on white", "transparent"],
)
def test_sketches_are_arrays_of_any_kind(array):
    found, _ = read_sketch(array, (SIZE, SIZE, 1), BLACK, "sketch_a")
    expected, _ = read_sketch(THIN, (SIZE, SIZE, 1), BLACK, "sketch_a")
    assert found.shape == (SIZE, SIZE, 1)
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_what_was_converted_is_said(capsys, digits):
    wide = np.pad(255 - THICK, ((0, 0), (40, 40)), constant_values=255)
    entries = sketched(digits, THIN, wide, QUICK)
    said = capsys.readouterr().out
    assert "sketch_b: cut to its central square" in said
    assert "sketch_b: its negative" in said
    assert "sketch_a: resized from 256 to 16x16 pixels" in said
    assert entries.notes == tuple(said.splitlines())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sketch_a": np.zeros((20, 20))}, "sketch_a is blank"),
        ({"sketch_b": THIN}, "the two sketches are alike"),
        ({"sketch_a": "nowhere.png"}, "nowhere.png"),
        ({"sketch_a": __file__}, "sketch_a: .* is no picture"),
        ({"sketch_b": "nowhere.png"}, "sketch_b: there is no file nowhere.png"),
        ({"sketch_a": {"a": 1}}, "sketch_a is a picture file or an array"),
        ({"sketch_a": np.zeros((3, 3, 7))}, r"got shape \(3, 3, 7\)"),
        ({"sketch_a": THIN * 3.0}, "sketch_a has values from 0 to 765"),
        ({"sketch_a": THIN * np.nan}, "sketch_a holds NaN"),
        ({"styliser": "transprt"}, "did you mean transport"),
        ({"styliser": 3}, "a styliser is one of"),
        ({"most": 0}, "most is a number of images"),
        ({"images": np.full((2, 8, 8, 1), 3.0)}, r"\[-1, 1\]"),
    ],
)
def test_mistakes_are_one_clear_line(digits, change, message):
    arguments = {"images": digits, "sketch_a": THIN, "sketch_b": THICK, **change}
    with pytest.raises((ValueError, OSError), match=message) as error:
        sketched(**arguments, progress=False)
    assert "\n" not in str(error.value)
