"""PyTorch modules as compiled JAX functions, against PyTorch itself."""

import importlib.util
import json
import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import iin_jax
from iin_jax.networks import Preprocessing, from_torch
from iin_jax.networks.adapters.bridge import BridgedModule
from iin_jax.networks.adapters.jitted import BridgedNetwork, disagreement
from iin_jax.networks.adapters.module import FrozenModule
from tests.conftest import ROOT
from tests.networks.torch_models import torchvision_models

torch = pytest.importorskip("torch")
nn = torch.nn

SHAPE = (8, 8, 3)
# latents there are 0.001 apart with random weights, so that it stays in PyTorch
APART = "| efficientnet_b0 | features.7"


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """PyTorch's threads and XLA's would wait for each other's cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def torchax():
    """Skips without it; importing it is left to the package, which repairs it."""
    if importlib.util.find_spec("torchax") is None:
        pytest.skip("torchax is not installed: pip install 'iin_jax[bridge]'")


def pictures(count=3, shape=SHAPE, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (count, *shape)).astype(np.float32)


def run(module, images):
    """The module itself, channels last."""
    with torch.no_grad():
        y = module(torch.from_numpy(np.moveaxis(images, -1, 1).copy()))
    return np.moveaxis(y.numpy(), 1, -1) if y.ndim == 4 else y.numpy()


def error(actual, expected):
    return np.abs(np.asarray(actual) - expected).max() / np.abs(expected).max()


class Mixture(nn.Module):
    """What modules hold: buffers, plain tensors, tied weights, work in place."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.single = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.wide = nn.Conv2d(8, 8, 5, stride=2, padding=2, groups=8)
        self.attention = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.first = nn.Linear(8, 8)
        self.second = nn.Linear(8, 8)
        self.second.weight = self.first.weight
        self.register_buffer("offset", torch.randn(8), persistent=False)
        self.scale = torch.rand(8) + 0.5
        self.head = nn.Linear(8, 5)
        self.norm.running_var.uniform_(0.5, 1.5)
        self.norm.running_mean.normal_()

    def forward(self, images):
        x = self.relu(self.norm(self.stem(images)))
        x = self.wide(self.grouped(self.single(x)))
        tokens = self.attention(x.flatten(2).transpose(1, 2))
        tokens = self.second(nn.functional.gelu(self.first(tokens)))
        steps = torch.arange(tokens.shape[1])
        tokens = tokens * self.scale + self.offset + 0.1 * steps[:, None]
        tokens = tokens + x.new_full((8,), 0.5)  # on the device of x
        return self.head(tokens.mean(1))


@pytest.fixture(scope="module")
def module():
    return Mixture().eval()


@pytest.fixture(scope="module")
def network(torchax, module):
    return from_torch(module, "stem", image_shape=SHAPE, bridge="jax")


def test_every_layer_reads_and_resumes_as_in_pytorch(network, module):
    images = pictures(5, seed=1)
    assert isinstance(network, BridgedNetwork)
    expected = FrozenModule(torch, module).outputs(images, network.layers())
    features = network.features_pure(network.variables, images)
    assert list(features) == list(network.layers())
    for layer, z in features.items():
        assert error(z, expected[layer][0]) <= 1e-5, layer
    for layer in ("single", "attention"):
        cut = network.cut_at(layer)
        assert isinstance(cut, BridgedNetwork)
        z = cut.encode(images)
        assert z.shape[1:] == cut.latent_shape == network.layers()[layer]
        assert error(z, expected[layer][0]) <= 1e-5, layer
        assert error(cut.decode(z), run(module, images)) <= 1e-5, layer


def test_arrays_are_arguments_and_pytorch_is_never_called_back(network, module):
    images = pictures()
    state = set(module.state_dict()) - {"second.weight"}
    assert set(network.variables) == state | {"offset", "scale"}
    z = network.encode(images)
    for function, x in ((network.encode_pure, images), (network.decode_pure, z)):
        program = jax.make_jaxpr(function)(network.variables, x)
        assert "callback" not in str(program)
        assert all(np.size(value) <= 16 for value in program.consts)
    doubled = dict(network.variables)
    doubled["head.weight"] = 2 * doubled["head.weight"]
    doubled["head.bias"] = 2 * doubled["head.bias"]
    y = network.decode(z)
    assert error(jax.jit(network.decode_pure)(doubled, z), 2 * np.asarray(y)) <= 1e-5


def test_what_comes_before_the_layer_is_not_computed(torchax):
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 16), nn.Linear(16, 2)
    )
    network = from_torch(module, "2", image_shape=SHAPE, bridge="jax")
    z = jnp.zeros((2, 16))
    decode = jax.jit(network.decode_pure).lower(network.variables, z).compile()
    program = decode.as_text()
    assert "144" not in program.partition("\n\n")[2] and "convolution(" not in program


