"""PyTorch modules as networks, against PyTorch itself; cut only where it is sound."""

import dataclasses
import functools
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import iin_jax
from iin_jax.networks import Preprocessing, save_network
from iin_jax.networks.adapters import pytorch
from iin_jax.networks.pretrained import IMAGENET, from_arrays
from iin_jax.networks.registry import ARCHITECTURES
from iin_jax.weights import tree_digest
from tests.networks.torch_models import arrays_of, outputs_of, random_model

torch = pytest.importorskip("torch")
nn = torch.nn

SHAPE = (8, 8, 3)
# in PyTorch itself; test_bridge.py compares what JAX compiles with it
from_torch = functools.partial(pytorch.from_torch, bridge="callback")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """PyTorch's threads and XLA's would wait for each other's cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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


def classifier():
    """Convolution, an in-place nonlinearity, dropout, four logits."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1),
        nn.ReLU(inplace=True),
        nn.BatchNorm2d(6),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(96, 4),
    )


class Paths(nn.Module):
    """What hides a second path: skips, reuse, functions, tuples, dead ends."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.first = nn.Conv2d(4, 4, 3, padding=1)
        self.inplace = nn.LeakyReLU(0.1, inplace=True)
        self.shared = nn.Conv2d(4, 4, 1)
        self.middle = nn.Conv2d(4, 4, 1)
        self.faint = nn.Conv2d(4, 4, 1)
        self.unused = nn.Conv2d(4, 4, 1)
        self.never = nn.Conv2d(4, 4, 1)
        self.order = nn.Identity()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.tokens = nn.LayerNorm(4)
        self.head = nn.Linear(4, 5)

    def forward(self, images):
        x = self.stem(images)
        x = x + self.first(x)
        self.inplace(x)  # x itself changes, not only what the layer returns
        x = self.shared(self.shared(x))
        self.unused(x)
        x = self.middle(x)
        x = self.faint(x) + 0.002 * x
        tokens = x.flatten(2).transpose(1, 2)
        self.order(tokens.argsort(1))
        tokens = self.attention(tokens, tokens, tokens)[0]
        return self.head(self.tokens(tokens).amax(1))


def autoencoder():
    """Pixels in [0, 1], blue first, in and out."""
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(3, 8, 4, 2, 1),
        nn.Tanh(),
        nn.ConvTranspose2d(8, 3, 4, 2, 1),
        nn.Sigmoid(),
    )


@pytest.fixture(scope="module")
def resnet18():
    torch.set_num_threads(1)
    return random_model("resnet18", 64)


@pytest.fixture(scope="module")
def network(resnet18):
    return from_torch(resnet18, layer="layer3", image_shape=(64, 64, 3))


def test_a_resnet_is_cut_where_no_residual_path_goes_around(network, resnet18):
    layers = network.layers()
    assert {"conv1", "bn1", "layer1", "layer4", "avgpool", "fc"} <= set(layers)
    assert "layer1.0" in layers and list(layers)[-1] == "fc"
    within = {"layer1.0.conv1", "layer1.0.relu", "layer2.0.downsample", "layer1.0.bn2"}
    assert not within & set(layers)
    images = pictures(2, (64, 64, 3))
    for layer, values in outputs_of(resnet18, images).items():
        if layer in layers:
            assert layers[layer] == values.shape[1:]


def test_every_cut_of_a_resnet_reads_and_resumes_it(network, resnet18):
    images = pictures(2, (64, 64, 3), 1)
    theirs = outputs_of(resnet18, images)
    features = network.features_pure(network.variables, images)
    assert list(features) == list(network.layers())
    assert theirs["bn1"].min() < 0.0  # although the next layer, a ReLU, is in place
    for layer in network.layers():
        cut = network.cut_at(layer)
        z = cut.encode(images)
        np.testing.assert_array_equal(features[layer], z)
        assert error(z, theirs[layer]) <= 1e-6, layer
        assert error(cut.decode(z), theirs[""]) <= 1e-6, layer


def test_a_resnet_agrees_with_the_converted_one(resnet18):
    raw = pictures(2, (40, 40, 3), 2)
    theirs = from_torch(
        resnet18, "layer3", image_shape=(64, 64, 3), preprocessing=IMAGENET
    )
    arrays = arrays_of(resnet18)
    ours = from_arrays("resnet18", ARCHITECTURES["resnet18"], arrays, "layer3", 64)
    assert theirs.latent_shape == ours.latent_shape == (4, 4, 256)
    z = ours.encode(raw)
    assert error(theirs.encode(raw), np.asarray(z)) <= 1e-4
    assert error(theirs.decode(z), np.asarray(ours.decode(z))) <= 1e-4


def test_only_sound_cuts_are_offered_and_the_others_explained():
    network = from_torch(Paths(), "stem", image_shape=SHAPE)
    assert network.layers() == {
        "stem": (8, 8, 4),
        "middle": (8, 8, 4),
        "tokens": (64, 4),
        "head": (5,),
    }
    for layer, reason in {
        "first": "more than this layer's",
        "inplace": "more than this layer's",
        "faint": "more than this layer's",
        "unused": "more than this layer's",
        "shared": "calls it 2 times",
        "never": "calls it 0 times",
        "attention": "is a tuple",
        "order": "tensor of type torch.int64",
        "tockens": "no layer 'tockens'; did you mean tokens",
    }.items():
        with pytest.raises(ValueError, match=reason) as raised:
            network.cut_at(layer)
        assert "\n" not in str(raised.value)


def test_the_way_around_a_layer_is_named(resnet18):
    with pytest.raises(ValueError, match=r"'layer2.0.bn1': .*it can be at 'layer2.0'"):
        from_torch(resnet18, "layer2.0.bn1", image_shape=(64, 64, 3))


def test_the_users_module_stays_as_it_was_and_the_network_too():
    module = classifier().train()
    module[0].weight.requires_grad_(False)
    module[5].weight.grad = torch.ones(4, 96)
    calls = []
    module[4].register_forward_hook(lambda *_: calls.append(1))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    images = pictures()
    network = from_torch(module, "2", image_shape=SHAPE)
    y = np.asarray(network.decode(network.encode(images)))
    assert all(part.training for part in module.modules())
    assert not module[0].weight.requires_grad and module[5].weight.requires_grad
    assert (module[5].weight.grad == 1).all()
    assert [len(part._forward_hooks) for part in module.modules()].count(1) == 1
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert error(y, run(module.eval(), images)) <= 1e-6
    with torch.no_grad():
        module[0].weight.mul_(2.0)
    np.testing.assert_array_equal(network.decode(network.encode(images)), y)
    hooks = [part._forward_hooks for part in network.probe.module.module.modules()]
    assert sum(map(len, hooks)) == 1  # the user's; ours are gone


def test_images_of_an_autoencoder_come_back_in_their_own_range():
    module, images = autoencoder(), pictures()
    pixels = Preprocessing(8, (0.0,) * 3, (1.0,) * 3, channel_order="BGR")
    network = from_torch(module, "1", preprocessing=pixels)
    assert network.output == "images" and network.latent_shape == (4, 4, 8)
    expected = 2 * run(module, (images[..., ::-1] + 1) / 2)[..., ::-1] - 1
    assert error(network.decode(network.encode(images)), expected) <= 1e-6
    scaled = Preprocessing(8, (10.0, 20.0, 30.0), (2.0, 3.0, 4.0), 255.0)
    network = from_torch(nn.Sequential(nn.Identity()), "0", preprocessing=scaled)
    assert error(network.decode(network.encode(images)), images) <= 1e-5
    halved = nn.Sequential(nn.Conv2d(3, 3, 2, 2))
    network = from_torch(halved, "0", image_shape=SHAPE, output="images")
    assert error(network.decode(network.encode(images)), run(halved, images)) <= 1e-6


def test_an_image_shape_is_found_where_only_one_goes_through():
    head = nn.Sequential(nn.Conv2d(1, 2, 5), nn.Flatten(), nn.Linear(2 * 24 * 24, 3))
    network = from_torch(head, "0")
    assert (*network.image_size, network.channels) == (28, 28, 1)
    assert network.layers() == {"0": (24, 24, 2), "1": (1152,), "2": (3,)}
    anywhere = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveMaxPool2d(1), nn.Flatten())
    assert from_torch(anywhere, "1").image_size == (224, 224)


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_a_module_of_another_precision_takes_and_gives_float32(kind):
    module, images = classifier().eval().to(kind), pictures()
    network = from_torch(module, "1", image_shape=SHAPE)
    z = network.encode(images)
    pixels = torch.from_numpy(np.moveaxis(images, -1, 1).copy()).to(kind)
    expected = module(pixels).detach().float().numpy()
    assert z.dtype == jnp.float32 and network.decode(z).dtype == jnp.float32
    assert error(network.decode(z), expected) <= 1e-6


def test_under_jit_vmap_and_on_two_devices_it_is_the_same():
    module = classifier().eval()
    network, images = from_torch(module, "1", image_shape=SHAPE), pictures(8)
    variables, expected = network.variables, run(module, images)

    @jax.jit
    def f(variables, images):
        z = network.encode_pure(variables, images)
        return z, network.decode_pure(variables, z)

    z, y = f(variables, images)
    np.testing.assert_array_equal(z, network.encode(images))
    assert error(y, expected) <= 1e-6
    mesh = jax.sharding.Mesh(np.array(jax.devices("cpu")[:2]), ("data",))
    spec = jax.sharding.PartitionSpec("data")
    halves = jax.device_put(images, jax.sharding.NamedSharding(mesh, spec))
    assert error(f(variables, halves)[1], expected) <= 1e-6
    pairs = images.reshape(4, 2, *SHAPE)
    mapped = jax.jit(jax.vmap(lambda x: f(variables, x)[1]))(pairs)
    assert error(mapped.reshape(8, 4), expected) <= 1e-6
    shapes = jax.eval_shape(network.features_pure, variables, images)
    assert {name: x.shape[1:] for name, x in shapes.items()} == network.layers()


def test_threads_do_not_see_each_others_hooks():
    module = classifier().eval()
    network = from_torch(module, "1", image_shape=SHAPE)
    f = jax.jit(lambda x: network.decode_pure({}, network.encode_pure({}, x)))
    batches = [pictures(4, seed=seed) for seed in range(4)]
    wrong = []

    def work(images):
        expected = run(module, images)
        for _ in range(20):
            plain = network.decode(network.encode(images))
            for y in (plain, f(images)):
                if error(y, expected) > 1e-6:
                    wrong.append(images)

    threads = [threading.Thread(target=work, args=(x,), daemon=True) for x in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not wrong


@pytest.mark.thorough
def test_interpreting_a_torch_module_end_to_end(tmp_path):
    torch.manual_seed(3)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 4, stride=4), nn.Tanh(), nn.Flatten(), nn.Linear(16, 4)
    )
    rng = np.random.default_rng(0)
    labels = {"left": rng.integers(0, 2, 200), "right": rng.integers(0, 2, 200)}
    images = 0.1 * pictures(200, seed=3)
    images[:, :, :4] += (labels["left"] - 0.5)[:, None, None, None]
    images[:, :, 4:] += (labels["right"] - 0.5)[:, None, None, None]
    network = from_torch(module, "1", image_shape=SHAPE)
    flow = iin_jax.InterpretationFlow(16, 1, 8, 1)
    fitted = iin_jax.interpret(
        network, images, labels, flow=flow, steps=4, batch_size=32, progress=False
    )
    unchanged = fitted.swap(images[:20], images[20:40], [])
    assert error(unchanged, run(module, images[:20])) <= 1e-4
    everything = fitted.swap(images[:20], images[20:40], fitted.layout.names)
    assert error(everything, run(module, images[20:40])) <= 1e-4
    one = np.asarray(fitted.swap(images[:20], images[20:40], ["left"]))
    assert error(one, np.asarray(unchanged)) > 1e-3
    assert fitted.certify(images[:20])["prediction_agreement"] == 1.0
    fitted.save(tmp_path)
    assert iin_jax.load(tmp_path).network is None
    again = iin_jax.load(tmp_path).with_network(network)
    np.testing.assert_array_equal(again.swap(images[:20], images[20:40], ["left"]), one)


def test_variables_tell_modules_apart(tmp_path):
    module = classifier()
    network = from_torch(module, "1", image_shape=SHAPE)
    state = arrays_of(module)
    assert set(network.variables) == set(state)
    for name, value in network.variables.items():
        np.testing.assert_array_equal(value, state[name])
    same = from_torch(module, "5", image_shape=SHAPE)
    with torch.no_grad():
        module[5].bias[0] += 1e-3
    other = from_torch(module, "1", image_shape=SHAPE)
    digests = [tree_digest(x.variables) for x in (network, same, other)]
    assert digests[0] == digests[1] != digests[2]
    with pytest.raises(ValueError, match="kind 'torch' cannot be saved"):
        save_network(tmp_path, network)


class Function(nn.Module):
    """A function of a convolution's output, as a module."""

    def __init__(self, function):
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)
        self.function = function

    def forward(self, images):
        return self.function(self.layer(images))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: {"logits": x.mean((2, 3))}, "returns a dict: wrap it"),
        (lambda x: x.flatten(1).argmax(1), "returns a tensor of type torch.int64"),
        (lambda x: x[:, :2], r"\(2, 8, 8, 2\); expected logits .* or images"),
        (lambda x: x.mean((0, 2, 3))[None], r"shape \(1, 3\)"),
        (lambda x: x.mean(), r"has shape \(\)"),
        (lambda x: x.mean((2, 3)) / 0.0, "NaN or infinite"),
        (lambda x: 0.0 * x, "same for unlike images"),
        (lambda x: nn.functional.dropout(x, 0.5), "changes from call to call"),
        (lambda x: x.reshape(-1, 7), r"\(8, 8, 3\) do not go through the module"),
    ],
)
def test_modules_that_are_no_networks_are_one_clear_line(function, message):
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=message) as raised:
        from_torch(Function(function), "layer", image_shape=SHAPE)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"module": {"weight": torch.ones(1)}}, "torch.nn.Module; got dict"),
        ({"layer": "7"}, "no layer '7'; known: 0, 1"),
        ({"image_shape": (8, 8, 1)}, r"\(8, 8, 1\) do not go through .*channels"),
        ({"image_shape": (8, 8)}, r"image_shape is \(H, W, C\).*got \(8, 8\)"),
        ({"image_shape": None}, r"\(224, 224, 3\) or .* do not go through"),
        ({"image_shape": (8, 4, 3), "preprocessing": IMAGENET}, "H = W"),
        ({"output": "image"}, "'images', 'logits' or None; got 'image'"),
        ({"output": "images"}, r"shape \(2, 4\); expected images \(2, 8, 8, 3\)"),
    ],
)
def test_mistakes_are_one_clear_line(change, message):
    arguments = {"module": classifier(), "layer": "1", "image_shape": SHAPE} | change
    with pytest.raises(ValueError, match=message) as raised:
        from_torch(**arguments)
    assert "\n" not in str(raised.value)


