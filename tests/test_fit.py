"""Fitting on arrays and on a network: concepts are found, mistakes are named."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.linear_model import LinearRegression

import iin_jax
from iin_jax.concepts.whitening import fit_whitening
from iin_jax.inputs import warn_of_dependence
from iin_jax.networks import from_functions
from iin_jax.prepared import PreparedLatents, estimated_sizes
from tests.conftest import normal

LAYOUT = iin_jax.FactorLayout({"shape": 2, "residual": 2})
SHARED = np.tile([True, False], (64, 1))
SMALL = iin_jax.InterpretationFlow(4, 2, 16, 1)
TINY = iin_jax.InterpretationFlow(4, 1, 8, 0)
LAYOUT_OF_C = iin_jax.FactorLayout({"c": 2, "residual": 2})
# of fits that learn nothing: alike, so that their programs are compiled once
BRIEF = {"sigma": 0.9, "steps": 2, "batch_size": 8, "progress": False}


def mixed_pairs(count=4000, seed=0):
    """Two shared numbers and two private ones, mixed by a rotation."""
    rng = np.random.default_rng(seed)
    concept = rng.standard_normal((count, 2))
    private = rng.standard_normal((2, count, 2))
    rotation = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    noise = 0.05 * rng.standard_normal((2, count, 2))
    halves = [np.hstack([concept + noise[i], private[i]]) @ rotation for i in range(2)]
    return *halves, concept


def held_out_r2(inputs, targets, seen):
    """R^2 of a linear probe fitted to the first ``seen`` rows, on the others."""
    inputs, targets = np.asarray(inputs), np.asarray(targets)
    probe = LinearRegression().fit(inputs[:seen], targets[:seen])
    return probe.score(inputs[seen:], targets[seen:])


@pytest.mark.thorough
def test_the_shared_factor_holds_what_pairs_share():
    za, zb, concept = mixed_pairs(5000)
    fitted = iin_jax.fit(
        za[:4000],
        zb[:4000],
        np.tile([True, False], (4000, 1)),
        LAYOUT,
        SMALL,
        start="published",
        sigma=0.95,
        steps=200,
        batch_size=64,
        rate_per_example=5e-5,
        progress=False,
    )
    reads = {
        name: held_out_r2(part, concept, 4000)
        for name, part in fitted.to_factors(za).items()
    }
    assert reads["shape"] > 0.9
    assert reads["residual"] < 0.1


@pytest.mark.thorough
def test_a_learned_similarity_approaches_the_true_correlation():
    za, zb, _ = mixed_pairs()
    shared = np.tile([True, False], (len(za), 1))
    settings = {"steps": 300, "batch_size": 128, "rate_per_example": 3e-5}
    fitted = iin_jax.fit(
        za, zb, shared, LAYOUT, SMALL, sigma=None, **settings, progress=False
    )
    assert len(fitted.sigma) == 2
    assert fitted.sigma[0] > 0.95


@pytest.mark.thorough
def test_a_learned_similarity_stays_below_one_on_identical_halves():
    za, _, _ = mixed_pairs(500)
    shared = np.tile([True, False], (500, 1))
    settings = {"steps": 60, "batch_size": 32, "rate_per_example": 1e-3}
    fitted = iin_jax.fit(
        za, za, shared, LAYOUT, TINY, sigma=None, **settings, progress=False
    )
    assert 0.95 < fitted.sigma[0] < 1.0


def test_a_layout_must_name_the_labels_in_order(autoencoder):
    images = np.zeros((6, 8, 8, 3), np.float32)
    labels = {"d": np.arange(6) % 2, "c": np.array([0, 0, 1, 1, 0, 1])}
    for sizes in (
        {"residual": 4, "d": 2, "c": 2},
        {"c": 2, "d": 2, "residual": 4},
        {"d": 2, "c": 6},
    ):
        with pytest.raises(ValueError, match=r"\['d', 'c', 'residual'\]; got"):
            iin_jax.interpret(
                autoencoder,
                images,
                labels,
                layout=iin_jax.FactorLayout(sizes),
                progress=False,
            )


@pytest.mark.thorough
def test_a_similarity_of_any_number_type_can_be_saved(tmp_path):
    za, zb, _ = mixed_pairs(64)
    settings = BRIEF | {"sigma": np.float32(0.9)}
    fitted = iin_jax.fit(za, zb, SHARED, LAYOUT, TINY, **settings)
    fitted.save(tmp_path)
    assert iin_jax.load(tmp_path).sigma == pytest.approx(0.9)


def test_fits_are_reproducible():
    za, zb, _ = mixed_pairs(64)
    one, two, other = [
        iin_jax.fit(za, zb, SHARED, LAYOUT, TINY, seed=seed, **BRIEF).log_prob(za)
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(one, two)
    assert np.abs(np.asarray(one) - np.asarray(other)).max() > 1e-3


def test_interpret_finds_the_concepts_of_a_network():
    """Images whose halves carry one concept each, an invertible linear network."""
    rng = np.random.default_rng(0)
    labels = {"left": rng.integers(0, 4, 600), "right": rng.integers(0, 4, 600)}
    images = 0.05 * rng.standard_normal((600, 2, 2, 1)).astype(np.float32)
    images[:, :, 0, 0] += 0.3 * (labels["left"][:, None] - 1.5) / 1.5
    images[:, :, 1, 0] += 0.3 * (labels["right"][:, None] - 1.5) / 1.5
    network = linear_network(images, rng)
    seen = {name: codes[:400] for name, codes in labels.items()}
    fitted = iin_jax.interpret(
        network, images[:400], seen, flow=TINY, steps=60, batch_size=64, progress=False
    )
    assert fitted.layout.names == ("left", "right", "residual")
    one, other = images[400:500], images[500:]
    edited = np.asarray(fitted.swap(one, other, ["left"]))
    moved = np.abs(edited - one).mean((0, 3))
    target = other[:, :, 0].mean(1) - edited[:, :, 0].mean(1)
    assert np.abs(target).mean() < 0.15
    assert moved[:, 1].mean() < 0.1 < moved[:, 0].mean()


@pytest.mark.thorough
def test_interpret_takes_labels_as_data_frames_have_them():
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (200, 2, 2, 1)).astype(np.float32)
    person = rng.integers(0, 8, 200)
    name = pd.Series(person).map("p{}".format).astype("category")
    name = name.where(np.arange(200) > 5)
    sex = pd.Series(person % 2 > 0).astype("boolean").where(np.arange(200) < 190)
    rare = np.where(
        np.arange(200) == 7, "rare", np.where(images[:, 0, 0, 0] > 0, "b", "d")
    )
    frame = pd.DataFrame({"name": name, "sex": sex, "side": rare})
    layout = iin_jax.FactorLayout({"name": 1, "sex": 1, "side": 1, "residual": 1})
    settings = {"flow": TINY, "layout": layout, "start": "published", **BRIEF}
    with pytest.warns(UserWarning, match="'side': 1 of 200 entries have no partner"):
        fitted = iin_jax.interpret(
            linear_network(images, rng), images, frame, **settings
        )
    assert fitted.layout.names == ("name", "sex", "side", "residual")


def linear_network(images, rng):
    """A network that mixes all four pixels, and its inverse."""
    shape = images.shape[1:]
    mixing = np.linalg.qr(rng.standard_normal((4, 4)))[0].astype(np.float32)
    return from_functions(
        lambda w, x: x.reshape(len(x), -1) @ w,
        lambda w, z: (z @ w.T).reshape(len(z), *shape),
        jnp.asarray(mixing),
        image_shape=shape,
    )


@pytest.mark.slow
def test_a_graded_concept_is_found_where_values_are_missing():
    """A continuous value on one pixel, a label on another; a third of both unknown."""
    rng = np.random.default_rng(0)
    age = rng.gamma(2.0, 10.0, 4000)
    kind = rng.integers(0, 2, 4000)
    images = 0.25 * rng.standard_normal((4000, 2, 2, 1)).astype(np.float32)
    images[:, 0, 0, 0] = 0.9 * np.tanh((age - 20) / 20)
    images[:, 1, 1, 0] = (kind - 0.5) * 1.5 + 0.05 * rng.standard_normal(4000)
    images = np.clip(images, -1, 1)
    gaps, seen = rng.random((2, 3000)) < 1 / 3, slice(3000)
    fitted = iin_jax.interpret(
        linear_network(images, rng),
        images[seen],
        {"kind": np.ma.array(kind[seen], mask=gaps[0])},
        graded={"age": np.where(gaps[1], np.nan, age[seen])},
        layout=iin_jax.FactorLayout({"kind": 1, "age": 1, "residual": 2}),
        flow=iin_jax.InterpretationFlow(4, 4, 32, 1),
        steps=400,
        batch_size=256,
        progress=False,
    )
    parts = fitted.to_factors(fitted.encode(images))
    order = np.argsort(np.argsort(age))[:, None]
    reads = {
        name: [held_out_r2(part, y, 3000) for y in (kind, order)]
        for name, part in parts.items()
    }
    assert reads["kind"][0] > 0.8 and reads["age"][1] > 0.8
    assert max(reads["kind"][1], reads["age"][0], *reads["residual"]) < 0.1


@pytest.mark.thorough
def test_sizes_of_graded_concepts_are_estimated_from_quantile_classes():
    rng = np.random.default_rng(0)
    age, kind = rng.uniform(-1, 1, 400), rng.integers(0, 2, 400)
    images = 0.1 * rng.standard_normal((400, 2, 2, 1)).astype(np.float32)
    images[:, 0, :, 0] = 0.9 * age[:, None]
    settings = {"flow": TINY, **BRIEF}
    network = linear_network(images, rng)
    fitted = iin_jax.interpret(
        network, images.clip(-1, 1), {"kind": kind}, graded={"age": age}, **settings
    )
    assert fitted.layout.names == ("kind", "age", "residual")
    assert fitted.layout["age"] >= 1 and fitted.layout["kind"] == 0


@pytest.mark.thorough
def test_without_concepts_the_flow_makes_latents_normal():
    rng = np.random.default_rng(0)
    images = np.zeros((4000, 2, 2, 1), np.float32)
    images[:, 0, :, 0] = 0.2 * rng.standard_normal((4000, 2))
    images[:, 1, :, 0] = 8 * images[:, 0, :, 0] ** 2 - 0.4
    images += 0.03 * rng.standard_normal(images.shape).astype(np.float32)
    images = images.clip(-1, 1)
    settings = {"steps": 250, "batch_size": 256, "progress": False}
    network = linear_network(images, rng)
    flow = iin_jax.InterpretationFlow(4, 3, 32, 1)
    fitted = iin_jax.interpret(network, images[:3000], {}, flow=flow, **settings)
    assert fitted.layout == iin_jax.FactorLayout({"residual": 4})
    z = np.asarray(fitted.encode(images))
    seen, unseen = z[:3000], z[3000:]
    gaussian = stats.multivariate_normal(seen.mean(0), np.cov(seen.T)).logpdf(unseen)
    assert np.asarray(fitted.log_prob(unseen)).mean() > gaussian.mean() + 1.0
    with pytest.raises(ValueError, match="no similarity can be learned"):
        iin_jax.interpret(network, images, {}, sigma=None, flow=flow, **settings)
    with pytest.raises(ValueError, match="pairs need labels"):
        iin_jax.interpret(network, images, {}, differ=["age"], flow=flow, **settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"za": np.zeros((0, 4)), "zb": np.zeros((0, 4))}, "n >= 1; got shape"),
        ({"zb": normal((63, 4))}, "of one length"),
        ({"shared": SHARED[:5]}, "of one length"),
        ({"shared": SHARED[:, :1]}, "one column per factor"),
        ({"shared": SHARED.astype(float)}, "must be bool"),
        ({"layout": iin_jax.FactorLayout({"a": 1, "residual": 2})}, "sum to 3"),
        ({"sigma": 1.0}, r"similarity in \(0, 1\)"),
        ({"sigma": 0.0}, r"similarity in \(0, 1\)"),
        ({"za": normal((64, 4)).at[3, 1].set(jnp.nan)}, "za latents.*row 3"),
        ({"batch_size": 0}, "at least 1; got 0"),
        ({"steps": 0}, "at least 1; got 0"),
        ({"sigma": np.full(8, 0.9)}, "sigma is one number"),
        ({"sigma": 1.0 - 1e-9}, r"similarity in \(0, 1\)"),
    ],
)
def test_mistakes_are_one_clear_line(change, message):
    arguments = {
        "za": normal((64, 4)),
        "zb": normal((64, 4), 1),
        "shared": SHARED,
        "layout": LAYOUT,
        "flow": None,
        **BRIEF,
    }
    if "za" not in change or change["za"].shape[1] == 4:
        arguments["flow"] = TINY
    with pytest.raises(ValueError, match=message) as error:
        iin_jax.fit(**(arguments | change))
    assert "\n" not in str(error.value)


def test_interpret_refuses_bad_images_and_labels(autoencoder):
    images = np.zeros((6, 8, 8, 3), np.float32)
    labels = {"digit": np.arange(6) % 2, "color": np.array([0, 1, 2, 0, 1, 2])}
    with pytest.raises(ValueError, match=r"got uint8.*127.5"):
        iin_jax.interpret(autoencoder, images.astype(np.uint8), labels)
    with pytest.raises(ValueError, match="5 labels for 6 images"):
        iin_jax.interpret(autoencoder, images, {"digit": np.arange(5)})
    with pytest.raises(ValueError, match="'age' has 5 labels for 6 images"):
        iin_jax.interpret(autoencoder, images, {}, graded={"age": np.arange(5.0)})
    with pytest.raises(ValueError, match="can form no pair"):
        iin_jax.interpret(autoencoder, images, {"digit": np.arange(6)})


@pytest.mark.thorough
def test_constant_components_are_warned_of():
    za, zb = np.array(normal((64, 4))), np.array(normal((64, 4), 1))
    za[:, 2] = zb[:, 2] = 1.0
    with pytest.warns(UserWarning, match="1 of 4 latent components never vary"):
        fitted = iin_jax.fit(za, zb, SHARED, LAYOUT, TINY, **BRIEF)
    assert np.isfinite(fitted.log_prob(za)).all()


@pytest.mark.parametrize(
    "flow",
    [
        pytest.param(None, marks=pytest.mark.slow),
        pytest.param(
            iin_jax.InterpretationFlow(9, 1, 8, 0), marks=pytest.mark.thorough
        ),
    ],
)
def test_what_never_varies_is_carried(flow, tmp_path):
    """One constant component, one copy and one sum of others, of nine."""
    za, zb = np.array(normal((200, 9))), np.array(normal((200, 9), 1))
    zb[:, 0] = za[:, 0]
    for z in (za, zb):
        z[:, 3], z[:, 4], z[:, 5] = 7.0, z[:, 0], z[:, 1] + z[:, 2]
    layout = iin_jax.FactorLayout({"same": 2, "residual": 7})
    shared = np.tile([True, False], (200, 1))
    with pytest.warns(UserWarning) as warned:
        fitted = iin_jax.fit(za, zb, shared, layout, flow, **BRIEF)
    said = " ".join(str(each.message) for each in warned)
    assert "1 of 9 latent components never vary" in said
    assert "2 of 9 latent components are copies or sums of others" in said
    start = fitted.without_flow().translate(za)
    moved = fitted.translate(za)
    np.testing.assert_allclose(moved[:, -3:], start[:, -3:], atol=1e-6)
    np.testing.assert_allclose(start[:, -3:], 0.0, atol=1e-4)
    np.testing.assert_allclose(np.asarray(start).std(0)[:6], 1.0, atol=0.1)
    swapped = fitted.untranslate(layout.swap(moved, fitted.translate(zb), ["same"]))
    np.testing.assert_allclose(swapped[:, 3], 7.0, atol=1e-4)
    np.testing.assert_allclose(swapped[:, 4], swapped[:, 0], atol=1e-3)
    np.testing.assert_allclose(swapped[:, 5], swapped[:, 1] + swapped[:, 2], atol=1e-3)
    fitted.save(tmp_path)
    again = iin_jax.load(tmp_path)
    assert again.flow == fitted.flow
    np.testing.assert_array_equal(again.translate(za), moved)


@pytest.mark.parametrize("copies", [0, 2])
def test_constant_components_are_not_counted_as_copies(copies, recwarn):
    """Any directions among several constant components never vary either."""
    z = np.array(normal((300, 16)))
    z[:, 5:10] = 7.0
    z[:, 10 : 10 + copies] = 2.0 * z[:, :copies]
    whitening = fit_whitening(z)
    assert whitening.rank == 11 - copies
    warn_of_dependence(whitening)
    said = [str(each.message).split(" latent")[0] for each in recwarn]
    assert said == (["2 of 16"] if copies else [])


def test_estimated_sizes_fit_into_what_varies():
    """Three dead units of eight, and classes along all the others."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 6, 300)
    z = rng.standard_normal((300, 8)) + 6.0 * np.eye(8)[codes % 5] * (
        codes[:, None] < 5
    )
    z[:, 5:] = 0.0
    pairs = iin_jax.concepts.LabelPairs({"c": codes}, {}, np.arange(300))
    train, unseen = PreparedLatents(z, None, pairs, np.arange(300)).split(0.2, 0)
    for estimator in ("shared_rank", "pooled"):
        view = train.view(0)
        layout = estimated_sizes(train, unseen, estimator, 0, view=view).layout
        assert layout.dim == 8 and 1 <= layout["c"] <= 5
        assert view.start({"c": layout["c"]}) is not None