def test_gradients_through_g_and_e_are_pytorchs(network, module):
    images, variables = pictures(seed=3), network.variables
    z = np.asarray(network.encode(images))
    weights = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)

    def decoded(z):
        return (weights * network.decode_pure(variables, z)).sum()

    def whole(images):
        return decoded(network.encode_pure(variables, images))

    ours = jax.jit(jax.grad(decoded))(z)
    tensor = torch.from_numpy(np.moveaxis(z, -1, 1).copy()).requires_grad_()
    handle = module.stem.register_forward_hook(lambda *_: tensor * 1.0)
    y = module(torch.zeros(3, 3, 8, 8))
    handle.remove()
    (theirs,) = torch.autograd.grad((torch.from_numpy(weights) * y).sum(), tensor)
    assert error(ours, np.moveaxis(theirs.numpy(), 1, -1)) <= 1e-5
    pixels = torch.from_numpy(np.moveaxis(images, -1, 1).copy()).requires_grad_()
    loss = (torch.from_numpy(weights) * module(pixels)).sum()
    (theirs,) = torch.autograd.grad(loss, pixels)
    ours = jax.jit(jax.grad(whole))(images)
    assert error(ours, np.moveaxis(theirs.numpy(), 1, -1)) <= 1e-5


def test_under_vmap_and_on_two_devices_it_is_the_same(network, module):
    images, variables = pictures(8), network.variables
    expected = run(module, images)

    def f(images):
        return network.decode_pure(variables, network.encode_pure(variables, images))

    mapped = jax.jit(jax.vmap(f))(images.reshape(4, 2, *SHAPE))
    assert error(mapped.reshape(8, 5), expected) <= 1e-5
    mesh = jax.sharding.Mesh(np.array(jax.devices("cpu")[:2]), ("data",))
    spec = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    assert error(jax.jit(f)(jax.device_put(images, spec)), expected) <= 1e-5


def test_images_of_an_autoencoder_come_back_in_their_own_range(torchax):
    torch.manual_seed(2)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 4, 2, 1),
        nn.Tanh(),
        nn.ConvTranspose2d(8, 3, 4, 2, 1),
        nn.Sigmoid(),
    ).double()
    pixels = Preprocessing(8, (0.0,) * 3, (1.0,) * 3, channel_order="BGR")
    network = from_torch(module, "1", preprocessing=pixels, bridge="jax")
    images = pictures()
    expected = 2 * run(module.float(), (images[..., ::-1] + 1) / 2)[..., ::-1] - 1
    assert network.output == "images" and network.latent_shape == (4, 4, 8)
    assert error(network.decode(network.encode(images)), expected) <= 1e-5


class Function(nn.Module):
    """A function of a convolution's output, as a module."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 3, 1)
        self.function = function

    def forward(self, images):
        return self.function(self.layer(images))


def chosen(x):
    """A choice by value, which a compiled function cannot make."""
    return x.mean((2, 3)) * (2.0 if bool(x.abs().sum() > 0.0) else 1.0)


@pytest.mark.parametrize(
    ("function", "kind", "reason"),
    [
        (chosen, torch.float32, "torchax cannot translate the module: "),
        (lambda x: x.mean((2, 3)), torch.bfloat16, "the module computes in bfloat16"),
    ],
)
def test_what_cannot_be_compiled_says_so_in_one_line(torchax, function, kind, reason):
    module, images = Function(function).eval().to(kind), pictures()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network = from_torch(module, "layer", image_shape=SHAPE)
    (line,) = [str(x.message) for x in caught if "through a callback" in str(x.message)]
    assert reason in line and "\n" not in line
    assert not isinstance(network, BridgedNetwork)
    plain = from_torch(module, "layer", image_shape=SHAPE, bridge="callback")
    np.testing.assert_array_equal(network.encode(images), plain.encode(images))
    with pytest.raises(ValueError, match=f"cannot be compiled by JAX: {reason}"):
        from_torch(module, "layer", image_shape=SHAPE, bridge="jax")


def test_another_function_is_told_from_the_modules(network):
    bridge = BridgedModule(network.probe.module)
    assert disagreement(network.probe, bridge, "stem", "logits") is None
    bridge.variables["stem.bias"] = bridge.variables["stem.bias"] + 0.01
    reason = disagreement(network.probe, bridge, "stem", "logits")
    assert "latents are" in reason
    bridge = BridgedModule(network.probe.module)
    bridge.variables["head.bias"] = bridge.variables["head.bias"].at[0].add(0.01)
    assert "outputs are" in disagreement(network.probe, bridge, "stem", "logits")


def test_without_torchax_the_extra_is_named(monkeypatch, module):
    monkeypatch.setitem(sys.modules, "torchax", None)
    monkeypatch.delitem(sys.modules, "torchax.tensor", raising=False)
    needed = r"torchax is not installed: pip install 'iin_jax\[bridge\]'"
    with pytest.warns(UserWarning, match=needed):
        network = from_torch(module, "stem", image_shape=SHAPE)
    assert not isinstance(network, BridgedNetwork)
    with pytest.raises(ValueError, match=needed):
        from_torch(module, "stem", image_shape=SHAPE, bridge="jax")
    with pytest.raises(ValueError, match="'auto', 'callback' or 'jax'; got 'xla'"):
        from_torch(module, "stem", image_shape=SHAPE, bridge="xla")


GLOBALS = """
import json, os, jax, torch
from torch.overrides import _get_current_function_mode_stack as functions
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack as dispatches
from iin_jax.networks import from_torch

