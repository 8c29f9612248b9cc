"""PyTorch modules as people have them: compiled, scripted, data-parallel, averaged."""

import collections
import dataclasses
import functools
import warnings

import numpy as np
import pytest

from iin_jax.networks.adapters import pytorch

torch = pytest.importorskip("torch")
nn = torch.nn

SHAPE = (8, 8, 3)
from_torch = functools.partial(pytorch.from_torch, bridge="callback")
IMAGES = np.random.default_rng(0).uniform(-1, 1, (3, *SHAPE)).astype(np.float32)


def classifier():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(96, 4)
    )


def cut(module, layer="1"):
    return from_torch(module, layer, image_shape=SHAPE)


def compiled(module):
    return torch.compile(module, backend="eager")


def compiled_within(module):
    module[1] = compiled(module[1])
    return module


WRAPPERS = {
    "compiled": (compiled, "_orig_mod.1"),
    "data-parallel": (nn.DataParallel, "module.1"),
    "averaged": (torch.optim.swa_utils.AveragedModel, "module.1"),
    "data-parallel of compiled": (
        lambda m: nn.DataParallel(compiled(m)),
        "module._orig_mod.1",
    ),
    "compiled within": (compiled_within, "1._orig_mod"),
}


@pytest.mark.parametrize("kind", WRAPPERS)
def test_a_wrapped_module_is_cut_like_the_plain_one(kind):
    wrap, name = WRAPPERS[kind]
    plain = cut(classifier())
    network = cut(wrap(classifier()))
    assert network.layers() == plain.layers()
    z = network.encode(IMAGES)
    np.testing.assert_array_equal(z, plain.encode(IMAGES))
    np.testing.assert_array_equal(network.decode(z), plain.decode(z))
    assert cut(wrap(classifier()), name).layer == "1"


def test_the_users_compiled_part_stays_compiled():
    module = compiled_within(classifier())
    part = module[1]
    cut(module)
    assert module[1] is part


def test_a_traced_module_is_one_clear_line_and_a_traced_part_is_no_obstacle():
    module = classifier().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        traced = torch.jit.trace(module, torch.zeros(1, 3, 8, 8))
        part = torch.jit.script(classifier()[:2])
    with pytest.raises(ValueError, match=r"TorchScript.*give the torch.nn.Module"):
        cut(traced)
    mixed = nn.Sequential(part, *classifier()[2:])
    assert list(cut(mixed).layers()) == ["1", "2"]


@dataclasses.dataclass
class Output:
    logits: torch.Tensor
    hidden: torch.Tensor
    loss: None = None


class Packed(nn.Module):
    """A classifier whose layer and output are packed by functions."""

    def __init__(self, pack_layer, pack_output):
        super().__init__()
        self.layer = SimpleLayer(pack_layer)
        self.head = nn.Linear(96, 4)
        self.pack = pack_output

    def forward(self, images):
        z = self.layer(images)
        z = z.sample if isinstance(z, Sample) else z
        return self.pack(self.head(z.flatten(1)), z)


class SimpleLayer(nn.Module):
    def __init__(self, pack):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, 2, 1)
        self.pack = pack

    def forward(self, images):
        return self.pack(self.conv(images))


@dataclasses.dataclass(frozen=True)
class Sample:
    sample: torch.Tensor
    size: int = 4


class Twofold(collections.OrderedDict):
    """A dictionary and dataclass at once, as transformers' outputs are."""

    def __setattr__(self, name, value):
        super().__setitem__(name, value)
        super().__setattr__(name, value)


@dataclasses.dataclass
class Named(Twofold):
    logits: torch.Tensor
    classes: torch.Tensor


@pytest.mark.parametrize(
    "pack",
    [
        lambda y, z: Output(y, z),
        lambda y, z: Sample(y),
        lambda y, z: Named(y, y.argmax(1)),
    ],
)
def test_outputs_in_dataclasses(pack):
    torch.manual_seed(0)
    plain = cut(Packed(lambda z: z, lambda y, z: y), "layer")
    torch.manual_seed(0)
    network = cut(Packed(Sample, pack), "layer")
    z = network.encode(IMAGES)
    np.testing.assert_array_equal(z, plain.encode(IMAGES))
    np.testing.assert_array_equal(network.decode(z), plain.decode(z))


def test_several_tensors_without_logits_are_one_clear_line():
    two = dataclasses.make_dataclass("Two", ["y", "z"])
    with pytest.raises(ValueError, match="returns a Two: wrap it"):
        cut(Packed(lambda z: z, two), "layer")
    with pytest.raises(ValueError, match="returns a dict: wrap it"):
        cut(Packed(lambda z: z, lambda y, z: {"logits": y}), "layer")


class Mates(nn.Module):
    def __init__(self, take):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, 2, 1)
        self.head = nn.Linear(96, 4)
        self.take = take

    def forward(self, images):
        return self.head(self.take(self.conv(images)).flatten(1))


def test_a_module_that_sees_the_rest_of_a_batch_is_one_clear_line():
    for take in (nn.BatchNorm2d(6, track_running_stats=False), lambda x: x - x.mean(0)):
        with pytest.raises(ValueError, match="depends on the other images of its bat"):
            cut(Mates(take), "conv")

    def two(x):
        return x.reshape(2, 6, 4, 4)

    with pytest.raises(ValueError, match="does not take one image alone: shape"):
        cut(Mates(two), "conv")
    for precision in (torch.float16, torch.bfloat16):
        assert cut(classifier().to(precision)).layer == "1"
