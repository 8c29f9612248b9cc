"""Every bijector against automatic differentiation, double precision and files."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized

import iin_jax
from iin_jax.flows import BIJECTORS, ActNorm, AffineCoupling, InterpretationFlow
from iin_jax.weights import load_tree, save_tree
from tests.conftest import float64, normal, perturbed

DIM, HIDDEN = 6, 8
NAMES = sorted(BIJECTORS)
COMPOSED = {"feature_map_flow", "partial_flow", "started_map_flow"}  # seconds each
EVERY = [
    pytest.param(name, marks=pytest.mark.thorough if name in COMPOSED else ())
    for name in NAMES
]
OTHERWISE = dict.fromkeys(
    ("without_jit", "with_pmap", "with_device", "without_device"), True
)


@functools.cache
def build(name: str):
    bijector = BIJECTORS[name](DIM, HIDDEN)
    variables = bijector.init(jax.random.key(1), 2.0 * normal((64, DIM)) + 1.0)
    variables = {"params": {}, **variables}
    return bijector, perturbed(variables)


@functools.cache
def jacobians(name: str):
    """Of a built bijector at five points, with these."""
    bijector, variables = build(name)
    x = normal((5, DIM), 2)
    return x, jax.vmap(jax.jacfwd(lambda v: bijector.apply(variables, v)[0]))(x)


def check_log_det(variant, name):
    bijector, variables = build(name)
    x, jacobian = jacobians(name)

    @variant
    def forward(x):
        return bijector.apply(variables, x)

    y, log_det = forward(x)
    expected = jnp.linalg.slogdet(jacobian)[1]
    chex.assert_shape(log_det, (5,))
    np.testing.assert_allclose(log_det, expected, atol=2e-5)
    chex.assert_equal_shape([x, y])


def check_inverse(variant, name):
    bijector, variables = build(name)
    x = normal((5, DIM), 3)

    @variant
    def there_and_back(x):
        y, log_det = bijector.apply(variables, x)
        back = bijector.apply(variables, y, method="inverse_and_log_det")
        return log_det, *back, bijector.apply(variables, y, method="inverse")

    log_det, back, log_det_back, back_again = there_and_back(x)
    np.testing.assert_allclose(back, x, atol=1e-4)
    np.testing.assert_allclose(back_again, x, atol=1e-4)
    np.testing.assert_allclose(log_det_back, -log_det, atol=1e-4)


class EveryBijector(chex.TestCase):
    @chex.variants(with_jit=True)
    @parameterized.parameters(*NAMES)
    def test_log_det_is_that_of_the_jacobian(self, name):
        check_log_det(self.variant, name)

    @chex.variants(with_jit=True)
    @parameterized.parameters(*NAMES)
    def test_inverse_inverts_and_negates_the_log_det(self, name):
        check_inverse(self.variant, name)


@pytest.mark.thorough
class EveryBijectorOtherwise(chex.TestCase):
    @chex.variants(**OTHERWISE)
    @parameterized.parameters(*NAMES)
    def test_log_det_is_that_of_the_jacobian(self, name):
        check_log_det(self.variant, name)

    @chex.variants(**OTHERWISE)
    @parameterized.parameters(*NAMES)
    def test_inverse_inverts_and_negates_the_log_det(self, name):
        check_inverse(self.variant, name)


@pytest.mark.parametrize("name", NAMES)
def test_a_context_is_taken_in_both_directions(name):
    bijector = BIJECTORS[name](DIM, HIDDEN)
    x, context = normal((5, DIM), 6), normal((5, 3), 7)
    variables = {"params": {}, **bijector.init(jax.random.key(1), x, context)}
    variables = perturbed(variables)
    y, log_det = bijector.apply(variables, x, context)
    back = bijector.apply(variables, y, context, method="inverse_and_log_det")
    np.testing.assert_allclose(back[0], x, atol=1e-4)
    np.testing.assert_allclose(back[1], -log_det, atol=1e-4)
    other = bijector.apply(variables, x, -context)[0]
    depends = "coupling" in name or "flow" in name
    assert bool(jnp.abs(other - y).max() > 1e-3) == depends


@pytest.mark.parametrize("name", EVERY)
def test_float32_agrees_with_float64(name):
    bijector, variables = build(name)
    x = normal((5, DIM), 4)
    y, log_det = bijector.apply(variables, x)
    with float64():
        wide = jax.tree.map(
            lambda leaf: jnp.asarray(
                leaf, jnp.float64 if leaf.dtype == jnp.float32 else leaf.dtype
            ),
            variables,
        )
        y_wide, log_det_wide = bijector.apply(wide, jnp.asarray(x, jnp.float64))
        assert y_wide.dtype == jnp.float64
        back = bijector.apply(wide, y_wide, method="inverse")
        np.testing.assert_allclose(back, x, atol=1e-12)
    np.testing.assert_allclose(y, y_wide, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(log_det, log_det_wide, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_batch_of_one_is_a_row_of_the_batch(name):
    bijector, variables = build(name)
    x = normal((5, DIM), 5)
    y, log_det = bijector.apply(variables, x)
    y_one, log_det_one = bijector.apply(variables, x[:1])
    close = functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-6)
    close(y_one, y[:1])
    close(log_det_one, log_det[:1])
    y_none, _ = bijector.apply(variables, x[0])
    close(y_none, y[0])


@pytest.mark.parametrize("name", NAMES)
def test_initialising_on_one_vector_stays_finite_and_invertible(name):
    bijector = BIJECTORS[name](DIM, HIDDEN)
    x = normal((1, DIM), 6)
    variables = bijector.init(jax.random.key(0), x)
    y, log_det = bijector.apply(variables, x)
    assert np.isfinite(y).all() and np.isfinite(log_det).all()
    np.testing.assert_allclose(
        bijector.apply(variables, y, method="inverse"), x, atol=1e-4
    )


@pytest.mark.parametrize("name", NAMES)
def test_saved_variables_compute_the_same(name, tmp_path):
    bijector, variables = build(name)
    x = normal((5, DIM), 7)
    save_tree(tmp_path / "weights.safetensors", variables)
    loaded = {"params": {}, **load_tree(tmp_path / "weights.safetensors")}
    chex.assert_trees_all_equal(bijector.apply(variables, x), bijector.apply(loaded, x))


@pytest.mark.parametrize("name", EVERY)
def test_leading_axes_are_batch_axes(name):
    bijector, variables = build(name)
    x = normal((2, 3, 4, DIM), 8)
    y, log_det = bijector.apply(variables, x)
    flat_y, flat_log_det = bijector.apply(variables, x.reshape(-1, DIM))
    np.testing.assert_allclose(y.reshape(-1, DIM), flat_y, atol=1e-6)
    np.testing.assert_allclose(log_det.reshape(-1), flat_log_det, atol=1e-6)


def test_act_norm_whitens_with_bessels_correction():
    x = np.asarray(3.0 * normal((40, DIM)) + 2.0)
    variables = ActNorm().init(jax.random.key(0), x)
    y, _ = ActNorm().apply(variables, x)
    expected = (x - x.mean(0)) / (x.std(0, ddof=1) + 1e-6)
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_act_norm_initialises_once():
    variables = ActNorm().init(jax.random.key(0), normal((40, DIM)))
    other = 5.0 * normal((40, DIM), 1) + 3.0
    _, changed = ActNorm().apply(variables, other, mutable=["params", "constants"])
    chex.assert_trees_all_equal(changed["params"], variables["params"])
    y, _ = ActNorm().apply(variables, other)
    assert np.asarray(y).std() > 3.0


@pytest.mark.parametrize("update", [-1e9, 1e9, -200.0])
def test_no_update_makes_act_norm_singular(update):
    x = normal((40, DIM))
    variables = ActNorm().init(jax.random.key(0), x)
    params = {**variables["params"]}
    params["log_scale"] = params["log_scale"] + update
    y, log_det = ActNorm().apply({"params": params}, x)
    back = ActNorm().apply({"params": params}, y, method="inverse")
    assert np.isfinite(log_det).all() and (np.asarray(y) != 0).any()
    np.testing.assert_allclose(back, x, atol=1e-4)


def test_a_dead_channel_survives_initialisation():
    x = np.array(normal((40, DIM)))
    x[:, 2] = 7.0
    variables = ActNorm().init(jax.random.key(0), x)
    y, log_det = ActNorm().apply(variables, x)
    assert np.isfinite(y).all() and np.isfinite(log_det).all()


def test_a_coupling_scales_by_at_most_e():
    coupling = AffineCoupling(HIDDEN)
    variables = coupling.init(jax.random.key(0), normal((4, DIM)))
    _, log_det = coupling.apply(perturbed(variables, 30.0), normal((50, DIM), 1))
    assert np.abs(log_det).max() <= DIM / 2 + 1e-5
    assert np.abs(log_det).max() > DIM / 4


def test_a_flow_whitens_every_block_at_init():
    flow = InterpretationFlow(DIM, 3, HIDDEN, 1)
    z = np.asarray(4.0 * normal((500, DIM)) - 1.0)
    variables = flow.init(jax.random.key(0), z)
    x = jnp.asarray(z)
    for index in range(3):
        normed, _ = ActNorm().apply(
            {"params": variables["params"][f"blocks_{index}"]["act_norm"]}, x
        )
        np.testing.assert_allclose(normed.std(0, ddof=1), 1.0, atol=1e-3)
        x = flow.apply(variables, x, method=lambda f, v, i=index: f.blocks[i](v)[0])


def test_numpy_latents_in_double_precision_give_float32_parameters(recwarn):
    flow = InterpretationFlow(DIM, 2, HIDDEN, 1)
    z = np.random.default_rng(0).standard_normal((40, DIM))
    variables = flow.init(jax.random.key(0), z)
    for leaf in jax.tree.leaves(variables["params"]):
        assert isinstance(leaf, jax.Array) and leaf.dtype == jnp.float32
    assert flow.apply(variables, z)[0].dtype == jnp.float32
    assert not [w for w in recwarn if "float64" in str(w.message)]


@pytest.mark.parametrize("spread", [1.0, 300.0])
def test_latents_in_half_precision_give_float32_parameters(spread):
    flow = InterpretationFlow(DIM, 2, HIDDEN, 1)
    z = (spread * np.asarray(normal((400, DIM)))).astype(np.float16)
    variables = flow.init(jax.random.key(0), z)
    for leaf in jax.tree.leaves(variables["params"]):
        assert leaf.dtype == jnp.float32
    translated, _ = flow.apply(variables, z)
    assert translated.dtype == jnp.float32 and 0.5 < translated.std() < 2.0
    back = flow.apply(variables, translated, method="inverse")
    np.testing.assert_allclose(back, z.astype(np.float32), atol=1e-4 * spread)


def test_permutations_are_constants_not_parameters():
    flow = InterpretationFlow(DIM, 2, HIDDEN, 1)
    variables = flow.init(jax.random.key(0), normal((8, DIM)))
    assert set(variables) == {"params", "constants"}
    leaves = jax.tree.leaves(variables["constants"])
    assert len(leaves) == 2
    for permutation in leaves:
        np.testing.assert_array_equal(np.sort(permutation), np.arange(DIM))


def test_the_flow_asks_for_the_highest_precision():
    flow = InterpretationFlow(DIM, 1, HIDDEN, 1)
    variables = flow.init(jax.random.key(0), normal((8, DIM)))
    lowered = jax.jit(flow.apply).lower(variables, normal((8, DIM))).as_text()
    products = [line for line in lowered.splitlines() if "dot_general" in line]
    assert products and all("HIGHEST" in line for line in products)


def test_the_published_flow_has_26_8_million_parameters():
    flow = InterpretationFlow()
    shapes = jax.eval_shape(flow.init, jax.random.key(0), jnp.zeros((4, 64)))
    count = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"]))
    assert round(count / 1e6, 1) == 26.8


@pytest.mark.parametrize("dim", [5, 1])
def test_odd_dimensions_are_refused(dim):
    with pytest.raises(ValueError, match=f"even number.*N = {dim}"):
        InterpretationFlow(dim).init(jax.random.key(0), jnp.zeros((4, dim)))
    with pytest.raises(ValueError, match="even number"):
        AffineCoupling(8).init(jax.random.key(0), jnp.zeros((4, dim)))


def test_a_wrong_last_axis_is_refused():
    flow = iin_jax.InterpretationFlow(DIM, 1, HIDDEN, 1)
    with pytest.raises(ValueError, match=r"last axis of 6; got \(4, 8\)"):
        flow.init(jax.random.key(0), jnp.zeros((4, 8)))
