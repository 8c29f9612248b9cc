"""Which layer encodes what, from arrays and labels, and in words."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from iin_jax.analysis import layer_scores, layers_figure, layers_in_words
from iin_jax.analysis.layer_curves import LayerScore
from iin_jax.concepts import factor_scores, pairs_from_labels
from iin_jax.networks import load
from tests.conftest import normal

NULL = (-0.05, 0.05)


def curve(*scores):
    """A network of so many layers, and one concept whose scores these are."""
    return {
        f"layer{k}": {"digit": LayerScore(x, (x - 0.02, x + 0.02), NULL)}
        for k, x in enumerate(scores)
    }


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        (
            (0.1, 0.5, 0.3),
            "rises from 0.10 at 'layer0', is strongest at 'layer1' (0.50, 95 % 0.48 to "
            "0.52), falls to 0.30 at the last, 'layer2'.",
        ),
        (
            (0.0, 0.2, 0.4, 0.39),
            "first found at 'layer1' (0.20), rises from 0.20 at 'layer1', is strongest "
            "at 'layer2' (0.40, 95 % 0.38 to 0.42), stays up to the last, 'layer3' "
            "(0.39).",
        ),
        (
            (0.6, 0.3, 0.0),
            "is strongest at 'layer0' (0.60, 95 % 0.58 to 0.62), is no more than "
            "chance at the last layer, 'layer2'.",
        ),
        ((0.02, 0.03), "no layer encodes it more than chance would."),
    ],
)
def test_a_sentence_says_where_a_concept_rises_and_falls(scores, words):
    assert layers_in_words(curve(*scores)) == {"digit": f"digit: {words}"}


def test_arrays_and_labels_are_enough(autoencoder):
    images = np.tanh(np.asarray(normal((40, 8, 8, 3), 3)))
    labels = {"digit": [k % 2 for k in range(40)], "size": np.linspace(0, 1, 40)}
    found = layer_scores(autoencoder, images, labels, count=200)
    assert list(found) == ["latent"]
    assert list(found["latent"]) == ["digit", "size"]
    z = np.asarray(autoencoder.encode(images))
    pairs = pairs_from_labels({"digit": np.arange(40) % 2}, 200)
    only = layer_scores(autoencoder, images, {"digit": labels["digit"]}, count=200)
    expected = factor_scores(z[pairs.a], z[pairs.b], pairs.concept, ["digit"])
    score = only["latent"]["digit"]
    assert score.score == pytest.approx(expected["digit"], abs=1e-5)
    assert score.interval == pytest.approx(expected.intervals["digit"], abs=0.05)
    (axis,) = layers_figure(found).axes
    assert [len(line.get_xdata()) for line in axis.lines] == [1, 1]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("resnet20", "resnet20-12fca82f.th"),
        pytest.param("resnet56", "resnet56-4bfd9763.th", marks=pytest.mark.slow),
        pytest.param(
            "densenet_bc_40_12",
            "densenet_bc_40_12_cifar10.pth.tar",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "squeezenet1_1",
            "squeezenet1_1_torchvision_fp16.safetensors",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_real_networks_see_colour_first(name, weights, shared):
    """Real weights on real digits in two colours: both are found in some layer."""
    if weights.endswith((".th", ".tar")):
        pytest.importorskip("torch")
    digits = load_digits()
    chosen = np.flatnonzero(digits.target < 4)[:120]
    color = np.arange(120) % 2
    grey = np.kron(digits.images[chosen] / 16.0, np.ones((1, 4, 4)))[..., None]
    paint = np.array([[1.0, 0.2, 0.1], [0.1, 0.3, 1.0]])[color][:, None, None]
    images = (2.0 * grey * paint - 1.0).astype(np.float32)
    network = load(name, shared / "weights" / weights, image_size=32)
    labels = {"digit": digits.target[chosen], "color": color}
    found = layer_scores(network, images, labels, count=300)
    assert list(found) == list(network.layers())
    for concept in labels:
        assert any(scores[concept].is_above_chance for scores in found.values())
    first = next(iter(found.values()))
    assert first["color"].score > first["digit"].score


def test_bad_labels_are_one_line(autoencoder):
    images = np.tanh(np.asarray(normal((12, 8, 8, 3), 3)))
    with pytest.raises(ValueError, match="'rgb' has vectors"):
        layer_scores(autoencoder, images, {"rgb": np.full((12, 3), 0.5)})
    with pytest.raises(ValueError, match="5 labels for 12 images"):
        layer_scores(autoencoder, images, {"digit": [0] * 5})
    with pytest.raises(ValueError, match="needs images and labels"):
        layer_scores(autoencoder, images, {})
