"""Maps and layer scores, in cases with known results."""

import numpy as np
import pytest

from iin_jax.analysis import factor_maps, layer_scores
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
    scored = layer_scores(
        network, lambda part: images[part], 8, pairs, names, batch_size=3
    )
    assert list(scored) == ["latent"]
    assert scored["latent"].shape == (8,) and scored["latent"].components == 8
    z = np.asarray(network.encode(images))
    expected = factor_scores(z[pairs.a], z[pairs.b], pairs.concept, names)
    for name in names:
        assert scored["latent"].scores[name] == pytest.approx(expected[name], abs=1e-5)
