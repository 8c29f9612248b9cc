"""What a user varies from outside the package: a loss, a flow, pairs, an analysis."""

import dataclasses
import json
import warnings
from collections.abc import Iterable

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

import iin_jax
from iin_jax import losses
from iin_jax.analysis import ANALYSES, Record, Section
from iin_jax.concepts import ExplicitPairs, LabelPairs, Pairs, PairSource
from iin_jax.flows import FLOWS
from tests.conftest import normal

LAYOUT = iin_jax.FactorLayout({"shape": 2, "residual": 2})
# the shapes of test_fit.py, so that their programs are compiled once
BRIEF = {"steps": 2, "batch_size": 8, "progress": False}
SMALL, SMALLER = (iin_jax.InterpretationFlow(dim, 1, 8, 0) for dim in (8, 4))


def pairs_of_arrays(count=64):
    rng = np.random.default_rng(0)
    za, zb = rng.standard_normal((2, count, 4)).astype(np.float32)
    zb[:, :2] = za[:, :2] + 0.1 * zb[:, :2]
    return za, zb, np.tile([True, False], (count, 1))


def quiet(function, *arguments, **settings):
    """A call whose warnings (few steps are no better than none) do not matter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments, **settings)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "start",
    ["closed_form", "published"],
)
def test_a_loss_is_a_function_of_the_layout(start):
    za, zb, shared = pairs_of_arrays()
    seen = []

    def loss(layout):
        def term(outputs):
            back = outputs.invert(outputs.z_tilde_a)
            again = outputs.translate(outputs.z_b)
            seen.append((layout, outputs.decode, outputs.labels_a))
            return jnp.abs(back - outputs.z_a).sum(-1) + jnp.abs(
                again - outputs.z_tilde_b
            ).sum(-1)

        return losses.weighted_sum(
            {"pairs": (1.0, losses.pair_term(layout)), "mine": (1e6, term)}
        )

    settings = {**BRIEF, "start": start, "seed": 1}
    with_loss = quiet(iin_jax.fit, za, zb, shared, LAYOUT, SMALLER, loss, **settings)
    assert seen and all(entry == (LAYOUT, None, None) for entry in seen)
    # z is what T was given and invert its inverse, so the huge term hardly counts
    plain = quiet(iin_jax.fit, za, zb, shared, LAYOUT, SMALLER, **settings)
    np.testing.assert_allclose(with_loss.translate(za), plain.translate(za), atol=0.3)


def test_a_loss_that_is_none_is_one_clear_line():
    za, zb, shared = pairs_of_arrays()
    made = losses.pair_loss(LAYOUT)
    with pytest.raises(ValueError, match="loss is a function of the layout"):
        iin_jax.fit(za, zb, shared, LAYOUT, loss=made, **BRIEF)
    with pytest.raises(ValueError, match=r"a term is one of \['independence', 'cycle"):
        losses.with_terms(losses.pair_loss, {"independent": 1.0})


def outputs_of(z_tilde_a, z_tilde_b, **maps):
    count = len(z_tilde_a)
    nothing = jnp.zeros(count)
    shared = jnp.zeros((count, 2), bool)
    halves = (z_tilde_a, z_tilde_b, nothing, nothing)
    return losses.PairOutputs(*halves, shared, jnp.float32(0.9), **maps)


def test_independence_is_half_the_squared_covariance_of_other_factors():
    rng = np.random.default_rng(1)
    z = rng.standard_normal((4000, 4)).astype(np.float32)
    z[:, 3] = 0.6 * z[:, 0] + 0.8 * z[:, 3]
    z[:, 1] = z[:, 0]  # within a factor anything may correlate
    outputs = outputs_of(jnp.asarray(z[:2000]), jnp.asarray(z[2000:]))
    found = losses.independence_term(LAYOUT)(outputs)
    assert found.shape == (2000,)
    np.testing.assert_allclose(found, 0.5 * 2 * 0.6**2, rtol=0.1)
    single = losses.SampleOutputs(jnp.asarray(z), jnp.zeros(4000))
    np.testing.assert_allclose(
        losses.independence_term(LAYOUT)(single)[0], found[0], rtol=1e-4
    )


def test_a_cycle_costs_what_is_lost_of_the_donors_factor():
    a, b = normal((6, 4)), normal((6, 4), 1)

    def loses(names):  # G keeps a part of z, the rest comes back as zeros
        kept = jnp.asarray([name in names for name in "ssrr"])
        return {
            "translate": lambda z: z,
            "invert": lambda z_tilde: z_tilde,
            "encode": lambda images: images,
            "decode": lambda z: jnp.where(kept, z, 0.0),
        }

    term = losses.cycle_term(LAYOUT)
    np.testing.assert_allclose(term(outputs_of(a, b, **loses("sr"))), 0.0, atol=1e-6)
    np.testing.assert_allclose(term(outputs_of(a, b, **loses("s"))), 0.0, atol=1e-6)
    found = term(outputs_of(a, b, **loses("r")))
    np.testing.assert_allclose(found, 0.25 * jnp.square(b[:, :2]).sum(-1), rtol=1e-5)
    with pytest.raises(ValueError, match="looks through a network's E and G"):
        term(outputs_of(a, b))
    with pytest.raises(ValueError, match="a cycle swaps a concept"):
        losses.cycle_term(iin_jax.FactorLayout({"residual": 4}))


@pytest.mark.thorough
def test_terms_are_trained_through_a_frozen_network():
    network, images = film()
    labels = {"kind": np.arange(60) % 3}
    seen = []

    def loss(layout):
        base = losses.with_terms(losses.pair_loss, {"independence": 0.1, "cycle": 1.0})

        def spy(outputs):
            seen.append(outputs.labels_a.shape)
            return jnp.where(outputs.labels_a[:, 0] >= 0, 0.0, jnp.nan)

        return losses.WeightedSum((*base(layout).parts, ("spy", 1.0, spy)))

    settings = {**BRIEF, "layout": iin_jax.FactorLayout({"kind": 2, "residual": 6})}
    it = quiet(
        iin_jax.interpret, network, images, labels, SMALL, loss, seed=0, **settings
    )
    assert np.isfinite(it.translate(it.encode(images))).all()
    assert (8, 1) in seen


class Doubling(iin_jax.Bijector):
    """A bijector of a user: y = x * exp(w)."""

    dim: int = 4

    @nn.compact
    def log_scale(self):
        return self.param("w", nn.initializers.constant(0.3), (self.dim,))

    def forward_and_log_det(self, x, context=None):
        w = self.log_scale()
        return x * jnp.exp(w), jnp.broadcast_to(w.sum(), x.shape[:-1])

    def inverse_and_log_det(self, y, context=None):
        w = self.log_scale()
        return y * jnp.exp(-w), jnp.broadcast_to(-w.sum(), y.shape[:-1])


class Twice(iin_jax.Chain):
    """A flow of a user, of the bijector above."""

    dim: int = 4

    def setup(self):
        self.parts = [Doubling(self.dim), Doubling(self.dim)]

    def bijectors(self) -> Iterable[iin_jax.Bijector]:
        return self.parts


@pytest.mark.parametrize(
    "kind", ["twice", pytest.param("householder", marks=pytest.mark.thorough)]
)
def test_a_registered_flow_is_trained_certified_saved_and_loaded(
    kind, tmp_path, monkeypatch
):
    monkeypatch.setitem(FLOWS, "twice", Twice)
    flow = Twice(4) if kind == "twice" else FLOWS[kind](4, 1, 8, 0)
    za, zb, shared = pairs_of_arrays()
    it = quiet(iin_jax.fit, za, zb, shared, LAYOUT, flow, **BRIEF)
    certificate = iin_jax.flows.certify_flow(it.flow, it.variables, za)
    assert certificate["round_trip_max_abs"] < 1e-4
    assert certificate["log_det_max_abs"] < 1e-4
    it.save(tmp_path)
    again = iin_jax.load(tmp_path)
    np.testing.assert_array_equal(again.translate(za), it.translate(za))
    monkeypatch.delitem(FLOWS, kind)
    with pytest.raises(ValueError, match=r"registered in iin_jax\.flows\.FLOWS"):
        iin_jax.load(tmp_path)
    with pytest.raises(ValueError, match="only flows of a named kind are saved"):
        it.save(tmp_path / "unregistered")


@dataclasses.dataclass(frozen=True, eq=False)
class Neighbours(PairSource):
    """A source of a user: frames of a film, each with the next."""

    image: np.ndarray
    names = ("scene",)

    def pairs(self) -> ExplicitPairs:
        count = len(self.image)
        first, shared = np.arange(count - 1), np.ones((count - 1, 1), bool)
        return ExplicitPairs.of(self.names, first, first + 1, shared, count)

    def draws(self):
        return self.pairs().draws()

    def scored(self, count, seed) -> Pairs:
        return self.pairs().scored(count, seed)

    def among(self, entries):
        return Neighbours(np.arange(len(entries)))


def frames(count=60):
    """Latents that drift in two components, and jump in all others."""
    rng = np.random.default_rng(2)
    drift = np.cumsum(rng.standard_normal((count, 2)), axis=0)
    return np.hstack([drift, rng.standard_normal((count, 6))])


def film(count=60):
    """A network that shows its latents as one row of pixels, and such a film."""
    network = iin_jax.networks.from_functions(
        lambda w, x: x[:, 0, :, 0] * w,
        lambda w, z: (z / w)[:, None, :, None],
        jnp.float32(1.0),
        image_shape=(1, 8, 1),
        output="images",
    )
    z = frames(count)
    return network, (z / np.abs(z).max(axis=0))[:, None, :, None].astype(np.float32)


@pytest.mark.thorough
@pytest.mark.parametrize("explicit", [False, True])
def test_pairs_may_come_from_anywhere(explicit):
    network, images = film(100)
    seen, source = images[:60], Neighbours(np.arange(60))
    pairs = source.pairs() if explicit else source
    it = quiet(iin_jax.interpret, network, seen, None, SMALL, None, pairs, **BRIEF)
    assert it.layout.concepts == ("scene",) and it.layout["scene"] >= 1
    own = np.asarray(it.to_factors(it.encode(images))["scene"])
    own, drift = np.c_[own, np.ones(100)], images[:, 0, :2, 0]
    probe = np.linalg.lstsq(own[:60], drift[:60], rcond=None)[0]
    error = (drift - own @ probe)[60:]
    assert (error.std(axis=0) < 0.5 * drift[60:].std(axis=0)).all()


def test_pairs_and_labels_are_not_both_given():
    network, images = film()
    with pytest.raises(ValueError, match="from labels or from pairs"):
        iin_jax.interpret(
            network, images, {"x": np.arange(60) % 2}, pairs=Neighbours(np.arange(60))
        )
    with pytest.raises(ValueError, match="the pairs are of 50 entries; got 60"):
        iin_jax.interpret(network, images, pairs=Neighbours(np.arange(50)))


@pytest.mark.parametrize(
    ("a", "b", "shared", "message"),
    [
        ([0], [1], np.ones((1, 3), bool), "bool of shape"),
        ([0], [9], np.ones((1, 1), bool), "entries 0 to 4"),
        ([1], [1], np.ones((1, 1), bool), "pair 0 is of one entry twice"),
        ([], [], np.ones((0, 1), bool), "p >= 1 pairs"),
        ([0.5], [1.5], np.ones((1, 1), bool), "integers of shape"),
    ],
)
def test_pairs_that_cannot_be_are_one_clear_line(a, b, shared, message):
    with pytest.raises(ValueError, match=message):
        ExplicitPairs.of(("x",), np.array(a), np.array(b), shared, 5)


def test_explicit_pairs_of_labels_have_the_directions_of_the_labels():
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 3, 90)
    z = rng.standard_normal((90, 4)) + 3.0 * np.eye(4)[codes]
    labels = LabelPairs({"x": codes}, {}, np.arange(90))
    drawn = labels.scored(20_000, 0)
    given = ExplicitPairs.of(("x",), drawn.a, drawn.b, drawn.shared, 90)
    expected = labels.forms(0)["x"].form().matrix(z)
    np.testing.assert_allclose(given.forms(0)["x"].form().matrix(z), expected, atol=0.2)
    held = given.held_out(0.2, 0)
    assert 0.1 < held.mean() < 0.5
    part = given.among(np.flatnonzero(~held))
    assert 0 < len(part.a) < len(given.a) and part.image.max() == (~held).sum() - 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1; got 0"),
        ({"steps": 0}, "steps must be at least 1; got 0"),
        ({"noise": -1.0}, "noise must be finite and not negative; got -1"),
        ({"held_out": 1.5}, r"in \[0, 1\); got 1.5"),
        ({"start": "open"}, "start is one of"),
        ({"training": {"steps": 3}}, r"an iin_jax.Training\(...\); got dict"),
        ({"flow": SMALL}, "the flow acts on 8 numbers, the latents have 4"),
        (
            {"loss": lambda layout: lambda outputs: outputs.z_tilde_a},
            r"one value per example, \(B,\); got shape \(2048, 4\)",
        ),
    ],
)
def test_bad_wishes_are_one_clear_line(settings, message):
    za, zb, shared = pairs_of_arrays()
    settings = {"flow": SMALLER, **BRIEF, **settings}
    with pytest.raises(ValueError, match=message) as error:
        quiet(iin_jax.fit, za, zb, shared, LAYOUT, **settings)
    assert "\n" not in str(error.value)


def test_unknown_arguments_offer_the_nearest():
    za, zb, shared = pairs_of_arrays()
    with pytest.raises(ValueError, match="no 'step'; did you mean steps"):
        iin_jax.fit(za, zb, shared, LAYOUT, step=3)


@dataclasses.dataclass(frozen=True)
class Spread(Record):
    """Standard deviation of every factor on test images, and how many these are."""

    key = "spread"

    factors: dict[str, float]
    images: int
    note: str | None = None


class SpreadAnalysis:
    record = Spread

    def measure(self, evidence):
        parts = evidence.interpreter.to_factors(evidence.test.latents.mean)
        spread = {name: float(np.std(x)) for name, x in parts.items()}
        return Spread(spread, len(evidence.test))

    def section(self, record):
        lines = [f"{name} spreads by {x:.4f}" for name, x in record.factors.items()]
        return Section("Spread of the factors", lines, lead=["Spreads are below."])


def test_an_analysis_is_a_row_with_a_section_of_the_report(
    interpreter, images, tmp_path, monkeypatch
):
    monkeypatch.setitem(ANALYSES, "spread", SpreadAnalysis())
    labels = {
        "digit": np.arange(8) % 3,
        "color": np.random.default_rng(0).random((8, 3)),
    }
    sides = (images, labels), (images, labels)
    card = iin_jax.score(interpreter, *sides, analyses=["spread"], judges={})
    factors = interpreter.to_factors(interpreter.encode(images))
    expected = {name: float(np.std(x)) for name, x in factors.items()}
    assert card["spread"]["factors"] == pytest.approx(expected, rel=1e-5)
    assert card["spread"]["images"] == 8 and "note" not in card["spread"]
    card = json.loads(json.dumps(card))
    path = tmp_path / "report.html"
    iin_jax.report.write(interpreter, images, labels, path, scorecard=card)
    page = path.read_text()
    for name, value in card["spread"]["factors"].items():
        assert f"{name} spreads by {value:.4f}" in page
    assert page.index("Spreads are below.") < page.index("Spread of the factors")
