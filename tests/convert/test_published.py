"""Published checkpoints against their stored numbers and against PyTorch itself."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file

from iin_jax.convert import (
    load_published_flow,
    load_published_network,
    save_published_flow,
)
from iin_jax.convert.published_flow import flow_constants, flow_params
from iin_jax.convert.state_dict import read_checkpoint
from iin_jax.factors import FactorLayout
from iin_jax.flows import ActNorm, InterpretationFlow
from iin_jax.flows.flow import jitted_forward, jitted_inverse
from iin_jax.losses import pair_nll
from tests.conftest import normal
from tests.convert.torch_reference import (
    CHECKPOINT,
    Norm,
    TorchAutoencoder,
    TorchFlow,
    close,
    nn,
    randomised,
    saved,
    torch,
    torch_flow,
    vectors,
)

SIZES = {"first": 5, "second": 4, "residual": 7}  # of the stored flow's factors


def fresh_flow():
    flow = InterpretationFlow(6, 1, 8, 1)
    return flow, flow.init(jax.random.key(3), 2.0 * normal((32, 6)) + 1.0)


def random_flow(*shape, noise=0.3):
    """A flow with random parameters of this size, and its variables."""
    flow = InterpretationFlow(*shape)
    shapes = jax.eval_shape(flow.init, jax.random.key(0), jnp.zeros((2, flow.dim)))
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(noise * rng.standard_normal(leaf.shape), leaf.dtype),
        shapes["params"],
    )
    constants = jax.tree.map(
        lambda leaf: jnp.asarray(rng.permutation(flow.dim), leaf.dtype),
        shapes["constants"],
    )
    return flow, {"params": params, "constants": constants}


@pytest.fixture(scope="module")
def stored(shared):
    folder = shared / "reference_checkpoints" / "flow_small_factor"
    return folder / CHECKPOINT, dict(np.load(folder / "data.npz"))


def layer_of(flow, variables, block, name, x):
    return flow.apply(
        variables, x, method=lambda f, v: getattr(f.blocks[block], name)(v)
    )


def test_the_stored_flow_computes_the_stored_numbers(stored):
    path, data = stored
    flow, variables = load_published_flow(path)
    assert flow == InterpretationFlow(16, 3, 32, 2)
    z_tilde, log_det = jitted_forward(flow, variables, vectors(data["x"]))
    factors = np.concatenate([data["z0"], data["z1"], data["z2"]], 1)
    close(z_tilde, vectors(factors), 1e-5)
    close(log_det, data["logdet"], 1e-5)
    back = jitted_inverse(flow, variables, vectors(data["z_random"]))
    close(back, vectors(data["x_from_z_random"]), 1e-5)
    again = jitted_inverse(flow, variables, vectors(factors))
    close(again, vectors(data["x_rec"]), 1e-5)


def test_the_stored_flow_agrees_after_every_layer(stored):
    path, data = stored
    flow, variables = load_published_flow(path)
    x = vectors(data["x"])
    for block in range(3):
        for layer, names in {
            "actnorm": ["act_norm"],
            "coupling": ["coupling", "coupling_flipped"],
            "shuffle": ["shuffle"],
        }.items():
            log_det = 0.0
            for name in names:
                x, term = layer_of(flow, variables, block, name, x)
                log_det += term
            shift = 8 if layer == "coupling" else 0  # its halves are swapped there
            close(np.roll(x, shift, 1), data[f"mid/{block}/{layer}"], 1e-5)
            close(log_det, data[f"mid/{block}/{layer}_logdet"], 1e-5)


def test_act_norm_initialises_as_stored(stored):
    data = stored[1]  # of the first block: the other two followed fresh couplings
    x = vectors(data["x_actnorm_init"])
    params = ActNorm().init(jax.random.key(0), x)["params"]
    name = "init/realnvp.flow.0.flow.0"
    close(params["loc"], data[f"{name}.loc"].reshape(-1), 1e-6)
    close(np.exp(params["log_scale"]), data[f"{name}.scale"].reshape(-1), 1e-6)


def test_every_act_norm_initialises_as_in_torch(tmp_path):
    z = 3.0 * normal((40, 6)) - 1.0
    flow = InterpretationFlow(6, 2, 8, 1)
    variables = flow.init(jax.random.key(0), z)
    save_published_flow(tmp_path / "flow.ckpt", flow, variables)
    theirs = TorchFlow(6, 2, 8, 1)
    theirs.load_state_dict(torch.load(tmp_path / "flow.ckpt")["model"])
    norms = [block.flow[0] for block in theirs.realnvp.flow]
    for norm in norms:
        norm.load_state_dict(Norm(6).state_dict())  # as fresh
    with torch.no_grad():
        theirs(torch.tensor(np.asarray(z)))
    for index, norm in enumerate(norms):
        ours = variables["params"][f"blocks_{index}"]["act_norm"]
        assert norm.initialized == 1
        close(ours["loc"], norm.loc.reshape(-1), 1e-5)
        close(np.exp(ours["log_scale"]), norm.scale.reshape(-1), 1e-5)


def test_three_training_steps_are_the_stored_ones(stored):
    path, data = stored
    expected = load_file(path.parent / "train_steps.safetensors")
    flow, _ = load_published_flow(path)
    state = read_checkpoint(path)[1]
    constants = flow_constants(state)
    params = {k: jnp.asarray(v) for k, v in state.items() if v.dtype == np.float32}
    layout = FactorLayout(SIZES)
    sizes = np.asarray(list(SIZES.values()))

    def loss_of(params, a, b, shared):
        ours = {"params": flow_params({**state, **params}), "constants": constants}
        z_tilde, log_det = flow.apply(ours, jnp.concatenate([a, b]))
        za, zb, log_det_a, log_det_b = *jnp.split(z_tilde, 2), *jnp.split(log_det, 2)
        nll = pair_nll(za, zb, log_det_a, log_det_b, shared, layout, 0.975)
        log_variance = 0.5 * (shared @ sizes) * np.log(1.0 - 0.975**2)
        return (nll - 16.0 * np.log(2.0 * np.pi) - log_variance).mean()

    tx = optax.adam(1e-3, b1=0.5, b2=0.9)
    tx_state = tx.init(params)
    loss_and_grads = jax.jit(jax.value_and_grad(loss_of))
    for step in range(3):
        factor, a, b = (data[f"step{step}/{name}"] for name in ("factor", "x1", "x2"))
        shared = factor[:, None] == np.arange(3)
        loss, grads = loss_and_grads(params, vectors(a), vectors(b), shared)
        np.testing.assert_allclose(loss, data[f"step{step}/loss"], rtol=1e-5)
        updates, tx_state = tx.update(grads, tx_state, params)
        params = optax.apply_updates(params, updates)
        for group, arrays in {
            f"grad{step}": grads,
            f"after_step{step}": params,
        }.items():
            names = [n.removeprefix(f"{group}/") for n in expected if group in n]
            assert not names or sorted(names) == sorted(params)
            for name in names:
                close(arrays[name], expected[f"{group}/{name}"], 2e-5)


@pytest.mark.parametrize(
    ("shape", "noise"), [((6, 2, 8, 1), 0.3), ((10, 1, 4, 0), 0.6), ((4, 3, 6, 3), 0.3)]
)
def test_an_exported_flow_goes_on_in_torch(tmp_path, shape, noise):
    flow, variables = random_flow(*shape, noise=noise)
    path = tmp_path / "new folder" / "flow.ckpt"
    save_published_flow(path, flow, variables)
    checkpoint = torch.load(path, weights_only=True)
    theirs = TorchFlow(*shape)
    theirs.load_state_dict(checkpoint["model"], strict=True)
    assert list(checkpoint["model"]) == list(theirs.state_dict())
    for name, array in theirs.state_dict().items():
        assert checkpoint["model"][name].dtype == array.dtype, name
    z = normal((7, shape[0]), 1)
    with torch.no_grad():
        z_tilde, log_det = theirs(torch.tensor(np.asarray(z)))
        back = theirs.inverse(torch.tensor(np.asarray(z)))
    ours = jitted_forward(flow, variables, z)
    close(ours[0], z_tilde, 1e-5)
    close(ours[1], log_det, 1e-5)
    close(jitted_inverse(flow, variables, z), back, 1e-5)

    # trained on, and saved with our entry left in: what counts is "model"
    tx = torch.optim.SGD(theirs.parameters(), 1e-3)
    z_tilde, log_det = theirs(torch.tensor(np.asarray(z)))
    (0.5 * z_tilde.square().sum() - log_det.sum()).backward()
    tx.step()
    torch.save({**checkpoint, "model": theirs.state_dict()}, path)
    with torch.no_grad():
        expected = theirs(torch.tensor(np.asarray(z)))
    assert np.abs(expected[0].numpy() - ours[0]).max() > 1e-3
    flow, variables = load_published_flow(path)
    for actual, value in zip(jitted_forward(flow, variables, z), expected, strict=True):
        close(actual, value, 1e-5)


@pytest.mark.parametrize(
    ("shape", "noise"),
    [
        ((6, 1, 8, 1, "default"), 0.3),
        ((10, 3, 4, 3, "bfloat16"), 2.0),
        ((2, 1, 1, 0), 12.0),  # log-scales beyond the clip, which count as 20
    ],
)
def test_what_was_exported_comes_back_bit_for_bit(tmp_path, shape, noise):
    flow, variables = random_flow(*shape, noise=noise)
    if noise > 10.0:
        log_scale = variables["params"]["blocks_0"]["act_norm"]["log_scale"]
        variables["params"]["blocks_0"]["act_norm"]["log_scale"] = log_scale + 30.0
    save_published_flow(tmp_path / "flow.ckpt", flow, variables)
    flow_again, again = load_published_flow(tmp_path / "flow.ckpt")
    assert flow_again == flow
    chex.assert_trees_all_equal(again, variables)
    chex.assert_trees_all_equal_shapes_and_dtypes(again, variables)


def test_a_published_flow_comes_back_as_published(stored, tmp_path):
    path, _ = stored
    save_published_flow(tmp_path / "flow.ckpt", *load_published_flow(path))
    before, after = (
        torch.load(file, weights_only=True)["model"]
        for file in (path, tmp_path / "flow.ckpt")
    )
    assert list(after) == list(before)
    for name, array in before.items():
        assert after[name].dtype == array.dtype and after[name].shape == array.shape
        ulps = 1 if name.endswith("scale") else 0
        np.testing.assert_array_max_ulp(after[name].numpy(), array.numpy(), ulps)


def test_negative_scales_are_read_and_written(tmp_path):
    theirs = torch_flow()
    path = saved(tmp_path, theirs)
    flow, variables = load_published_flow(path)
    assert (variables["constants"]["blocks_0"]["act_norm"]["sign"] < 0).any()
    z = normal((7, 6), 1)
    z_torch = torch.tensor(np.asarray(z))
    z_tilde, log_det = theirs(z_torch)
    (0.5 * z_tilde.square().sum() - log_det.sum()).backward()
    ours = jitted_forward(flow, variables, z)
    close(ours[0], z_tilde, 1e-5)
    close(ours[1], log_det, 1e-5)
    close(jitted_inverse(flow, variables, z), theirs.inverse(z_torch), 1e-5)
    jacobian = jax.vmap(jax.jacfwd(lambda v: jitted_forward(flow, variables, v)[0]))(z)
    close(ours[1], jnp.linalg.slogdet(jacobian)[1], 1e-4)

    state = read_checkpoint(path)[1]
    published = {
        name: jnp.asarray(state[name]) for name, _ in theirs.named_parameters()
    }

    def loss_of(published):
        params = flow_params({**state, **published})
        z_tilde, log_det = flow.apply({**variables, "params": params}, z)
        return 0.5 * jnp.square(z_tilde).sum() - log_det.sum()

    grads = jax.jit(jax.grad(loss_of))(published)
    for name, array in theirs.named_parameters():
        close(grads[name], array.grad, 1e-4)

    save_published_flow(tmp_path / "again.ckpt", flow, variables)
    again = load_published_flow(tmp_path / "again.ckpt")[1]
    chex.assert_trees_all_equal(again, variables)
    written = torch.load(tmp_path / "again.ckpt")["model"]
    for name, array in theirs.named_parameters():
        close(written[name], array, 1e-6)


def test_an_untrained_flow_comes_back_bit_for_bit_without_signs(tmp_path):
    flow, variables = fresh_flow()
    assert set(variables["constants"]["blocks_0"]) == {"shuffle"}
    save_published_flow(tmp_path / "flow.ckpt", flow, variables)
    flow_again, again = load_published_flow(tmp_path / "flow.ckpt")
    assert flow_again == flow
    chex.assert_trees_all_equal(again, variables)
    chex.assert_trees_all_equal_shapes_and_dtypes(again, variables)


def test_prefixes_and_bare_state_dictionaries_are_read(tmp_path):
    theirs = torch_flow()
    _, expected = load_published_flow(saved(tmp_path, theirs))
    state = theirs.state_dict()
    parallel = {f"module.{name}": array for name, array in state.items()}
    for content in (state, parallel, {"model": parallel, "loss": {}, "optimizer": {}}):
        torch.save(content, tmp_path / "other.ckpt")
        _, variables = load_published_flow(tmp_path / "other.ckpt")
        chex.assert_trees_all_equal(variables, expected)
    whole = nn.DataParallel(TorchAutoencoder(8, 3, 2, 4, 5))
    path = saved(tmp_path, randomised(whole))
    assert load_published_network(path).settings()["latent_dim"] == 5
