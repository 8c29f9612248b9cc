"""Judges and probes on cases whose answer is known."""

import numpy as np
import pytest

import iin_jax
from iin_jax.analysis import (
    ColorJudge,
    LatentJudge,
    LogitsJudge,
    ShapeJudge,
    evaluate_swaps,
    factor_maps,
    layer_scores,
    linear_leakage,
)
from iin_jax.concepts import factor_scores, pairs_from_labels
from iin_jax.data import colored_set, embedded_digits, palette
from tests.conftest import normal


@pytest.fixture(scope="module")
def digits():
    return embedded_digits(16)


def test_the_shape_judge_reads_held_out_digits_in_any_colour(digits):
    labels = digits.labels["digit"]
    judge = ShapeJudge.train(digits.images[:1200], labels[:1200])
    held_out = colored_set(
        digits.images, np.arange(1200, 1797), palette(50, 9), copies=1
    )
    images = np.asarray(held_out.images())
    expected = labels[held_out.item]
    assert judge.score(images, expected) > 0.93
    assert judge.score(images, (expected + 1) % 10) < 0.05
    dim = (images + 1) * 0.3 - 1
    np.testing.assert_array_equal(judge.read(dim), judge.read(images))


def test_the_colour_judge_measures_real_pictures_within_its_floor(digits):
    painted = colored_set(digits.images, np.arange(200), palette(200, 9), copies=1)
    judge = ColorJudge()
    assert judge.score(painted.images(), painted.rgb) < 0.02
    assert judge.score(painted.images(), np.roll(painted.rgb, 1, axis=0)) > 0.2


def test_the_colour_judge_averages_the_brightest_per_cent():
    image = np.full((1, 20, 20, 3), -1.0)
    image[0, 0, :4] = [1.0, 0.0, -1.0]
    image[0, 5, :] = 0.5
    np.testing.assert_allclose(ColorJudge().read(image), [[1.0, 0.5, 0.0]])


def test_swaps_are_judged_against_both_sides(interpreter, images):
    """A judge that reads z back sees that exactly the swapped factor moved."""
    a, b = images[:4], images[4:]
    true_a, true_b = (
        np.asarray(interpreter.decode(interpreter.encode(x))) for x in (a, b)
    )

    class Distance:
        measure = "mean_abs_error"

        def score(self, images, expected):
            return float(np.abs(np.asarray(images) - expected).mean())

    judges = {"digit": Distance(), "color": Distance()}
    values_a = {"digit": true_a, "color": true_a}
    values_b = {"digit": true_b, "color": true_b}
    result = evaluate_swaps(interpreter, a, b, values_a, values_b, judges)
    edited = np.asarray(interpreter.swap(a, b, ["digit"]))
    swap = result["swap"]["digit"]
    assert swap["transferred"] == pytest.approx(
        np.abs(edited - true_b).mean(), rel=1e-4
    )
    kept = swap["others_kept"]["color"]
    assert kept == pytest.approx(np.abs(edited - true_a).mean(), rel=1e-4)
    assert result["floor"]["digit"] < 1e-5 and result["swap_pairs"] == 4
    assert result["floor_inputs"]["digit"] > 0.01


def test_a_concept_without_a_judge_is_not_invented(interpreter, images):
    class Zero:
        measure = "accuracy"

        def score(self, images, expected):
            return 0.5

    values = {"digit": np.zeros(4), "color": np.zeros(4)}
    result = evaluate_swaps(
        interpreter, images[:4], images[4:], values, values, {"digit": Zero()}
    )
    assert result["swap"]["color"] == {
        "transferred": None,
        "others_kept": {"digit": 0.5},
    }


def test_the_logits_judge_counts_right_predictions():
    logits = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.4]])
    assert LogitsJudge().score(logits, np.array([1, 0, 0])) == pytest.approx(2 / 3)


def test_probes_find_what_a_factor_holds_and_nothing_else():
    """An identity-like interpreter: factors are slices of z."""
    flow = iin_jax.InterpretationFlow(8, 0, 4, 0)
    layout = iin_jax.FactorLayout({"digit": 3, "color": 2, "residual": 3})
    identity = iin_jax.Interpreter(flow, {"params": {}, "constants": {}}, layout)
    rng = np.random.default_rng(0)

    def sample(count):
        digit, color = rng.integers(0, 3, count), rng.uniform(size=(count, 3))
        z = rng.standard_normal((count, 8))
        z[:, :3] = 4.0 * np.eye(3)[digit] + 0.3 * z[:, :3]
        z[:, 3:5] = 3.0 * color[:, :2]
        return z.astype(np.float32), {"digit": digit, "color": color[:, :2]}

    (z_train, train), (z_test, test) = sample(600), sample(400)
    found = linear_leakage(identity, z_train, z_test, train, test)
    assert list(found) == ["digit", "color", "residual", "z", "pca"]
    assert found["digit"]["digit"]["figure"] > 0.99
    assert found["color"]["color"]["figure"] > 0.99
    assert found["z"]["color"]["figure"] > 0.99
    for space, attribute in (("color", "digit"), ("residual", "digit")):
        cell = found[space][attribute]
        assert cell["measure"] == "accuracy"
        assert abs(cell["figure"] - cell["chance"]) < 0.1 and cell["chance"] < 0.4
    assert abs(found["residual"]["color"]["figure"]) < 0.05


def test_maps_are_the_first_two_principal_components(interpreter):
    z = normal((50, 8), 3)
    maps = factor_maps(interpreter, z)
    shapes = {name: points.shape for name, points in maps.items()}
    assert shapes == dict.fromkeys(interpreter.layout.names, (50, 2))
    part = np.asarray(interpreter.to_factors(z)["residual"])
    variances = np.linalg.eigvalsh(np.cov(part.T))[::-1][:2]
    np.testing.assert_allclose(maps["residual"].var(0, ddof=1), variances, rtol=1e-4)


def test_judges_of_latents_read_classes_and_real_values():
    z = np.asarray(normal((900, 6)))
    classes = np.where(z[:, 0] ** 2 > 0.5, "far", "near")  # no linear reader sees it
    values = np.stack([np.sin(z[:, 1]), z[:, 2]], axis=1)
    judge = LatentJudge.train(z[:700], classes[:700])
    assert judge.measure == "accuracy"
    assert judge.score(z[700:], classes[700:]) > 0.9
    judge = LatentJudge.train(z[:700], values[:700])
    assert judge.measure == "mean_abs_error"
    assert judge.score(z[700:], values[700:]) < 0.15
    assert judge.score(np.roll(z[700:], 1, axis=0), values[700:]) > 0.5


def test_swaps_can_be_judged_in_z(interpreter, images):
    a, b = images[:4], images[4:]

    class Same:
        measure = "mean_abs_error"

        def score(self, outputs, expected):
            return float(np.abs(np.asarray(outputs) - expected).max())

    parts_a, parts_b = (interpreter.to_factors(interpreter.encode(x)) for x in (a, b))
    edited = interpreter.from_factors({**parts_a, "digit": parts_b["digit"]})
    own = np.asarray(interpreter.encode(a))
    result = evaluate_swaps(
        interpreter,
        a,
        b,
        {"digit": own},
        {"digit": np.asarray(edited)},
        {"digit": Same()},
        latents=True,
    )
    assert result["swap"]["digit"]["transferred"] < 1e-5
    assert result["floor"] == {"digit": 0.0}
    assert "floor_inputs" not in result


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
