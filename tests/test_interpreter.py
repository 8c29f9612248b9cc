"""The interpreter: factors and back, edits, files, the certificate."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import iin_jax
from iin_jax.files.json_files import read_description
from iin_jax.networks import Classifier, ClassifierNetwork, from_functions
from tests.conftest import normal, perturbed


def test_factors_map_back_exactly(interpreter, images):
    z = interpreter.encode(images)
    parts = interpreter.to_factors(z)
    assert {name: part.shape for name, part in parts.items()} == {
        "digit": (8, 3),
        "color": (8, 2),
        "residual": (8, 3),
    }
    np.testing.assert_allclose(interpreter.from_factors(parts), z, atol=1e-4)


def test_a_swap_moves_one_factor_alone(interpreter, images):
    a, b = images[:4], images[4:]
    out = interpreter.swap(a, b, ["digit"])
    parts_a = interpreter.to_factors(interpreter.encode(a))
    parts_b = interpreter.to_factors(interpreter.encode(b))
    mixed = {**parts_a, "digit": parts_b["digit"]}
    expected = interpreter.decode(interpreter.from_factors(mixed))
    np.testing.assert_allclose(out, expected, atol=1e-5)
    assert np.abs(np.asarray(out) - np.asarray(interpreter.swap(a, b, []))).max() > 1e-3


def test_no_edit_changes_nothing_and_a_full_swap_is_the_other(interpreter, images):
    a, b = images[:4], images[4:]
    plain_a = interpreter.decode(interpreter.encode(a))
    plain_b = interpreter.decode(interpreter.encode(b))
    np.testing.assert_allclose(interpreter.swap(a, b, []), plain_a, atol=1e-4)
    every = interpreter.layout.names
    np.testing.assert_allclose(interpreter.swap(a, b, every), plain_b, atol=1e-4)


def test_interpolation_runs_from_a_to_the_swap(interpreter, images):
    a, b = images[:4], images[4:]
    path = interpreter.interpolate(a, b, ["color"], steps=5)
    assert path.shape == (5, 4, 8, 8, 3)
    np.testing.assert_allclose(path[0], interpreter.swap(a, b, []), atol=1e-5)
    np.testing.assert_allclose(path[-1], interpreter.swap(a, b, ["color"]), atol=1e-5)
    arc = interpreter.interpolate(a, b, ["color"], steps=3, path="arc")
    z_a, z_b = (interpreter.translate(interpreter.encode(x)) for x in (a, b))
    middle = interpreter.layout.interpolate(z_a, z_b, ["color"], steps=3, path="arc")
    expected = interpreter.decode(interpreter.untranslate(middle[1]))
    np.testing.assert_allclose(arc[1], expected, atol=1e-4)
    assert np.abs(arc[1] - path[2]).max() > 1e-3


def test_samples_vary_in_one_factor_alone(interpreter, images):
    key = jax.random.key(0)
    out = interpreter.sample(images, ["color"], key, count=3)
    assert out.shape == (3, 8, 8, 8, 3)
    draws = jax.random.normal(key, (3, 8, 8))
    z_tilde = interpreter.translate(interpreter.encode(images))
    where = interpreter.layout.slice("color")
    expected = z_tilde.at[:, where].set(draws[1][:, where])
    np.testing.assert_allclose(
        out[1], interpreter.decode(interpreter.untranslate(expected)), atol=1e-5
    )
    with pytest.raises(ValueError, match="samples >= 1"):
        interpreter.sample(images, ["color"], key, count=0)


def test_log_prob_is_a_density(interpreter):
    """Change of variables by hand: the Jacobian's determinant times the prior."""
    z = normal((3, 8), 4)

    def translate(vector):
        return interpreter.translate(vector[None])[0]

    jacobian = jax.vmap(jax.jacfwd(translate))(z)
    z_tilde = interpreter.translate(z)
    prior = -0.5 * (np.square(z_tilde) + np.log(2 * np.pi)).sum(1)
    expected = prior + np.linalg.slogdet(np.asarray(jacobian))[1]
    np.testing.assert_allclose(interpreter.log_prob(z), expected, atol=1e-3)


def test_files_bring_back_the_same_interpreter(interpreter, images, tmp_path):
    interpreter.save(tmp_path)
    loaded = iin_jax.load(tmp_path)
    assert loaded.layout == interpreter.layout and loaded.flow == interpreter.flow
    assert loaded.sigma == interpreter.sigma
    a, b = images[:4], images[4:]
    np.testing.assert_array_equal(
        loaded.swap(a, b, ["digit"]), interpreter.swap(a, b, ["digit"])
    )


def test_a_network_of_functions_is_attached_again(interpreter, images, tmp_path):
    weight = normal((192, 8), 2) / 10.0
    network = from_functions(
        lambda w, x: x.reshape(len(x), -1) @ w,
        lambda w, z: jnp.tanh(z @ w.T).reshape(len(z), 8, 8, 3),
        weight,
        image_shape=(8, 8, 3),
    )
    own = interpreter.with_network(network)
    own.save(tmp_path)
    loaded = iin_jax.load(tmp_path)
    with pytest.raises(ValueError, match="attach one with with_network"):
        loaded.encode(images)
    np.testing.assert_array_equal(
        loaded.with_network(network).swap(images, images, []),
        own.swap(images, images, []),
    )


