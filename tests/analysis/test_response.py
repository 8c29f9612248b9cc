"""Responses of classifiers of which it is known what they use."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from iin_jax.analysis import response
from iin_jax.analysis.base import Evidence, Examples
from iin_jax.analysis.significance import corrected, explained_by, p_value
from iin_jax.analysis.usage import UsageAnalysis, UsageRecord, sentence, use_of
from iin_jax.concepts import LabelPairs
from iin_jax.factors import FactorLayout
from iin_jax.flows import LinearStart
from iin_jax.interpreter import Interpreter
from iin_jax.networks import from_functions
from iin_jax.prepared import PreparedLatents
from iin_jax.report.side_by_side import SideRecord, write_side_by_side

LAYOUT = FactorLayout({"used": 2, "seen": 2, "residual": 4})
COUNT = 300


def classifier(weights):
    """Logits linear in z, which is the pixels of an image (1, N, 1) times 4."""
    dim = len(weights)
    return from_functions(
        encode=lambda variables, images: 4.0 * images.reshape(-1, dim),
        decode=lambda variables, z: z @ variables["weights"],
        variables={"weights": jnp.asarray(weights, jnp.float32)},
        image_shape=(1, dim, 1),
        output="logits",
    )


def unchanged(dim):
    """Constants of a linear start that is the identity."""
    eye = jnp.eye(dim)
    ones = jnp.ones(dim)
    return {
        "mean": jnp.zeros(dim),
        "scale": ones,
        "axes": eye,
        "variances": ones,
        "turn": eye,
    }


@pytest.fixture(scope="module")
def known():
    """An interpreter with T = 1 of a classifier that reads the factor "used" alone."""
    rng = np.random.default_rng(0)
    weights = np.zeros((8, 3))
    weights[:2] = 2.0 * rng.standard_normal((2, 3))
    z = rng.standard_normal((COUNT, 8)).clip(-3.9, 3.9)
    labels = {"used": (z[:, 0] > 0).astype(int), "seen": z[:, 2:4] + 5.0}
    images = (z / 4.0).reshape(-1, 1, 8, 1).astype(np.float32)
    constants = {"constants": unchanged(8)}
    interpreter = Interpreter(LinearStart(8), constants, LAYOUT, classifier(weights))
    return interpreter, images, labels, weights, z


def test_only_what_is_read_has_an_effect(known):
    interpreter, images, labels, weights, z = known
    found = response(interpreter, images, labels)
    assert list(found) == ["used", "seen"]
    used, seen = found["used"], found["seen"]
    assert seen.effect == pytest.approx(0.0, abs=1e-6)
    assert (seen.flips, seen.rank, seen.p_value) == (0.0, 0.0, 1.0)
    assert (used.rank, used.p_value) == (1.0, 1 / 201)
    assert (used.q_value, seen.q_value) == (2 / 201, 1.0)
    assert (used.null, used.images, used.donors) == ("values", COUNT, 8)
    assert set(used.by_class) == {0, 1, 2}
    # every latent gets any other's factor: the mean over all pairs, by hand
    logits = z @ weights
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    all_pairs = (np.exp(log_p)[:, None] * (log_p[:, None] - log_p[None])).sum(-1)
    expected = all_pairs.sum() / (COUNT * (COUNT - 1))
    low, high = used.interval
    assert low < expected < high
    flips = (logits.argmax(1)[:, None] != logits.argmax(1)[None]).mean()
    assert used.flips == pytest.approx(flips, abs=0.03)
    variance = log_p.var(axis=0)
    for label, each in used.by_class.items():
        assert each.variance == pytest.approx(variance[label], rel=0.2)


def test_without_values_random_subspaces_are_the_null(known):
    interpreter, images, *_ = known
    found = response(interpreter, images)
    assert found["used"].null == "subspaces"
    assert found["used"].p_value == 1 / 201
    assert found["seen"].p_value == 1.0
    partly = response(interpreter, images, {"seen": [None] * COUNT})
    assert partly["seen"].null == "subspaces"


def test_no_order_matters(known):
    interpreter, images, labels, *_ = known
    order = np.random.default_rng(1).permutation(COUNT)
    first = response(interpreter, images, labels, most=200)
    shuffled = {name: values[order] for name, values in labels.items()}
    again = response(interpreter, images[order], shuffled, most=200)
    assert first == again
    assert first != response(interpreter, images, labels, most=200, seed=1)


@pytest.mark.parametrize(
    ("fits", "deals"),
    [
        pytest.param(2, 20, marks=pytest.mark.thorough),
        pytest.param(40, 1, marks=pytest.mark.slow),
    ],
)
def test_random_labels_are_found_as_often_as_chance_says(fits, deals):
    """T_0 of 5 concepts of random labels: 4 to 17 of 200 are found at 0.05."""
    rng, by_values, by_subspaces = np.random.default_rng(0), [], []
    network = classifier(rng.standard_normal((20, 4)))
    names = [f"c{k}" for k in range(5)]
    layout = FactorLayout({**dict.fromkeys(names, 2), "residual": 10})
    mixing = rng.standard_normal((20, 20)) / 20
    for _ in range(fits):
        z = np.tanh(rng.standard_normal((500, 20)) @ mixing) * 4
        train, images = z[:300], (z[300:] / 4).reshape(-1, 1, 20, 1)
        labels = {name: rng.integers(0, 3, 300) for name in names}
        pairs = LabelPairs(labels, {}, np.arange(300))
        prepared = PreparedLatents(train, None, pairs, np.arange(300))
        start = prepared.view(0).start(dict.fromkeys(names, 2))
        constants = {"constants": start.constants}
        interpreter = Interpreter(LinearStart(20), constants, layout, network)
        images = images.astype(np.float32)
        for _ in range(deals):
            dealt = {name: rng.integers(0, 3, len(images)) for name in names}
            by_values += response(interpreter, images, dealt).values()
        by_subspaces += response(interpreter, images).values()
    assert len(by_values) == 200
    assert 4 <= sum(each.p_value <= 0.05 for each in by_values) <= 17
    # subspaces of one z_tilde are alike, so these p depend on each other
    assert sum(each.p_value <= 0.05 for each in by_subspaces) <= 0.1 * len(by_subspaces)


def test_explained_sums_of_squares():
    rng = np.random.default_rng(0)
    classes, answers = rng.integers(0, 3, 90), rng.standard_normal((90, 2))
    own, null = explained_by(classes, answers, 5, rng)
    means = np.stack([answers[classes == k].mean(0) for k in range(3)])
    counts = np.bincount(classes)[:, None]
    between = (counts * np.square(means - answers.mean(0))).sum(0)
    assert own == pytest.approx(between)
    assert null.shape == (5, 2)
    values = rng.standard_normal(90)
    quadratic = np.stack([np.square(values), values - 3.0], axis=1)
    own, _ = explained_by(values, quadratic, 1, rng)
    total = np.square(quadratic - quadratic.mean(0)).sum(0)
    assert own == pytest.approx(total)
    constant, _ = explained_by(np.zeros(90, int), answers, 1, rng)
    assert constant == pytest.approx(0.0)


def test_p_values_and_false_discoveries():
    assert p_value(1.0, np.array([0.5, 1.0, 2.0])) == 3 / 4
    assert p_value(3.0, np.zeros(200)) == 1 / 201
    assert corrected([0.01, 0.04, 0.03, 0.005]) == pytest.approx(
        [0.02, 0.04, 0.04, 0.02]
    )


def test_the_section_says_what_is_used(known, tmp_path):
    interpreter, images, labels, *_ = known
    examples = Examples.of(interpreter.network, images, labels)
    evidence = Evidence(interpreter, examples, examples, {}, None, examples, examples)
    record = UsageAnalysis().measure(evidence)
    record = UsageRecord.of(record.entries())
    used, seen = record.response["used"], record.response["seen"]
    assert (use_of(used), use_of(seen)) == ("uses", "no evidence")
    assert sentence("used", used).startswith("The network uses used: with another")
    assert sentence("seen", seen).startswith("There is no evidence that the network")
    section = UsageAnalysis().section(record)
    assert [finding.verdict for finding in section.findings] == ["holds", "open"]
    assert [table.head[0] for table in section.tables] == ["concept", "used", "seen"]
    hardly = dataclasses.replace(used, flips=0.02, flips_interval=(0.01, 0.03))
    assert use_of(hardly) == "hardly uses"
    sides = [
        SideRecord("one", ["a 1"], "one/report.html", record),
        SideRecord("two", ["a 2"], "two/report.html", UsageRecord({"used": hardly})),
    ]
    page = write_side_by_side("t", sides, tmp_path / "page.html").read_text()
    assert "The network of &#39;one&#39; uses used" in page
    assert "The network of &#39;two&#39; hardly uses used" in page
    assert page.count(">uses</td>") == 2 and page.count(">no evidence</td>") == 2


def test_networks_of_images_have_no_section(interpreter, images):
    examples = Examples.of(interpreter.network, images, {"digit": np.arange(8) % 2})
    evidence = Evidence(interpreter, examples, examples, {}, None, examples, examples)
    assert UsageAnalysis().measure(evidence) is None


def test_bad_input_is_one_line(known, interpreter, images):
    classifies, pictures, *_ = known
    with pytest.raises(ValueError, match="a network that makes images"):
        response(interpreter, images)
    with pytest.raises(ValueError, match="no network"):
        response(dataclasses.replace(classifies, network=None), pictures)
    with pytest.raises(ValueError, match="10 images; got 9"):
        response(classifies, pictures[:9])
    with pytest.raises(ValueError, match="'used' has 5 labels for 300 images"):
        response(classifies, pictures, {"used": [1] * 5})
    with pytest.raises(ValueError, match=r"no factor 'usd'.*did you mean 'used'"):
        response(classifies, pictures, {"usd": [1] * COUNT})
    blank = dataclasses.replace(classifies, layout=FactorLayout({"residual": 8}))
    with pytest.raises(ValueError, match="no concept"):
        response(blank, pictures)
