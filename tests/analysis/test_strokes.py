"""Measures of strokes on shapes whose width and bending are known."""

import numpy as np
import pytest

from iin_jax.analysis.strokes import bending, stroke_width, texture


def ring(radius, width, side=40, color=(1.0,), square=False):
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    outline = np.maximum(abs(x), abs(y)) if square else np.hypot(x, y)
    ink = (width / 2 - np.abs(outline - radius) + 0.5).clip(0, 1)
    return (2 * ink[..., None] * np.array(color) - 1)[None].astype(np.float32)


@pytest.mark.parametrize("width", [2.0, 3.0, 5.0])
@pytest.mark.parametrize("radius", [8.0, 13.0])
def test_the_width_of_a_ring(radius, width):
    assert stroke_width(ring(radius, width))[0] == pytest.approx(width, rel=0.06)


def test_a_width_does_not_depend_on_colour_or_polarity():
    first = stroke_width(ring(10, 3))[0]
    assert stroke_width(ring(10, 3, color=(0.1, 0.6, 0.3)))[0] == pytest.approx(first)
    assert stroke_width(-ring(10, 3))[0] == pytest.approx(first)


def test_corners_bend_more_than_circles():
    circles = bending(np.concatenate([ring(8, 3), ring(14, 3)]))
    np.testing.assert_allclose(circles, 1.0, atol=0.1)
    assert bending(ring(8, 3, square=True))[0] > 3.0


def test_a_blank_image_has_no_measure():
    images = np.concatenate([np.full((1, 40, 40, 1), -1.0, np.float32), ring(10, 3)])
    for measure in (stroke_width, bending):
        assert np.isnan(measure(images)).tolist() == [True, False]


def test_stripes_are_a_texture_and_an_even_shape_has_none():
    y, x = np.mgrid[:40, :40]
    shape = (abs(y - 20) < 14) & (abs(x - 20) < 10)
    stripes = np.where(y % 4 < 2, 1.0, 0.4)
    inks = [0.8 * shape, shape * stripes, 0.5 * shape * stripes, 0.0 * shape]
    images = (2 * np.stack(inks)[..., None] - 1).astype(np.float32)
    even, striped, darker, blank = texture(images)
    assert even < 0.02 and striped > 0.2 and np.isnan(blank)
    assert darker == pytest.approx(striped, rel=0.05)


def test_thin_strokes_have_no_inside():
    assert np.isnan(texture(ring(10, 2))).all()
