"""Twelve PyTorch modules that no converter of ours knows, with random weights."""

import importlib
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from skimage import data

SIZE = 64  # H = W of their images, in pixels
BATCH = 25
BATCHES = 20
SEEN = 4  # batches behind the statistics of a module


def torchvision_module(name: str, **settings: Any) -> torch.nn.Module:
    """A model of torchvision's, also where its compiled operators do not load."""
    sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("none"))
    import torchvision

    return torchvision.models.get_model(name, weights=None, **settings)


def timm_module(name: str, **settings: Any) -> torch.nn.Module:
    """A model of timm's."""
    sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("none"))
    timm = importlib.import_module("timm")
    return timm.create_model(name, pretrained=False, **settings)


Layers = tuple[str, str, str]
MODULES: dict[str, tuple[Callable[..., torch.nn.Module], dict[str, Any], Layers]] = {
    "mobilenet_v2": (torchvision_module, {}, ("features.2", "features.8", "features")),
    "mobilenet_v3_small": (
        torchvision_module,
        {},
        ("features.2", "features.6", "classifier.1"),
    ),
    "efficientnet_b0": (
        torchvision_module,
        {},
        ("features.2", "features.4", "features.7"),
    ),
    "shufflenet_v2_x0_5": (torchvision_module, {}, ("stage2", "stage3.4", "conv5")),
    "mnasnet0_5": (torchvision_module, {}, ("layers.8", "layers.10", "layers.13")),
    "regnet_y_400mf": (
        torchvision_module,
        {},
        ("stem", "trunk_output.block2", "trunk_output.block4"),
    ),
    "googlenet": (
        torchvision_module,
        {"init_weights": False, "aux_logits": False},
        ("conv2", "inception3b", "inception5a"),
    ),
    "convnext_tiny": (torchvision_module, {}, ("features.1", "features.3", "avgpool")),
    "swin_t": (torchvision_module, {}, ("features.1", "features.3", "norm")),
    "ghostnet_100": (timm_module, {}, ("blocks.1", "blocks.4", "conv_head")),
    "resmlp_12_224": (timm_module, {"img_size": SIZE}, ("stem", "blocks.5", "norm")),
    "mixer_s16_224": (timm_module, {"img_size": SIZE}, ("stem", "blocks.3", "norm")),
}


def photographs(batches: int = BATCHES, seed: int = 0) -> Iterator[np.ndarray]:
    """Batches of random crops of two photographs, (B, H, W, 3) in [-1, 1]."""
    rng = np.random.default_rng(seed)
    pictures = [data.astronaut(), data.cat()]
    for _ in range(batches):
        crops = []
        for _ in range(BATCH):
            picture = pictures[rng.integers(len(pictures))]
            top, left = rng.integers(0, np.array(picture.shape[:2]) - SIZE)
            crops.append(picture[top : top + SIZE, left : left + SIZE])
        yield (np.stack(crops) / 127.5 - 1.0).astype(np.float32)


def random_module(name: str, seed: int = 0) -> torch.nn.Module:
    """One of ``MODULES``: statistics of photographs, then changed, as are scales.

    Fresh weights alone would let most of these fade to rounding; changed more, regnet
    and efficientnet amplify it until PyTorch disagrees with itself in 64 bits.
    """
    torch.manual_seed(seed)
    make, settings, _ = MODULES[name]
    module = make(name, **settings)
    norms = [
        part for part in module.modules() if isinstance(part, torch.nn.BatchNorm2d)
    ]
    for part in module.modules():
        if isinstance(part, torch.nn.Linear):
            torch.nn.init.normal_(part.weight, 0.0, part.in_features**-0.5)
    for norm in norms:
        norm.weight.data.uniform_(0.7, 1.3)
        norm.bias.data.normal_(0.0, 0.2)
        norm.reset_running_stats()
        norm.momentum = 1.0
    module.eval()
    for norm in norms:
        norm.train()
    with torch.no_grad():
        seen = np.concatenate(list(photographs(SEEN, seed + 1)))
        module(torch.from_numpy(seen.transpose(0, 3, 1, 2)))
    for norm in norms:
        if norm.running_mean is not None and norm.running_var is not None:
            moved = 0.05 * torch.randn_like(norm.running_mean)
            norm.running_mean.add_(moved * norm.running_var.sqrt())
            norm.running_var.mul_(torch.empty_like(norm.running_var).uniform_(0.9, 1.1))
    return module.eval()