def test_images_and_latents_of_another_shape_are_refused():
    network = from_torch(classifier(), "1", image_shape=SHAPE)
    with pytest.raises(ValueError, match=r"\(B, 8, 8, 3\); got .*image_shape="):
        network.encode(pictures(2, (9, 8, 3)))
    with pytest.raises(ValueError, match=r"must lie in \[-1, 1\]"):
        network.encode(2 * pictures())
    with pytest.raises(ValueError, match=r"shape \(B, 4, 4, 6\); got \(2, 6, 4, 4\)"):
        network.decode(np.zeros((2, 6, 4, 4), np.float32))
    resized = dataclasses.replace(IMAGENET, size=8)
    network = from_torch(classifier(), "1", preprocessing=resized)
    assert network.encode(pictures(2, (9, 9, 3))).shape == (2, 4, 4, 6)
    with pytest.raises(ValueError, match="images must have shape"):
        network.encode(pictures(2, (9, 8, 3)))


def test_a_module_that_works_in_place_leaves_images_and_latents_alone():
    module = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(1, 1, 1), nn.Tanh())
    module[2].register_forward_pre_hook(lambda module, inputs: inputs[0].mul_(2.0))
    images = pictures(2, (8, 8, 1))
    z = images - 0.5
    given = images.copy(), z.copy()
    network = from_torch(module, "1", image_shape=[8, 8, 1])
    network.encode(images)
    network.decode(z)
    network.encode_pure({}, images)
    network.decode_pure({}, z)
    np.testing.assert_array_equal(images, given[0])
    np.testing.assert_array_equal(z, given[1])


def test_a_module_that_cannot_be_copied_is_one_clear_line():
    module = classifier()
    module.cached = module[5](torch.ones(1, 96))  # has a history of operations
    with pytest.raises(ValueError, match=r"cannot be copied: .*deepcopy") as raised:
        from_torch(module, "1", image_shape=SHAPE)
    assert "\n" not in str(raised.value)


def test_without_torch_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"pip install 'iin_jax\[torch\]'"):
        from_torch(object(), "0")
