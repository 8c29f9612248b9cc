"""Torchvision's models for parity tests: random weights, statistics of their own."""

import sys
import types

import numpy as np
import pytest

# a transformer of the same kind in small, in our names
TINY_VIT = {"patch": 32, "width": 64, "depth": 2, "heads": 4, "hidden": 128}


def torchvision_models():
    """``torchvision.models``; tests skip without torch or torchvision."""
    pytest.importorskip("torch")
    # without torchvision's compiled operators this registration fails on import
    sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("none"))
    return pytest.importorskip("torchvision").models


def random_model(name: str, image_size: int, seed: int = 0):
    """A torchvision model in evaluation mode with randomised normalisation."""
    models = torchvision_models()
    import torch

    torch.manual_seed(seed)
    settings = {}
    if name.startswith("vit"):
        settings["image_size"] = image_size
    if name.startswith("inception"):
        settings = {"init_weights": False, "transform_input": False}
    if name == "inception_v3_fid":
        settings |= {"num_classes": 1008, "aux_logits": False}
    if name == "vit_tiny":
        patch, width, depth, heads, hidden = TINY_VIT.values()
        model = models.VisionTransformer(image_size, patch, depth, heads, width, hidden)
    else:
        model = models.get_model(name.removesuffix("_fid"), weights=None, **settings)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.2)
    for parameter in model.parameters():
        if parameter.ndim == 3:  # class token, position embedding: zeros at first
            parameter.data.normal_(0, 0.2)
    if name.startswith("vit"):
        model.heads.head.weight.data.normal_(0, 0.05)
    if name == "inception_v3_fid":
        as_of_2015(model)
    return model.eval()


def as_of_2015(model) -> None:
    """Turns torchvision's Inception-v3 into the network of the FID, by its pooling."""
    import torch.nn.functional as F

    def pooled(block, pool):
        branch = block.branch_pool

        class Branch(type(branch)):
            def forward(self, x):  # x is what the block pooled; the input is kept below
                return super().forward(pool(block.seen))

        branch.__class__ = Branch
        block.register_forward_pre_hook(
            lambda module, inputs: setattr(module, "seen", inputs[0])
        )

    def mean(x):
        return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)

    def maximum(x):
        return F.max_pool2d(x, 3, stride=1, padding=1)

    for letter in ("5b", "5c", "5d", "6b", "6c", "6d", "6e", "7b"):
        pooled(getattr(model, f"Mixed_{letter}"), mean)
    pooled(model.Mixed_7c, maximum)


def arrays_of(model) -> dict[str, np.ndarray]:
    """The state dict as NumPy arrays."""
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def outputs_of(model, images: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs of all submodules by name, and ``""`` for the model, channels last.

    Args:
      model: in evaluation mode.
      images: preprocessed, (B, H, W, 3).
    """
    import torch

    found: dict[str, np.ndarray] = {}

    def keep(name):
        def hook(module, inputs, output):
            value = output[0] if isinstance(output, tuple) else output
            array = value.detach().clone().numpy()
            found[name] = np.moveaxis(array, 1, -1) if array.ndim == 4 else array

        return hook

    hooks = [
        module.register_forward_hook(keep(name))
        for name, module in model.named_modules()
    ]
    with torch.no_grad():
        model(torch.from_numpy(np.moveaxis(images, -1, 1).copy()))
    for hook in hooks:
        hook.remove()
    return found
