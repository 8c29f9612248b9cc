"""A share of wrong pairs: through fit, interpret and the settings of a run."""

import dataclasses
import importlib

import numpy as np
import pytest

import iin_jax
from iin_jax import losses
from iin_jax.networks import from_functions
from iin_jax.runs import stages
from iin_jax.runs.command import parse
from iin_jax.runs.conditions import check
from iin_jax.runs.configs import find
from iin_jax.runs.differences import completed
from iin_jax.runs.settings import ConceptSettings, Experiment, TrainSettings
from iin_jax.training import flow_training

LAYOUT = iin_jax.FactorLayout({"shape": 2, "residual": 2})
TINY = iin_jax.InterpretationFlow(4, 1, 8, 0)
BRIEF = {"steps": 2, "batch_size": 8, "progress": False}
SIMILAR, WRONG = 0.9, 0.2


def pairs_of_arrays(count=4000, wrong=WRONG, seed=0):
    """Halves that share two of four numbers, under a rotation."""
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, count, 4))
    alike = rng.random(count) >= wrong
    rest = np.sqrt(1 - SIMILAR**2)
    b[alike, :2] = SIMILAR * a[alike, :2] + rest * b[alike, :2]
    turn = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    return a @ turn, b @ turn, np.tile([True, False], (count, 1))


def pixels_as_latents():
    """A network of which z is its image's four pixels, four times as large."""
    return from_functions(
        encode=lambda scale, images: scale["z"] * images.reshape(-1, 4),
        decode=lambda scale, z: (z / scale["z"]).reshape(-1, 1, 4, 1),
        variables={"z": np.float32(4.0)},
        image_shape=(1, 4, 1),
    )


@pytest.mark.thorough
def test_a_learned_similarity_is_that_of_the_right_pairs():
    learned = {}
    for name, loss in (("mixture", losses.mixture_loss(WRONG)), ("plain", None)):
        fitted = iin_jax.fit(
            *pairs_of_arrays(), LAYOUT, TINY, loss, sigma=None, **BRIEF
        )
        learned[name] = fitted.sigma[0]
    assert learned["mixture"] == pytest.approx(SIMILAR, abs=0.02)
    assert learned["plain"] == pytest.approx((1 - WRONG) * SIMILAR, abs=0.03)


@pytest.mark.thorough
def test_similarities_of_a_start_are_counted_over_right_pairs(monkeypatch):
    """As "auto" they are held, sharpened; wrong pairs would lower them."""
    starts = []

    def spy(flow, layout, feed, plan, **options):
        starts.append(options["start"].sigma["shape"])
        return flow_training.train_flow(flow, layout, feed, plan, **options)

    monkeypatch.setattr(importlib.import_module("iin_jax.fit"), "train_flow", spy)
    for loss in (losses.mixture_loss(WRONG), None):
        iin_jax.fit(*pairs_of_arrays(), LAYOUT, TINY, loss, **BRIEF)
    assert starts[0] == pytest.approx(SIMILAR, abs=0.03)
    assert starts[1] == pytest.approx((1 - WRONG) * SIMILAR, abs=0.03)


@pytest.mark.thorough
def test_held_out_figures_are_those_of_the_loss_that_is_trained(monkeypatch):
    """The kept state has the lowest held-out mixture, not the lowest likelihood."""
    seen = []
    run = flow_training._run

    def spy(runner, state, plan, validated, beside, sinks):
        seen.append(validated.validate(state))
        return run(runner, state, plan, validated, beside, sinks)

    monkeypatch.setattr(flow_training, "_run", spy)
    for wrong in (0.0, WRONG):
        loss = losses.mixture_loss(wrong)
        iin_jax.fit(*pairs_of_arrays(), LAYOUT, TINY, loss, sigma=0.99, **BRIEF)
    plain, mixture = (figures["loss"] for figures in seen)
    assert seen[0]["bits_per_dim"] == pytest.approx(seen[1]["bits_per_dim"])
    # a wrong pair costs (b - s a)^2 / (1 - s^2) of two components under the likelihood
    assert plain > mixture + 10.0