def test_damaged_files_are_one_clear_line(interpreter, tmp_path):
    with pytest.raises(ValueError, match="no interpreter in"):
        iin_jax.load(tmp_path)
    interpreter.save(tmp_path)
    file = tmp_path / "flow.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="digest is wrong"):
        iin_jax.load(tmp_path)
    description = read_description(tmp_path / "interpreter.json")  # less its checksum
    (tmp_path / "interpreter.json").write_text(
        json.dumps({**description, "format": 99})
    )
    with pytest.raises(ValueError, match="format 99"):
        iin_jax.load(tmp_path)
    del description["layout"]
    for damaged, reason in (("{", "Expecting"), (json.dumps(description), "no entry")):
        (tmp_path / "interpreter.json").write_text(damaged)
        message = rf"interpreter\.json cannot be used: {reason}"
        with pytest.raises(ValueError, match=message):
            iin_jax.load(tmp_path)


@pytest.mark.thorough
def test_the_certificate_of_an_autoencoder(interpreter, images):
    certificate = interpreter.certify(images)
    assert certificate["round_trip_max_abs"] < 1e-4
    assert certificate["log_det_max_abs"] < 1e-3
    assert certificate["decode_max_abs"] < 1e-4
    assert certificate["latents"] == 8 and certificate["dtype"] == "float32"
    assert certificate["compiled_max_abs"] < 1e-4
    assert certificate["network_compiled_max_abs"] < 1e-4


@pytest.mark.parametrize("wrong", ["encode", "decode"])
def test_a_network_that_is_compiled_wrongly_is_said(interpreter, images, wrong):
    def times(weight, x, direction):
        compiled = isinstance(x, jax.core.Tracer)
        return weight * x * (0.1 if compiled and direction == wrong else 1.0)

    network = from_functions(
        lambda w, x: times(w, x, "encode").reshape(len(x), -1)[:, :8],
        lambda w, z: times(w, jnp.tile(z, 24), "decode").reshape(-1, 8, 8, 3),
        jnp.float32(0.5),
        image_shape=(8, 8, 3),
    )
    with pytest.warns(UserWarning, match="compiled results of the network") as warned:
        certificate = interpreter.with_network(network).certify(images)
    assert len(warned) == 1 and certificate["network_compiled_max_abs"] > 0.05


def test_the_certificate_of_a_classifier(interpreter, images):
    module = Classifier(4, 8, 8, 3, 2, 4)
    variables = perturbed(module.init(jax.random.key(0), images), 0.05)
    own = interpreter.with_network(ClassifierNetwork(module, variables))
    assert own.certify(images)["prediction_agreement"] == 1.0


@pytest.mark.thorough
def test_spatial_latents_are_flattened_and_restored(images):
    network = from_functions(
        lambda w, x: x * w,
        lambda w, z: jnp.tanh(z / w),
        jnp.float32(0.5),
        image_shape=(8, 8, 3),
    )
    flow = iin_jax.InterpretationFlow(192, 1, 8, 0)
    variables = flow.init(jax.random.key(0), normal((50, 192)))
    layout = iin_jax.FactorLayout({"shape": 92, "residual": 100})
    own = iin_jax.Interpreter(flow, variables, layout, network)
    z = own.encode(images)
    assert z.shape == (8, 8, 8, 3)
    np.testing.assert_allclose(own.from_factors(own.to_factors(z)), z, atol=1e-4)
    assert own.swap(images, images, ["shape"]).shape == images.shape


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda it, x: it.swap(x, x[:3], ["digit"]), "as many a as b"),
        (lambda it, x: it.swap(x, x, ["digits"]), "did you mean 'digit'"),
        (lambda it, x: it.swap(x, x, "digit"), "list of factors"),
        (lambda it, x: it.swap(127.5 * (x + 1), x, ["digit"]), "127.5 - 1"),
        (
            lambda it, x: it.to_factors(np.zeros((2, 7))),
            r"8 numbers each; got \(2, 7\)",
        ),
        (
            lambda it, x: iin_jax.Interpreter(
                it.flow, it.variables, iin_jax.FactorLayout({"a": 7})
            ),
            "sum to 7, but the latents have 8",
        ),
        (
            lambda it, x: it.with_network(
                from_functions(
                    lambda w, x: x.reshape(len(x), -1),
                    lambda w, z: z.reshape(-1, 8, 8, 3),
                    {},
                    image_shape=(8, 8, 3),
                )
            ),
            "the flow acts on 8 numbers",
        ),
    ],
)
def test_mistakes_are_one_clear_line(interpreter, images, call, message):
    with pytest.raises(ValueError, match=message) as error:
        call(interpreter, images)
    assert "\n" not in str(error.value)


def test_an_interpreter_is_shown_in_four_lines(interpreter):
    lines = repr(interpreter).splitlines()
    assert len(lines) == 4 and len(repr(interpreter)) < 1000
    assert lines[0].startswith(f"Interpreter of {interpreter.flow.dim} dimensions")
    assert repr(interpreter.network) in lines[2]


def test_the_home_folder_and_addresses(interpreter, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    interpreter.save("~/runs/a")
    assert iin_jax.load("~/runs/a").layout == interpreter.layout
    with pytest.raises(ValueError, match=r"gs://bucket/run is an address"):
        interpreter.save("gs://bucket/run")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