@pytest.mark.parametrize(
    ("flow", "start"),
    [
        pytest.param(None, "closed_form", marks=pytest.mark.slow),
        pytest.param(None, "published", marks=pytest.mark.slow),
        pytest.param(
            iin_jax.InterpretationFlow(5, 1, 8, 0),
            "closed_form",
            marks=pytest.mark.thorough,
        ),
    ],
)
def test_an_odd_number_of_dimensions_is_handled(flow, start):
    za, zb = np.array(normal((64, 5))), np.array(normal((64, 5), 1))
    zb[:, 0] = za[:, 0]
    layout = iin_jax.FactorLayout({"same": 1, "residual": 4})
    shared = np.tile([True, False], (64, 1))
    fitted = iin_jax.fit(za, zb, shared, layout, flow, start=start, **BRIEF)
    z = fitted.untranslate(fitted.translate(za))
    np.testing.assert_allclose(z, za, atol=1e-4)


def test_latents_of_other_frameworks_are_arrays_too():
    class Tensor:
        """What PyTorch tensors offer NumPy."""

        def __init__(self, values):
            self.values = values

        def __array__(self, dtype=None, copy=None):
            return np.asarray(self.values, dtype)

    za, zb, _ = mixed_pairs(64)
    fitted = iin_jax.fit(Tensor(za), Tensor(zb), SHARED, LAYOUT, TINY, **BRIEF)
    assert np.isfinite(fitted.log_prob(za)).all()