def state():
    config = {name: repr(getattr(jax.config, name, None)) for name in jax.config.values}
    return config | {
        "environment": sorted(name for name in os.environ if "TELEMETRY" in name),
        "attention": torch.backends.mha.get_fastpath_enabled(),
        "device": str(torch.get_default_device()),
        "type": str(torch.get_default_dtype()),
        "modes": len(functions()) + len(dispatches()),
        "random": int(torch.initial_seed()),
        "overload": hasattr(torch.ops.aten.prod, "dim_Dimname"),
        "threads": torch.get_num_threads(),
        "devices": torch.nn.DataParallel(torch.nn.ReLU()).device_ids,
    }

torch.manual_seed(0)
module = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 8), torch.nn.Flatten())
before = state()
network = from_torch(module, "0", image_shape=(8, 8, 3), bridge="jax")
after = state()
print(json.dumps({name: (before[name], after[name]) for name in before
                  if before[name] != after[name]}))
"""


def test_nothing_global_is_other_than_before(torchax):
    finished = subprocess.run(
        [sys.executable, "-c", GLOBALS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(finished.stdout) == {}


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("shufflenet_v2_x0_5", ("stage2", "stage3.4", "conv5")),
        ("mnasnet0_5", ("layers.8", "layers.10", "layers.13")),
    ],
)
def test_modules_without_a_converter_run_in_jax(torchax, name, layers):
    torchvision_models()
    from experiments.benchmark.modules import SIZE, random_module

    module, images = random_module(name), pictures(4, (SIZE, SIZE, 3))
    expected = FrozenModule(torch, module).outputs(images, layers)
    y = run(module, images)
    bridge = BridgedModule(FrozenModule(torch, module))

    @jax.jit
    def read(variables, images):
        return bridge.outputs(variables, images, layers)

    z = read(bridge.variables, images)
    for layer in layers:
        assert error(z[layer], expected[layer][0]) <= 1e-4, layer
    network = from_torch(module, layers[1], image_shape=(SIZE, SIZE, 3), bridge="jax")
    decoded = np.asarray(network.decode(z[layers[1]]))
    assert error(decoded, y) <= 1e-3
    assert (decoded.argmax(-1) == y.argmax(-1)).all()


@pytest.mark.slow
def test_twelve_modules_at_three_layers_predict_what_pytorch_does(torchax):
    for name in ("torchvision", "timm"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    finished = subprocess.run(
        [sys.executable, "-m", "experiments.benchmark.bridges"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split(" | ") for line in finished.stdout.splitlines()[2:]]
    assert len(rows) == 36
    for row in rows:
        if " | ".join(row[:2]) == APART and row[2] != "yes":
            continue
        assert row[2] == "yes", row
        assert float(row[3].rstrip("%")) >= 99.9, row


@pytest.mark.thorough
def test_interpreting_with_a_loss_that_looks_through_g(torchax, tmp_path):
    torch.manual_seed(3)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 4, stride=4), nn.Tanh(), nn.Flatten(), nn.Linear(16, 4)
    )
    rng = np.random.default_rng(0)
    labels = {"left": rng.integers(0, 2, 200), "right": rng.integers(0, 2, 200)}
    images = 0.1 * pictures(200, seed=3)
    images[:, :, :4] += (labels["left"] - 0.5)[:, None, None, None]
    images[:, :, 4:] += (labels["right"] - 0.5)[:, None, None, None]
    network = from_torch(module, "1", image_shape=SHAPE, bridge="jax")

    def loss(layout):
        def decoded(outputs):
            y = outputs.decode(outputs.invert(outputs.z_tilde_a))
            return jnp.square(y - outputs.decode(outputs.z_b)).mean(-1)

        terms = {"pairs": (1.0, iin_jax.losses.pair_term(layout))}
        return iin_jax.losses.weighted_sum(terms | {"decoded": (0.1, decoded)})

    fitted = iin_jax.interpret(
        network,
        images,
        labels,
        flow=iin_jax.InterpretationFlow(16, 1, 8, 1),
        loss=loss,
        steps=4,
        batch_size=32,
        progress=False,
    )
    unchanged = fitted.swap(images[:20], images[20:40], [])
    assert error(unchanged, run(module, images[:20])) <= 1e-4
    one = np.asarray(fitted.swap(images[:20], images[20:40], ["left"]))
    assert fitted.certify(images[:20])["prediction_agreement"] == 1.0
    fitted.save(tmp_path)
    again = iin_jax.load(tmp_path).with_network(network)
    np.testing.assert_array_equal(again.swap(images[:20], images[20:40], ["left"]), one)
