"""Published checkpoints that cannot be read say why, in one line."""

import jax
import jax.numpy as jnp
import pytest

from iin_jax.convert import (
    load_published_flow,
    load_published_network,
    save_published_flow,
)
from iin_jax.flows import InterpretationFlow
from tests.convert.torch_reference import (
    TorchAutoencoder,
    randomised,
    saved,
    torch,
    torch_flow,
)

SCALE = "realnvp.flow.1.flow.0.scale"
WEIGHT = "realnvp.flow.0.flow.1.t.1.main.2.weight"
FORWARD = "realnvp.flow.0.flow.2.forward_shuffle_idx"
BACKWARD = "realnvp.flow.0.flow.2.backward_shuffle_idx"


def damaged(changes):
    def change(state):
        state.update({name: make(state[name]) for name, make in changes.items()})
        return state

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (damaged({SCALE: lambda a: a * 0}), f"{SCALE} is zero in 6 channels: singular"),
        (
            damaged({SCALE: lambda a: a * 1e9}),
            rf"{SCALE} reaches .*; ActNorm goes to 20",
        ),
        (
            damaged({"realnvp.flow.1.flow.0.initialized": lambda a: a * 0}),
            "flow.1.flow.0.initialized is 0, .*run one there and save again",
        ),
        (damaged({FORWARD: lambda a: a * 0}), f"{FORWARD} is no permutation"),
        (damaged({BACKWARD: lambda a: a.roll(1)}), f"{BACKWARD} does not undo"),
        (damaged({WEIGHT: lambda a: a.int()}), f"{WEIGHT} has type int32, expected fl"),
        (damaged({FORWARD: lambda a: a.float()}), f"{FORWARD} .*float32, expected int"),
        (damaged({WEIGHT: lambda a: a[:-1]}), rf"{WEIGHT} has shape \(7, 8\), .*8, 8"),
        (damaged({WEIGHT: lambda a: a / 0}), f"{WEIGHT} holds NaN or infinite values"),
        (damaged({WEIGHT: lambda a: "text"}), f"{WEIGHT} is a str, not an array"),
        (lambda s: {"step": 3, "weights": s}, "fits|no published flow.*'step', 'wei"),
        (lambda s: {}, "found nothing"),
        (lambda s: 3, "found int"),
    ],
)
def test_damaged_flows_are_one_clear_line(tmp_path, change, message):
    state = change(dict(torch_flow().state_dict()))
    torch.save({"model": state, "optimizer": {}}, tmp_path / "flow.ckpt")
    with pytest.raises(ValueError, match=message) as error:
        load_published_flow(tmp_path / "flow.ckpt")
    assert "\n" not in str(error.value) and "flow.ckpt" in str(error.value)


def test_one_message_names_every_array_that_does_not_fit(tmp_path):
    state = dict(torch_flow().state_dict())
    first = "realnvp.flow.0.flow.1.s.0.main.0"
    del state[SCALE], state[f"{first}.bias"]
    state["surplus"] = torch.ones(2)
    state[WEIGHT] = state[WEIGHT].T[:3]
    state[f"{first}.weight"] = state[f"{first}.weight"].long()
    torch.save({"model": state}, tmp_path / "flow.ckpt")
    with pytest.raises(ValueError, match="does not fit") as error:
        load_published_flow(tmp_path / "flow.ckpt")
    for problem in (
        f"missing {SCALE}",
        f"missing {first}.bias",
        "unexpected surplus",
        f"{WEIGHT} has shape (3, 8), expected (8, 8)",
        f"{first}.weight has type int64, expected float32",
    ):
        assert problem in str(error.value)
    assert str(error.value).count(";") == 4


def test_one_message_names_every_array_of_a_network_that_does_not_fit(tmp_path):
    state = TorchAutoencoder(16, 3, 3, 4, 5).state_dict()
    first = "feature_layers.0.sub_layers.0.weight"
    order = ["decoder_layers.0.sub_layers.0.weight"] * 2
    order[1] = order[1].replace("0", "1", 1)
    del state[first]
    state["feature_layers.1.sub_layers.1.running_mean"] = torch.ones(8)
    state[order[0]], state[order[1]] = state[order[1]], state[order[0]]
    torch.save(state, tmp_path / "ae.ckpt")
    with pytest.raises(ValueError, match=f"missing {first}; unexpected") as error:
        load_published_network(tmp_path / "ae.ckpt")
    for name, shape in zip(order, ((16, 8), (8, 4)), strict=True):
        assert f"{name} has shape {(*shape, 4, 4)}" in str(error.value)
    assert str(error.value).count(";") == 3


def test_each_file_names_its_reader(tmp_path):
    flow = saved(tmp_path, torch_flow())
    with pytest.raises(ValueError, match=r"a flow: .*convert.load_published_flow$"):
        load_published_network(flow)
    network = saved(tmp_path, TorchAutoencoder(8, 3, 2, 4, 5), "ae.ckpt")
    with pytest.raises(ValueError, match=r"an auto.*convert.load_published_network$"):
        load_published_flow(network)


@pytest.mark.parametrize("load", [load_published_flow, load_published_network])
def test_files_of_something_else_are_refused(tmp_path, load):
    path = saved(tmp_path, torch_flow())
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match=r"flow.ckpt is truncated or no PyTorch file$"):
        load(path)
    with pytest.raises(ValueError, match="no weights at"):
        load(tmp_path / "absent.ckpt")
    torch.save({"weights": torch.ones(2), "epoch": 3}, path)
    with pytest.raises(ValueError, match=r"no entry .model.* found 'weights', 'epoch'"):
        load(path)
    torch.save([torch.ones(2)], path)
    with pytest.raises(ValueError, match="holds a list; expected"):
        load(path)
    loss = {"logvar": torch.tensor([0.0, 1.0])}
    path = saved(tmp_path, randomised(TorchAutoencoder(8, 3, 2, 4, 5)), loss=loss)
    with pytest.raises(ValueError, match=r'"logvar" of "loss" .* must be a number'):
        load_published_network(path)


def test_variables_of_another_flow_are_not_exported(tmp_path):
    flow, variables = load_published_flow(saved(tmp_path, torch_flow()))
    path = tmp_path / "exported.ckpt"
    with pytest.raises(
        ValueError, match=r"missing con.*blocks_2.*; missing params/blocks_2"
    ):
        save_published_flow(path, InterpretationFlow(6, 3, 8, 1), variables)
    with pytest.raises(ValueError, match=r"blocks_1/.* has shape .*, expected .*;"):
        save_published_flow(path, InterpretationFlow(8, 2, 8, 1), variables)
    with pytest.raises(ValueError, match="missing constants/blocks_0/shuffle/perm"):
        save_published_flow(path, flow, {"params": variables["params"]})
    halves = jax.tree.map(lambda leaf: leaf.astype(jnp.float16), variables["params"])
    with pytest.raises(ValueError, match="has type float16, expected float32"):
        save_published_flow(path, flow, {**variables, "params": halves})
    variables["constants"]["blocks_1"]["shuffle"]["permutation"] += 6
    variables["constants"]["blocks_1"]["act_norm"]["sign"] *= 0.5
    with pytest.raises(ValueError, match=r"1/.*n is no permutation; .*1/.*1 and -1 al"):
        save_published_flow(path, flow, variables)
    assert not path.exists()