@pytest.mark.thorough
def test_interpret_takes_the_mixture():
    rng = np.random.default_rng(0)
    images = np.clip(rng.standard_normal((80, 1, 4, 1)) / 4, -1, 1).astype(np.float32)
    network = pixels_as_latents()
    labels = {"shape": np.arange(80) // 4}
    settings = {"layout": LAYOUT, "start": "published", "held_out": 0, **BRIEF}
    with pytest.warns(UserWarning, match="nothing was held out"):
        it = iin_jax.interpret(
            network, images, labels, TINY, losses.mixture_loss(0.2), **settings
        )
    assert np.isfinite(it.translate(np.asarray(images.reshape(-1, 4)))).all()


def test_a_run_trains_on_the_mixture(tmp_path):
    config, folder = find("digits"), ["--workdir", str(tmp_path / "run")]
    flags = [*folder, "--train.wrong-pairs", "0.2"]
    experiment = parse(config, flags).experiment
    assert experiment.train.wrong_pairs == 0.2
    loss = stages._loss(experiment)
    assert loss is not None and losses.wrong_share(loss(LAYOUT)) == 0.2
    with_terms = dataclasses.replace(experiment.train, terms={"independence": 0.1})
    loss = stages._loss(dataclasses.replace(experiment, train=with_terms))
    assert loss is not None and losses.wrong_share(loss(LAYOUT)) == 0.2
    assert len(loss(LAYOUT).parts) == 2
    assert stages._loss(parse(config, folder).experiment) is None


def test_settings_of_older_runs_have_no_wrong_pairs():
    usual = dataclasses.asdict(TrainSettings())
    recorded = {name: x for name, x in usual.items() if name != "wrong_pairs"}
    assert completed(recorded, usual)["wrong_pairs"] == 0.0


@pytest.mark.parametrize("wrong", [-0.1, 1.0, np.nan])
def test_a_setting_outside_its_range_is_one_clear_line(wrong):
    experiment = Experiment(train=TrainSettings(wrong_pairs=wrong))
    message = r"train\.wrong_pairs is a share between 0 and 1, without 1; got"
    with pytest.raises(ValueError, match=message):
        check(experiment)


def test_wrong_pairs_need_pairs():
    experiment = Experiment(
        concept=ConceptSettings(source="none"), train=TrainSettings(wrong_pairs=0.2)
    )
    with pytest.raises(ValueError, match=r"train\.wrong_pairs is a share of pairs"):
        check(experiment)


@pytest.mark.parametrize(
    ("value", "message"),
    [(False, "all 200 pairs share nothing"), (True, "all 200 pairs share every")],
)
def test_pairs_that_tell_no_factors_apart_are_refused(value, message):
    za, zb, shared = pairs_of_arrays(200)
    shared[:] = value
    with pytest.raises(ValueError, match=message):
        iin_jax.fit(za, zb, shared, LAYOUT, TINY, **BRIEF)


@pytest.mark.parametrize(
    ("value", "message"),
    [(False, "3 of 200 pairs share nothing"), (True, "3 of 200 pairs share every")],
)
def test_some_pairs_that_tell_no_factors_apart_are_counted(value, message):
    za, zb, shared = pairs_of_arrays(200)
    shared[:3] = value
    with pytest.warns(UserWarning, match=message):
        iin_jax.fit(za, zb, shared, LAYOUT, TINY, **BRIEF)


def test_persons_with_single_images_are_refused():
    network = pixels_as_latents()
    images = np.random.default_rng(0).uniform(-1, 1, (40, 1, 4, 1))
    with pytest.raises(ValueError, match="person"):
        iin_jax.interpret(
            network, images, {"person": np.arange(40)}, layout=LAYOUT, **BRIEF
        )


@pytest.mark.parametrize("sigma", [0.0, 1.0, -0.5])
def test_a_similarity_outside_its_range_is_refused(sigma):
    message = r"sigma is a similarity in \(0, 1\)"
    with pytest.raises(ValueError, match=message):
        iin_jax.fit(*pairs_of_arrays(200), LAYOUT, TINY, sigma=sigma, **BRIEF)