def test_spatial_latents_are_fitted_flat():
    za, zb, _ = mixed_pairs(64)
    shapes = [np.reshape(z, (64, 1, 2, 2)) for z in (za, zb)]
    spatial = iin_jax.fit(*shapes, SHARED, LAYOUT, TINY, **BRIEF)
    flat = iin_jax.fit(za, zb, SHARED, LAYOUT, TINY, **BRIEF)
    np.testing.assert_array_equal(spatial.translate(shapes[0]), flat.translate(za))


def test_a_batch_grows_to_what_the_devices_divide():
    za, zb, _ = mixed_pairs(64)
    with pytest.warns(UserWarning, match=r"batch of 7 does not divide.*one of 8 here"):
        odd = iin_jax.fit(za, zb, SHARED, LAYOUT, TINY, **BRIEF | {"batch_size": 7})
    even = iin_jax.fit(za, zb, SHARED, LAYOUT, TINY, **BRIEF | {"batch_size": 8})
    np.testing.assert_array_equal(odd.translate(za), even.translate(za))


def test_several_processes_are_one_clear_line(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    za, zb, _ = mixed_pairs(64)
    with pytest.raises(ValueError, match=r"several hosts.*2 processes"):
        iin_jax.fit(za, zb, SHARED, LAYOUT, TINY, **BRIEF)


@pytest.mark.thorough
def test_fields_of_numpy_types_are_saved(tmp_path):
    za, zb, _ = mixed_pairs(64)
    flow = iin_jax.InterpretationFlow(np.int64(4), np.int32(1), 8, 1)
    fitted = iin_jax.fit(za, zb, SHARED, LAYOUT, flow, **BRIEF)
    fitted.save(tmp_path / "it")
    loaded = iin_jax.load(tmp_path / "it")
    np.testing.assert_array_equal(loaded.translate(za), fitted.translate(za))


def curved_pairs(count, seed):
    """Four shared numbers among sixteen, seen through a curved mixing."""
    rng = np.random.default_rng(seed)
    mixing = np.linalg.qr(np.random.default_rng(9).standard_normal((16, 16)))[0]
    common = rng.standard_normal((count, 4))
    halves = []
    for _ in range(2):
        mixed = np.hstack([common, rng.standard_normal((count, 12))]) @ mixing
        halves.append((mixed + 0.5 * np.sin(2 * mixed)).astype("float32"))
    return halves


CURVED = iin_jax.FactorLayout({"c": 4, "residual": 12})


@pytest.mark.thorough
def test_few_pairs_are_not_learned_by_heart():
    za, zb = curved_pairs(200, 0)
    shared = np.tile([True, False], (200, 1))
    flow = iin_jax.InterpretationFlow(16, 2, 32, 1)
    fitted = iin_jax.fit(za, zb, shared, CURVED, flow, steps=200, progress=False)
    unseen, _ = curved_pairs(2000, 1)
    bits = -np.asarray(fitted.log_prob(unseen)).mean() / 16 / np.log(2)
    seen = np.concatenate([za, zb])
    assert bits < iin_jax.losses.gaussian_reference(seen, unseen) + 0.05


@pytest.mark.slow
def test_defaults_suit_the_number_of_pairs_and_beat_a_gaussian_on_new_ones():
    za, zb = curved_pairs(3000, 0)
    shared = np.tile([True, False], (3000, 1))
    fitted = iin_jax.fit(za, zb, shared, CURVED, steps=300, progress=False)
    assert sum(x.size for x in jax.tree.leaves(fitted.variables["params"])) < 1e6
    unseen_a, unseen_b = curved_pairs(2000, 1)
    bits = -np.asarray(fitted.log_prob(unseen_a)).mean() / 16 / np.log(2)
    seen = np.concatenate([za, zb])
    assert bits < iin_jax.losses.gaussian_reference(seen, unseen_a) + 0.02
    a, b = (np.asarray(fitted.to_factors(z)["c"]) for z in (unseen_a, unseen_b))
    assert min(np.corrcoef(a[:, k], b[:, k])[0, 1] for k in range(4)) > 0.8
    alone = fitted.without_flow()
    assert alone.layout == fitted.layout


def test_a_start_is_in_no_units():
    za, zb, _ = mixed_pairs(64)
    scale = np.array([1.0, 1e-4, 1e-2, 1e-3])
    one = iin_jax.fit(za, zb, SHARED, LAYOUT, TINY, **BRIEF)
    other = iin_jax.fit(za * scale, zb * scale, SHARED, LAYOUT, TINY, **BRIEF)
    np.testing.assert_allclose(
        one.translate(za.astype("float32")),
        other.translate((za * scale).astype("float32")),
        atol=3e-2,  # rounding of the scaled latents, and what training makes of it
    )


def test_a_published_start_is_as_it_was():
    za, zb, _ = mixed_pairs(64)
    fitted = iin_jax.fit(za, zb, SHARED, LAYOUT, TINY, start="published", **BRIEF)
    assert fitted.flow == TINY and not fitted.has_start
    with pytest.raises(ValueError, match="noise is in units of a linear start"):
        iin_jax.fit(za, zb, SHARED, LAYOUT, TINY, start="published", noise=0.1, **BRIEF)
    with pytest.raises(ValueError, match="start is one of"):
        iin_jax.fit(za, zb, SHARED, LAYOUT, TINY, start="linear", **BRIEF)


@pytest.mark.thorough
def test_what_was_held_out_is_said():
    za, zb, _ = mixed_pairs(64)
    with pytest.warns(UserWarning, match="nothing was held out"):
        iin_jax.fit(za, zb, SHARED, LAYOUT, TINY, held_out=0.0, **BRIEF)
    index = np.arange(64) % 10  # ten images, each in many pairs
    with pytest.warns(UserWarning, match="pairs are left out"):
        iin_jax.fit(
            za,
            zb,
            SHARED,
            LAYOUT,
            TINY,
            index_a=index,
            index_b=(index + np.arange(64) // 10 + 1) % 10,
            held_out=0.2,
            **BRIEF,
        )


@pytest.mark.parametrize(
    ("za", "zb", "message"),
    [
        (normal((1, 4)), normal((1, 4), 1), "no pair to judge by"),
        (np.ones((64, 4)), np.ones((64, 4)), "no component of the 128 latents varies"),
        (
            np.tile(normal((1, 4)), (64, 1)),
            np.tile(normal((1, 4), 1), (64, 1)),
            "judge",
        ),
    ],
)
def test_latents_that_say_nothing_are_one_clear_line(za, zb, message):
    shared = np.tile([True, False], (len(za), 1))
    with pytest.raises(ValueError, match=message) as error:
        iin_jax.fit(za, zb, shared, LAYOUT, TINY, steps=1, batch_size=8)
    assert "\n" not in str(error.value)


@pytest.mark.thorough
def test_fewer_pairs_than_dimensions_work_and_it_is_said():
    rng = np.random.default_rng(0)
    za, zb = rng.standard_normal((2, 4, 8)).astype("float32")
    zb[:, :2] = za[:, :2]
    layout = iin_jax.FactorLayout({"c": 2, "residual": 6})
    shared = np.tile([True, False], (4, 1))
    flow = iin_jax.InterpretationFlow(8, 1, 8, 0)
    with pytest.warns(UserWarning, match="3 pairs for 8 dimensions"):
        fitted = iin_jax.fit(za, zb, shared, layout, flow, **BRIEF)
    assert np.isfinite(fitted.log_prob(za)).all()


@pytest.mark.thorough
def test_similarities_may_be_of_each_factor_or_pair():
    rng = np.random.default_rng(0)
    za, zb, _ = mixed_pairs(64)
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    settings = {name: x for name, x in BRIEF.items() if name != "sigma"}
    each = iin_jax.fit(za, zb, SHARED, LAYOUT, TINY, sigma=(0.9, 0.5), **settings)
    assert each.sigma == (0.9, 0.5)
    row = np.array([[0.9, 0.5]])
    assert iin_jax.fit(za, zb, SHARED, LAYOUT, TINY, sigma=row, **settings).sigma == (
        pytest.approx(0.9),
        0.5,
    )
    za, zb, _ = mixed_pairs(600)
    shared = np.tile([True, False], (600, 1))
    alike = rng.random(600) < 0.5  # half of the pairs have nothing in common
    other = zb[rng.permutation(600)] @ rotation.T
    zb = np.where(alike[:, None], zb, other @ rotation)
    graded = np.stack([np.where(alike, 0.98, 0.01), np.full(600, 0.5)], axis=1)
    fitted = iin_jax.fit(za, zb, shared, LAYOUT, TINY, sigma=graded, **settings)
    a, b = (np.asarray(fitted.to_factors(z)["shape"])[alike] for z in (za, zb))
    assert np.corrcoef(a[:, 0], b[:, 0])[0, 1] > 0.9
    with pytest.raises(ValueError, match="one per pair and factor"):
        iin_jax.fit(za, zb, shared, LAYOUT, TINY, sigma=graded[:5], **settings)


@pytest.mark.thorough
def test_too_few_held_out_pairs_choose_nothing():
    images = np.tanh(np.asarray(normal((120, 2, 2, 1))))
    network = iin_jax.networks.from_functions(
        lambda variables, x: x.reshape(len(x), 4),
        lambda variables, z: z,
        {},
        image_shape=(2, 2, 1),
        output="logits",
    )
    a, b = 2 * np.arange(20), 2 * np.arange(20) + 1
    pairs = iin_jax.concepts.ExplicitPairs.of(("c",), a, b, np.ones((20, 1), bool), 120)
    settings = {"flow": TINY, "pairs": pairs, "layout": LAYOUT_OF_C, **BRIEF}
    with pytest.warns(
        UserWarning, match=r"^\d held-out pairs of a concept cannot tell"
    ):
        fitted = iin_jax.interpret(network, images, **settings)
    z = images.reshape(-1, 4)
    start = fitted.without_flow().translate(z)
    np.testing.assert_allclose(fitted.translate(z), start, atol=1e-5)
    with pytest.warns(UserWarning, match="nothing was held out"):
        trained = iin_jax.interpret(network, images, **settings, held_out=0.0)
    assert not np.allclose(trained.translate(z), start, atol=1e-5)


@pytest.mark.thorough
def test_explicit_pairs_of_one_image_are_said():
    images = np.tanh(np.asarray(normal((40, 4, 4, 1))))
    network = iin_jax.networks.from_functions(
        lambda variables, x: x.reshape(len(x), 16)[:, :6],
        lambda variables, z: z,
        {},
        image_shape=(4, 4, 1),
        output="logits",
    )
    a, b = 2 * np.arange(20), 2 * np.arange(20) + 1
    image = np.arange(40)
    image[1] = 0  # the first pair is of one image
    pairs = iin_jax.concepts.ExplicitPairs.of(
        ("c",), a, b, np.ones((20, 1), bool), 40, image=image
    )
    layout = iin_jax.FactorLayout({"c": 2, "residual": 4})
    with pytest.warns(UserWarning, match="1 of 20 pairs are of one image with itself"):
        iin_jax.interpret(
            network,
            images,
            flow=iin_jax.InterpretationFlow(6, 1, 8, 0, zero_init=True),
            pairs=pairs,
            layout=layout,
            steps=2,
            progress=False,
        )
