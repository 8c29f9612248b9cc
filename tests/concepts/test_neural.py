"""The neural styliser: a style network whose style is fitted to the sketch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import iin_jax
from iin_jax.concepts import sketched
from iin_jax.concepts.sketches import STYLISERS, Neural, Transport
from iin_jax.concepts.sketches.ink import background, with_moments
from iin_jax.networks.styles import FILE
from tests.concepts.test_sketches import THICK, THIN
from tests.weights.loopback import use_empty_cache

SIZE = 16


@pytest.fixture(scope="module")
def weights(shared):
    folder = shared / "weights"
    squeezenet = folder / "squeezenet1_1_torchvision_fp16.safetensors"
    for file in (folder / FILE, squeezenet):
        if not file.is_file():
            pytest.skip(f"no {file.name} among the reference data")
    return {"weights": folder / FILE, "squeezenet": squeezenet}


@pytest.fixture(scope="module")
def quick(weights):
    """A styliser at few pixels, fitted on one image for few steps."""
    return Neural(pixels=64, steps=12, contents=1, **weights)


@pytest.fixture(scope="module")
def digits():
    """Real digits, (10, 16, 16, 1) in [-1, 1]."""
    pixels = iin_jax.data.embedded_digits(SIZE).images[:10]
    return np.asarray(pixels, np.float32) / 127.5 - 1.0


@pytest.fixture(scope="module")
def sketches():
    """A thin and a thick one, each (16, 16, 1)."""
    parts = [x.reshape(SIZE, 16, SIZE, 16).mean(axis=(1, 3)) for x in (THIN, THICK)]
    return [(part[..., None] / 127.5 - 1.0).astype(np.float32) for part in parts]


def changes(change, images):
    """Mean absolute changes of images in their own manner."""
    return [float(np.abs(change(x[None], x)[0] - x).mean()) for x in images]


@pytest.mark.thorough
def test_an_image_in_its_own_manner_changes_little(digits, quick):
    """Measured 0.189, at fewer pixels and steps than are usual."""
    (error,) = changes(quick, digits[:1])
    assert error < 0.25


@pytest.mark.slow
def test_an_image_in_its_own_manner_changes_as_little_as_is_said(digits, weights):
    """Measured 0.058 and 0.069; the mean of four is 0.074."""
    errors = changes(Neural(contents=1, **weights), digits[:2])
    assert np.mean(errors) < 0.08, errors


@pytest.mark.thorough
def test_the_fit_brings_images_nearer_to_the_sketch(digits, sketches, quick):
    sketch, contents = jnp.asarray(sketches[1]), jnp.asarray(digits[:1])
    fixed = quick._fixed(quick._variables, contents, sketch)

    @jax.jit
    def loss(style):
        return quick._loss(style, quick._variables, contents, sketch, fixed)

    start = np.mean(list(quick._styles.styles.values()), axis=0)
    before, after = loss(start), loss(quick.fitted(contents, sketch))
    assert after < 0.8 * before, (before, after)


@pytest.mark.thorough
def test_equal_calls_give_equal_results_and_sketches_count(digits, sketches, quick):
    first = quick(digits, sketches[0])
    assert first.shape == digits.shape and np.abs(first).max() <= 1.0
    np.testing.assert_array_equal(first, quick(digits, sketches[0]))
    other = quick(digits, sketches[1])
    assert np.abs(first - other).mean() > 0.01


@pytest.mark.thorough
def test_the_background_stays(digits, sketches, quick):
    changed = quick(digits, sketches[1])
    ground = jax.vmap(background)
    np.testing.assert_allclose(ground(changed), ground(digits), atol=0.03)


@pytest.mark.thorough
def test_colours_stay_under_a_grey_sketch(digits, sketches, quick):
    colors = np.array([[1.0, 0.3, 0.2], [0.2, 0.5, 1.0]], np.float32)[:, None, None]
    painted = (digits[:2] + 1) * colors - 1
    changed = (quick(painted, np.repeat(sketches[1], 3, -1)) + 1) / 2
    for image, color in zip(changed, colors[:, 0, 0], strict=True):
        bright = image[image.max(-1) > 0.5]
        hue = bright / bright.max(-1, keepdims=True)
        np.testing.assert_allclose(hue.mean(0), color, atol=0.04)


@pytest.mark.thorough
def test_images_of_any_sides_and_coloured_sketches(digits, sketches, quick):
    painted = np.repeat(digits[:2], 3, -1)[:, :, 1:]
    sketch = np.concatenate([sketches[0], sketches[1], sketches[1]], -1)[:, 1:]
    changed = quick(painted, sketch)
    assert changed.shape == painted.shape
    means = np.abs(changed.mean(axis=(0, 1, 2)) - painted.mean(axis=(0, 1, 2)))
    assert means.max() > 0.01


def test_missing_weights_are_one_line(digits, tmp_path, monkeypatch):
    use_empty_cache(monkeypatch, tmp_path)
    monkeypatch.setenv("IIN_JAX_WEIGHTS", str(tmp_path))
    with pytest.raises(ValueError, match=FILE) as error:
        sketched(digits, THIN, THICK, "neural", progress=False)
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


@pytest.mark.thorough
def test_settings_are_those_of_the_result(quick, weights, tmp_path):
    copied = tmp_path / "elsewhere.safetensors"
    copied.write_bytes(weights["weights"].read_bytes())
    moved = Neural(64, 12, contents=1, squeezenet=weights["squeezenet"], weights=copied)
    assert moved.settings == quick.settings
    others = (
        Neural(64, 12, contents=1, seed=1, **weights),
        Neural(32, 12, contents=1, **weights),
        Neural(64, 13, contents=1, **weights),
    )
    assert len({quick.settings, *(other.settings for other in others)}) == 4


def test_on_a_cpu_1000_images_are_usual(digits, capsys, monkeypatch):
    class Counting:
        most = 4

        def __call__(self, images, sketch):
            return images * (1.0 if sketch.mean() < 0 else 0.5)

    assert STYLISERS["neural"]().most == (
        1000 if jax.default_backend() == "cpu" else 5000
    )
    entries = sketched(digits, THIN, THICK, Counting())
    assert len(entries.images) == 12
    assert "4 of 10 images are stylised" in capsys.readouterr().out
    assert len(sketched(digits, THIN, THICK, Counting(), most=9).images) == 27


@pytest.mark.parametrize("wrong", [{"pixels": 16}, {"steps": 0}, {"contents": 0}])
def test_other_settings_are_one_line(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} of the neural"):
        Neural(**wrong)


@pytest.mark.thorough
def test_coloured_ink_comes_nearer_to_a_sketch_and_its_own_stays(digits, sketches):
    painted = (digits[:3] + 1) * np.array([1.0, 0.3, 0.2], np.float32) - 1
    sketch = (sketches[1] + 1) * np.array([0.2, 0.9, 0.4], np.float32) - 1
    change = Transport((3,), rounds=1, steps=6)
    for image in painted:
        np.testing.assert_allclose(change(image[None], image)[0], image, atol=1e-3)
        np.testing.assert_allclose(
            with_moments(image[None], image)[0], image, atol=1e-5
        )

    def ink(image):
        return image[np.abs(image - image[0, 0]).max(-1) > 0.1].mean(axis=0)

    for image, moved in zip(painted, with_moments(painted, sketch), strict=True):
        before, after = np.abs(ink(image) - ink(sketch)), ink(np.asarray(moved))
        assert np.abs(after - ink(sketch)).mean() < 0.6 * before.mean()
