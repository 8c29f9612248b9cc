"""Maps and layer scores, in cases with known results."""

import numpy as np
import pytest

from iin_jax.analysis import factor_maps
from iin_jax.analysis.base import Examples
from iin_jax.analysis.embedding import EmbeddingAnalysis, draw_maps
from iin_jax.analysis.layers import (
    LayerFigures,
    LayersAnalysis,
    LayersRecord,
    scored_layers,
)
from iin_jax.concepts import factor_scores, pairs_from_labels
from tests.conftest import normal


def test_maps_are_the_first_two_principal_components(interpreter):
    z = normal((50, 8), 3)
    maps = factor_maps(interpreter, z)
    shapes = {name: points.shape for name, points in maps.items()}
    assert shapes == dict.fromkeys(interpreter.layout.names, (50, 2))
    part = np.asarray(interpreter.to_factors(z)["residual"])
    variances = np.linalg.eigvalsh(np.cov(part.T))[::-1][:2]
    np.testing.assert_allclose(maps["residual"].var(0, ddof=1), variances, rtol=1e-4)


def test_layers_are_scored_like_latents(interpreter, images):
    """One layer of an autoencoder: its latent, with the scores of ``factor_scores``."""
    network = interpreter.network
    labels = {"digit": np.arange(8) % 2, "color": np.arange(8) // 4}
    pairs = pairs_from_labels(labels, 40)
    names = ("digit", "color")
    scored = scored_layers(
        network, lambda part: images[part], 8, pairs, names, batch_size=3
    )
    assert list(scored) == ["latent"]
    assert scored["latent"].shape == (8,) and scored["latent"].components == 8
    z = np.asarray(network.encode(images))
    expected = factor_scores(z[pairs.a], z[pairs.b], pairs.concept, names)
    for name in names:
        assert scored["latent"].scores[name] == pytest.approx(expected[name], abs=1e-5)


def test_copies_of_a_picture_are_no_evidence_of_their_own(interpreter, images):
    """Intervals stay as wide when every image is there eight times, hardly changed."""
    network, digit = interpreter.network, np.arange(8) % 2
    noise = np.random.default_rng(0).standard_normal((64, 8, 8, 3), np.float32)

    def width(copies, picture):
        labels = {"digit": np.tile(digit, copies)}
        shown = np.tile(np.asarray(images), (copies, 1, 1, 1))
        shown = np.clip(shown + 1e-3 * noise[: len(shown)], -1, 1)
        pairs = pairs_from_labels(labels, 400, identity=np.tile(np.arange(8), copies))
        scored = scored_layers(
            network, lambda part: shown[part], len(shown), pairs, ("digit",),
            picture=picture,
        )  # fmt: skip
        low, high = scored["latent"].scores.intervals["digit"]
        return high - low

    alone = width(1, None)
    copied = width(8, np.tile(np.arange(8), 8))
    assert copied > 0.7 * alone
    assert width(8, None) < 0.7 * alone


def test_an_attribute_without_known_values_has_an_empty_map():
    points = {"digit": np.random.default_rng(0).standard_normal((5, 2))}
    unknown = np.ma.masked_all(5, int)
    for name, values, count in (("digit", np.arange(5), 5), ("none", unknown, 0)):
        (axis,) = draw_maps(points, name, values).axes
        assert axis.get_title() == f"factor digit, by {name}"
        assert len(axis.collections) == count


def test_maps_keep_small_values_apart(interpreter, images):
    values = np.linspace(1e-4, 8e-4, 8)
    examples = Examples.of(interpreter.network, images, {"small": values})
    record = EmbeddingAnalysis().mapped(interpreter, examples)
    np.testing.assert_allclose(record.embedding.values["small"], values, rtol=1e-3)


def test_some_images_are_drawn_from_all(interpreter, images):
    examples = Examples.of(interpreter.network, images, {"d": np.arange(8)})
    np.testing.assert_array_equal(examples.some(9, 0), np.arange(8))
    drawn = np.stack([examples.some(3, seed) for seed in range(30)])
    assert (np.diff(drawn) > 0).all()
    np.testing.assert_array_equal(np.unique(drawn), np.arange(8))


def layer(score):
    figures = {"digit": score}
    return LayerFigures((8,), 8, 40, figures, {"digit": (0.1, 0.3)}, {"digit": (0, 0)})


def test_one_layer_is_a_table_and_several_are_curves():
    analysis = LayersAnalysis()
    alone = analysis.section(LayersRecord({"latent": layer(0.2)}))
    assert not alone.figures
    assert list(alone.tables[0].rows[0])[:3] == ["digit", "0.200", "0.100 to 0.300"]
    several = analysis.section(LayersRecord({"a": layer(0.2), "b": layer(0.5)}))
    (curve,) = several.figures["layers"].axes[0].get_lines()
    assert list(curve.get_ydata()) == [0.2, 0.5]
