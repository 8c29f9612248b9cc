"""A PyTorch module on NumPy arrays, and the layers at which it can be cut.

torch itself comes as an argument: ``pytorch`` is the one file here that imports it.
"""

import copy
import dataclasses
import functools
import itertools
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from iin_jax.files.hints import nearest
from iin_jax.networks.adapters.wrappers import (
    hookable_layers,
    tensor_in,
    unwrap_parts,
    unwrapped,
    with_tensor,
)
from iin_jax.types import Array, Images, Tree

TOLERANCE = 1e-4  # |G(z) - f|, over f's spread between two images
# the same for f of an image alone and beside another: kernels round by size of batch
MATES_TOLERANCE = 1e-2
HALF_ROUNDING = 16  # rounding errors of 16-bit numbers that count as none, there


class FrozenModule:
    """A copy of a module in evaluation mode; what it was copied from stays untouched.

    Outside, images and outputs are float32, those with four axes channels last; inside
    they are (B, C, H, W), on the device and of the type of the parameters.

    Of outputs that are dataclasses the one float tensor counts, or that called
    ``logits``. Compiled, data-parallel and averaged modules run as the plain
    modules inside them.

    Attributes:
      layers: names of all submodules that hooks can reach.
      variables: name -> array of its state dict.
    """

    def __init__(self, torch: Any, module: Any):
        module = unwrapped(torch, module)
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError(
                "the module is traced or scripted (TorchScript), and its layers take "
                "no hooks: give the torch.nn.Module that it was made from"
            )
        try:
            module = copy.deepcopy(module)
        except Exception as error:  # its parts fail with whatever they run into
            raise ValueError(
                f"the module cannot be copied: {first_line(error)}"
            ) from error
        unwrap_parts(torch, module)
        for array in module.parameters():
            if array.is_leaf:  # those of copied TorchScript are not
                array.grad = None
                array.requires_grad_(False)
        self._module = module.eval()
        self._torch = torch
        self._lock = threading.Lock()  # callbacks of several devices share the hooks
        arrays = itertools.chain(module.parameters(), module.buffers())
        floats = (array for array in arrays if array.is_floating_point())
        first_float = next(floats, torch.zeros(()))
        self._device, self._type = first_float.device, first_float.dtype
        self.layers = hookable_layers(torch, module)

    @property
    def rounding(self) -> float:
        """Relative rounding error of the parameters' type."""
        return self._torch.finfo(self._type).eps

    @functools.cached_property
    def variables(self) -> Tree:
        arrays = {}
        for name, value in self._module.state_dict().items():
            if isinstance(value, self._torch.Tensor):
                value = value.detach().cpu()
                value = value.float() if value.is_floating_point() else value
                arrays[name] = np.array(value.numpy())
        return arrays

    def __call__(self, images: Images) -> np.ndarray | str:
        """f of images (B, H, W, C), as the module wants them; see ``outputs``."""
        return self._array(self._run(images, {}))

    def outputs(
        self, images: Images, layers: Iterable[str]
    ) -> dict[str, list[np.ndarray | str]]:
        """What layers return in one forward pass, one entry per call.

        Layers stand in the order in which they finish; those that are never called are
        last. In place of an output that is no float tensor stands what it is.
        """
        layers, calls = tuple(layers), {}

        def hook_of(layer: str) -> Callable[..., None]:
            def hook(module: Any, inputs: Any, output: Any) -> None:
                calls.setdefault(layer, []).append(self._array(output))

            return hook

        self._run(images, {layer: hook_of(layer) for layer in layers})
        return calls | {layer: [] for layer in layers if layer not in calls}

    def resumed(self, layer: str, z: Array, images: Images) -> np.ndarray | str:
        """f of images with z (B, ...) in place of what the layer returns."""
        z = np.asarray(z)
        value = np.array(np.moveaxis(z, -1, 1) if z.ndim == 4 else z, order="C")

        def hook(module: Any, inputs: Any, output: Any) -> Any:
            replaced = tensor_in(self._torch, output)
            tensor = self._torch.from_numpy(value)
            tensor = tensor.to(replaced.device, replaced.dtype)
            return with_tensor(self._torch, output, tensor)

        return self._array(self._run(images, {layer: hook}))

    def _run(self, images: Images, hooks: Mapping[str, Callable[..., Any]]) -> Any:
        # copied: a module may work in place, and JAX's arrays must never change
        pixels = np.array(np.moveaxis(np.asarray(images), -1, 1), np.float32, order="C")
        x = self._torch.from_numpy(pixels).to(self._device, self._type)
        with self._lock, self._torch.no_grad():
            handles = [
                self._module.get_submodule(layer).register_forward_hook(hook)
                for layer, hook in hooks.items()
            ]
            try:
                return self._module(x)
            finally:
                for handle in handles:
                    handle.remove()

    def _array(self, output: Any) -> np.ndarray | str:
        output = tensor_in(self._torch, output)
        if not isinstance(output, self._torch.Tensor):
            return type(output).__name__
        if not output.is_floating_point():
            return f"tensor of type {output.dtype}"
        array = output.detach().float().cpu().numpy()
        # copied: the next layer may work in place
        return np.array(np.moveaxis(array, 1, -1) if array.ndim == 4 else array)


