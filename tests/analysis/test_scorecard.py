"""One scorecard for networks of any output, with judges that suit the output."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

import iin_jax
from iin_jax.analysis import ANALYSES, Examples, sections
from iin_jax.analysis.choice import as_pictures, choose_judges

COUNT, TEST = 400, 150


@pytest.fixture(scope="module")
def digits():
    digits = load_digits()
    images = (digits.images[: COUNT + TEST, ..., None] / 8 - 1).astype("float32")
    labels = {
        "digit": digits.target[: COUNT + TEST],
        "ink": images.mean((1, 2, 3)).astype(float),
    }
    return images, labels


@pytest.fixture(scope="module")
def weights(digits):
    flat = digits[0].reshape(len(digits[0]), -1)
    return np.linalg.svd(flat, full_matrices=False)[2][:12].T


def part(digits, rows):
    images, labels = digits
    return images[rows], {name: x[rows] for name, x in labels.items()}


def encode(weights, images):
    return images.reshape(-1, 64) @ weights[:, :12]


def linear(weights, output):
    """A network of principal components: reconstructions, or logits by class means."""

    def pictures(weights, z):
        return (z @ weights.T).reshape(-1, 8, 8, 1)

    def logits(weights, z):
        centre = weights[:, 12:].T @ weights[:, :12]
        return z @ centre.T - 0.5 * (centre**2).sum(-1)

    decode = pictures if output == "images" else logits
    return iin_jax.networks.from_functions(
        encode, decode, weights, image_shape=(8, 8, 1), output=output
    )


def started(network, digits):
    """An interpreter after one step, since the tests do not depend on training."""
    images, labels = part(digits, slice(0, COUNT))
    classes = {"digit": labels["digit"], "ink": labels["ink"] > -0.4}
    flow = iin_jax.InterpretationFlow(12, 1, 8, 0)
    options = {"flow": flow, "steps": 1, "progress": False}
    options["estimator"] = "calibrated"
    return iin_jax.interpret(network, images, classes, **options)


@pytest.fixture(scope="module")
def interpreter(digits, weights):
    return started(linear(weights, "images"), digits)


@pytest.fixture(scope="module")
def sides(digits):
    return part(digits, slice(0, COUNT)), part(digits, slice(COUNT, None))


@pytest.fixture(scope="module")
def scores(interpreter, sides):
    """The whole scorecard, with every analysis."""
    return iin_jax.score(interpreter, *sides)


@pytest.mark.thorough
def test_a_notebook_gets_the_scorecard_of_a_run(scores):
    written = json.loads(json.dumps(scores, allow_nan=False))
    assert written["certificate"] == scores["certificate"]
    assert written.keys() == scores.keys()
    assert {"certificate", "leakage", "nll_bits_per_dim", "swap", "unbeaten"} < {
        *scores
    }
    assert scores["judges"]["digit"]["held_out_accuracy"] > 0.8
    assert scores["certificate"]["round_trip_max_abs"] < 1e-4
    assert scores["measure"] == {"digit": "accuracy", "ink": "mean_abs_error"}
    assert scores["swap"]["digit"]["transferred"] > 0.4
    assert "distances" not in scores


@pytest.mark.thorough
def test_the_report_shows_it(interpreter, scores, digits, tmp_path):
    images, labels = part(digits, slice(COUNT, COUNT + 40))
    path = tmp_path / "report.html"
    iin_jax.report.write(interpreter, images, labels, path, scorecard=scores)
    page = path.read_text()
    for section in sections(scores):
        assert f"<h2>{section.title}</h2>" in page
    for line in scores["unbeaten"]:
        assert line in page
    assert page.index(scores["unbeaten"][0]) < page.index("<h2>")


@pytest.mark.thorough
def test_maps_are_scored_as_vectors_are(digits, weights):
    """Every analysis that applies, on a network whose z is a map of 2 x 2 x 3."""
    images, labels = part(digits, slice(0, COUNT))
    means = [images[labels["digit"] == k].mean(0).ravel() for k in range(10)]
    both = np.concatenate([weights, np.stack(means, axis=1)], axis=1)
    flat = linear(both, "logits")
    maps = iin_jax.networks.from_functions(
        lambda v, x: flat.encode_pure(v, x).reshape(-1, 2, 2, 3),
        lambda v, z: flat.decode_pure(v, z.reshape(-1, 12)),
        both,
        image_shape=(8, 8, 1),
        output="logits",
    )
    sides = part(digits, slice(0, COUNT)), part(digits, slice(COUNT, None))
    vectors, cards = started(flat, digits), []
    for network in (flat, maps):
        interpreter = vectors.with_network(network)
        cards.append(iin_jax.score(interpreter, *sides, progress=False))
    assert set(cards[0]) == set(cards[1])
    assert cards[0]["swap"] == cards[1]["swap"]
    assert cards[0]["plausibility"] == cards[1]["plausibility"]


def test_judges_follow_from_what_comes_out(digits, weights):
    images, labels = part(digits, slice(0, COUNT))
    means = [images[labels["digit"] == k].mean(0).ravel() for k in range(10)]
    both = np.concatenate([weights, np.stack(means, axis=1)], axis=1)
    examples = Examples.of(linear(both, "logits"), images, labels)
    names = ("digit", "ink")
    judges = choose_judges(names, examples, pytest.fail, by_shape=False)
    kinds = {name: type(judge).__name__ for name, judge in judges.items()}
    assert kinds == {"digit": "LogitsJudge", "ink": "LatentJudge"}
    shuffled = {
        **labels,
        "digit": np.random.default_rng(0).permutation(labels["digit"]),
    }
    examples = Examples.of(linear(both, "logits"), images, shuffled)
    judges = choose_judges(
        ("digit",), examples, lambda: pytest.fail(""), by_shape=False
    )
    assert type(judges["digit"]).__name__ == "LatentJudge"


@pytest.mark.parametrize("output", ["images", "logits"])
def test_an_attribute_that_no_judge_can_learn_is_named(digits, weights, output):
    images, _ = part(digits, slice(0, COUNT))
    network = linear(weights, "images")
    if output == "logits":
        network = linear(np.concatenate([weights, weights[:, :10]], axis=1), output)
    examples = Examples.of(network, images, {"site": ["here"] * COUNT})
    same = as_pictures(examples, COUNT, 0)
    with pytest.raises(ValueError, match=r"no judge of attribute 'site': .* classes"):
        choose_judges(("site",), examples, lambda: (same, same), by_shape=False)


def test_labels_are_taken_as_data_frames_have_them(digits, weights):
    images, labels = part(digits, slice(0, COUNT))
    known = np.arange(COUNT) % 7 > 0
    word = pd.Series(labels["digit"] % 3).map({0: "x", 1: "y", 2: "z"}).where(known)
    frame = pd.DataFrame({"word": word, "ink": labels["ink"]})
    values = Examples.of(linear(weights, "images"), images, frame).values
    np.testing.assert_array_equal(np.ma.getmaskarray(values["word"]), ~known)
    assert set(values["word"].compressed()) == {"x", "y", "z"}
    np.testing.assert_array_equal(values["ink"], labels["ink"])
    with pytest.raises(ValueError, match="labels are a dictionary or data frame"):
        Examples.of(linear(weights, "images"), images, labels["digit"])


@pytest.mark.thorough
def test_one_analysis_alone_gives_what_it_gives_among_all(interpreter, scores, sides):
    alone = iin_jax.score(interpreter, *sides, analyses=["certificate"], judges={})
    assert alone["certificate"] == scores["certificate"]


def test_only_some_analyses(interpreter, sides):
    selected = iin_jax.score(interpreter, *sides, analyses=["certificate"], judges={})
    assert "certificate" in selected and "leakage" not in selected
    with pytest.raises(ValueError, match="no analysis 'certifcate'; did you mean"):
        iin_jax.score(interpreter, *sides, analyses=["certifcate"], judges={})


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (lambda x, y: (x, {"digit": y["digit"]}), r"\['ink'\] are on one side alone"),
        (lambda x, y: (x, {"digit": y["digit"][1:]}), "149 labels for 150 images"),
        (lambda x, y: (x, {}), "needs images and labels"),
        (lambda x, y: (x[:, :4], y), "images must have shape"),
    ],
)
def test_mistakes_are_one_clear_line(interpreter, sides, test, message):
    with pytest.raises(ValueError, match=message) as error:
        iin_jax.score(interpreter, sides[0], test(*sides[1]))
    assert "\n" not in str(error.value)


def test_without_a_network_nothing_can_be_scored(interpreter, sides):
    alone = iin_jax.Interpreter(
        interpreter.flow, interpreter.variables, interpreter.layout
    )
    with pytest.raises(ValueError, match="no network"):
        iin_jax.score(alone, *sides)


def test_a_card_of_another_version_is_not_invented():
    old = {"leakage": {"z": {"digit": {"figure": 0.5}}}, "probe_train": 1}
    assert [name.title for name in sections({**old, "probe_test": 1})] == ["leakage"]
    assert sections(old) == [] and len(ANALYSES) >= 8
