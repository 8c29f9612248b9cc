"""Any PyTorch module as a ``Network``; the one file of networks that imports torch."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from iin_jax.files.faults import first_line
from iin_jax.networks.adapters.callback import TorchNetwork
from iin_jax.networks.adapters.cutting import output_kind, probe_module
from iin_jax.networks.adapters.jitted import bridged
from iin_jax.networks.adapters.module import FrozenModule
from iin_jax.networks.adapters.network import CutNetwork, prepared
from iin_jax.networks.adapters.wrappers import plain_name
from iin_jax.networks.pretrained import Preprocessing

NEEDS_TORCH = (
    "from_torch needs torch, which is not installed: pip install 'iin_jax[torch]'"
)
BRIDGES = ("auto", "callback", "jax")
SIZES = (224, 32, 28, 64, 96, 128, 256, 299)  # image sizes to try


def from_torch(
    module: Any,
    layer: str,
    *,
    image_shape: tuple[int, int, int] | None = None,
    preprocessing: Preprocessing | None = None,
    output: str | None = None,
    bridge: str = "auto",
) -> CutNetwork:
    """Any PyTorch module as a frozen network, cut behind one of its submodules.

    The module is copied and used in evaluation mode, on the device of its parameters;
    it is called with images (B, C, H, W) and returns logits (B, classes) or images,
    alone or in a dataclass, under ``logits`` or without another tensor. Of a compiled,
    data-parallel or averaged module the plain one inside is used. E reads a layer's
    output with a forward hook. G is the forward pass of some other image with that
    output replaced by z, so f can be cut only where nothing leads around the layer;
    this is tried out on two images.

    z is channels last: (H, W, C), (C,), or (tokens, C) for outputs with three axes.

    With torchax the module becomes a JAX function, if E and G agree with PyTorch on
    four images: compiled, with gradients, without a callback. Else it runs in PyTorch,
    and one warning says why.

    Args:
      module: ``torch.nn.Module``.
      layer: name of a submodule, as in ``module.named_modules()``.
      image_shape: (H, W, C) of the images that the module takes. None: the size of the
        preprocessing, or else the first of 224, 32, 28, 64, 96, 128, 256 and 299 pixels
        that goes through, with the channels of its first convolution.
      preprocessing: from RGB in [-1, 1] to what the module takes; square images of any
        size are then resized, and images that the module returns brought back by its
        inverse. None: images go in as they are.
      output: ``"images"`` or ``"logits"``; None: told from the module's output. Only
        images of another size than the module takes need it.
      bridge: ``"auto"``; ``"callback"``: in PyTorch; ``"jax"``: as a JAX function, or
        an error.

    Raises:
      ImportError: torch is not installed.
      ValueError: not a module, or a traced one; images that do not go through it; an
        output that is neither, or depends on the other images of a batch; a layer that
        does not exist or at which f cannot be cut; what is no JAX function but has to
        be one.
    """
    torch = _torch()
    if not isinstance(module, torch.nn.Module):
        raise ValueError(
            f"from_torch takes a torch.nn.Module; got {type(module).__name__}"
        )
    if bridge not in BRIDGES:
        raise ValueError(f"bridge is 'auto', 'callback' or 'jax'; got {bridge!r}")
    frozen = FrozenModule(torch, module)
    shapes = [image_shape] if image_shape else _usual(module, preprocessing)
    shape, y = _going_through(frozen, shapes, preprocessing)
    kind = output_kind(y, shape, output)
    probe = probe_module(frozen, lambda x: prepared(preprocessing, x, shape), shape)
    layer = layer if layer in frozen.layers else probe.named(plain_name(layer))
    latent_shape = probe.shape_at(layer)
    output_shape = tuple(np.shape(y)[1:])
    network = TorchNetwork(
        probe, layer, latent_shape, shape, output_shape, kind, preprocessing, frozen
    )
    return network if bridge == "callback" else bridged(network, bridge == "jax")


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError(NEEDS_TORCH) from error
    return torch


def _usual(
    module: Any, preprocessing: Preprocessing | None
) -> list[tuple[int, int, int]]:
    """Shapes that images of this module may well have."""
    if preprocessing is not None:
        return [(preprocessing.size, preprocessing.size, len(preprocessing.mean))]
    counts = (getattr(part, "in_channels", None) for part in module.modules())
    channels = next((count for count in counts if isinstance(count, int)), 3)
    return [(size, size, channels) for size in SIZES]


def _going_through(
    module: FrozenModule,
    shapes: Sequence[tuple[int, int, int]],
    preprocessing: Preprocessing | None,
) -> tuple[tuple[int, int, int], np.ndarray | str]:
    """The first shape (H, W, C) that goes through, and f of two grey images of it."""
    reason = ""
    for shape in shapes:
        if len(shape) != 3 or (preprocessing is not None and shape[0] != shape[1]):
            raise ValueError(
                "image_shape is (H, W, C), with H = W under a preprocessing; got "
                f"{tuple(shape)}"
            )
        height, width, channels = shape
        images = np.zeros((2, *shape), np.float32)
        try:
            y = module(prepared(preprocessing, images, shape))
            return (height, width, channels), y
        except Exception as error:  # a module fails with whatever it runs into
            reason = reason or first_line(error)
    tried = " or ".join(str(tuple(shape)) for shape in shapes)
    raise ValueError(
        f"images of shape {tried} do not go through the module: {reason}; give "
        "image_shape=(H, W, C)"
    )