@dataclasses.dataclass(frozen=True, eq=False)
class Probe:
    """Tells on two pairs of unlike images where f can be cut.

    Attributes:
      module: f.
      images, base: (2, H, W, C) each, as the module wants them.
      expected: f of ``images``.
      tolerance: largest difference to ``expected`` that counts as none.
    """

    module: FrozenModule
    images: np.ndarray
    base: np.ndarray
    expected: np.ndarray
    tolerance: float

    def cuts(self, layers: Iterable[str]) -> dict[str, tuple[int, ...] | str]:
        """layer -> shape of one latent there, or why f cannot be cut there."""
        outputs = self.module.outputs(self.images, layers)
        return {layer: self._cut(layer, calls) for layer, calls in outputs.items()}

    @functools.cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every layer at which f can be cut -> shape of one latent there.

        Takes one forward pass per layer, and one more.
        """
        cuts = self.cuts(self.module.layers)
        return {layer: x for layer, x in cuts.items() if not isinstance(x, str)}

    def shape_at(self, layer: str) -> tuple[int, ...]:
        """Shape of one latent at a layer.

        Raises:
          ValueError: no such layer, or f cannot be cut there; the message says why.
        """
        if layer not in self.module.layers:
            known = nearest(layer, self.module.layers)
            raise ValueError(f"the module has no layer {layer!r}{known}")
        cut = self.cuts([layer])[layer]
        if not isinstance(cut, str):
            return cut
        names = layer.split(".")
        enclosing = [".".join(names[:end]) for end in range(len(names) - 1, 0, -1)]
        cuttable = (x for x in enclosing if not isinstance(self.cuts([x])[x], str))
        hint = next((f"; it can be at {x!r}" for x in cuttable), "")
        raise ValueError(f"the module cannot be cut at {layer!r}: {cut}{hint}")

    def _cut(self, layer: str, calls: list[np.ndarray | str]) -> tuple[int, ...] | str:
        if len(calls) != 1:
            return f"a forward pass calls it {len(calls)} times, not once"
        z = calls[0]
        if isinstance(z, str):
            return f"its output is a {z}, not one float tensor"
        if z.ndim not in (2, 3, 4) or len(z) != len(self.images):
            return (
                f"its output for {len(self.images)} images has shape {z.shape}, not "
                "(B, C), (B, tokens, C) or (B, H, W, C)"
            )
        resumed = self.module.resumed(layer, z, self.base)
        if not _distance(resumed, self.expected) <= self.tolerance:
            return "the output depends on more than this layer's (a path around it)"
        return tuple(z.shape[1:])


def probe_module(
    module: FrozenModule, prepare: Callable[[Images], Array], shape: tuple[int, ...]
) -> Probe:
    """Runs f on noise, on a ramp, and on their negatives.

    Args:
      module: f.
      prepare: from images in [-1, 1] to what the module takes.
      shape: (H, W, C) of one image.

    Raises:
      ValueError: f is not finite, changes from call to call, does not depend on its
        images, or for one image depends on the other images of the batch.
    """
    noise = np.random.default_rng(0).uniform(-1.0, 1.0, shape)
    ramp = np.broadcast_to(np.linspace(-1.0, 1.0, shape[0])[:, None, None], shape)
    inputs = np.stack([noise, ramp]).astype(np.float32)
    images, base = np.asarray(prepare(inputs)), np.asarray(prepare(-inputs[::-1]))
    expected, repeated, other = module(images), module(images), module(base)
    spread = _distance(expected, other)
    if not np.isfinite(spread):
        raise ValueError("the module's output contains NaN or infinite values")
    if spread == 0.0:
        raise ValueError("the module's output is the same for unlike images")
    if not _distance(repeated, expected) <= TOLERANCE * spread:
        raise ValueError(
            "the module's output for the same images changes from call to call: is "
            "something random or counting in it in evaluation mode?"
        )
    _check_mates(module, images, np.asarray(expected), spread)
    return Probe(module, images, base, np.asarray(expected), TOLERANCE * spread)


def _check_mates(
    module: FrozenModule, images: np.ndarray, expected: np.ndarray, spread: float
) -> None:
    """Raises ValueError unless f of an image is the same alone and in a batch."""
    try:
        alone = np.concatenate([module(images[:1]), module(images[1:])])
    except Exception as error:  # a module fails with whatever it runs into
        raise ValueError(
            f"the module does not take one image alone: {first_line(error)}"
        ) from error
    tolerance = max(MATES_TOLERANCE, HALF_ROUNDING * module.rounding)
    if not _distance(alone, expected) <= tolerance * spread:
        raise ValueError(
            "the module's output for an image depends on the other images of its "
            "batch: is there a normalisation over the batch, as by BatchNorm without "
            "running statistics?"
        )


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its kind if there is none."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _distance(a: np.ndarray | str, b: np.ndarray | str) -> float:
    with np.errstate(invalid="ignore"):  # infinity less infinity is told by its NaN
        return float(np.abs(np.asarray(a) - np.asarray(b)).max())
