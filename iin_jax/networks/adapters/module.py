"""A PyTorch module on NumPy arrays, whose layers hooks read and replace.

torch itself comes as an argument: ``pytorch`` is the one file here that imports it.
"""

import contextlib
import copy
import functools
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from iin_jax.files.faults import first_line
from iin_jax.networks.adapters.wrappers import (
    hookable_layers,
    tensor_in,
    unwrap_parts,
    unwrapped,
    with_tensor,
)
from iin_jax.types import Array, Images, Tree


class FrozenModule:
    """A copy of a module in evaluation mode; what it was copied from stays untouched.

    Outside, images and outputs are float32, those with four axes channels last; inside
    they are (B, C, H, W), on the device and of the type of the parameters.

    Of outputs that are dataclasses the one float tensor counts, or that called
    ``logits``. Compiled, data-parallel and averaged modules run as the plain
    modules inside them.

    Attributes:
      torch: PyTorch itself.
      module: the copy.
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
        self.module = module.eval()
        self.torch = torch
        self._lock = threading.Lock()  # callbacks of several devices share the hooks
        arrays = itertools.chain(module.parameters(), module.buffers())
        floats = (array for array in arrays if array.is_floating_point())
        first_float = next(floats, torch.zeros(()))
        self._device, self._type = first_float.device, first_float.dtype
        self.layers = hookable_layers(torch, module)

    @property
    def rounding(self) -> float:
        """Relative rounding error of the parameters' type."""
        return self.torch.finfo(self._type).eps

    @property
    def type(self) -> str:
        """Name of the parameters' type."""
        return str(self._type).removeprefix("torch.")

    @functools.cached_property
    def variables(self) -> Tree:
        arrays = {}
        for name, value in self.module.state_dict().items():
            if isinstance(value, self.torch.Tensor):
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
            replaced = tensor_in(self.torch, output)
            tensor = self.torch.from_numpy(value)
            tensor = tensor.to(replaced.device, replaced.dtype)
            return with_tensor(self.torch, output, tensor)

        return self._array(self._run(images, {layer: hook}))

    def passed_around(self, layer: str) -> None:
        """Nothing: only trying tells."""

    def _run(self, images: Images, hooks: Mapping[str, Callable[..., Any]]) -> Any:
        # copied: a module may work in place, and JAX's arrays must never change
        pixels = np.array(np.moveaxis(np.asarray(images), -1, 1), np.float32, order="C")
        x = self.torch.from_numpy(pixels).to(self._device, self._type)
        with self.hooked(hooks) as module:
            return module(x)

    @contextlib.contextmanager
    def hooked(self, hooks: Mapping[str, Callable[..., Any]]) -> Iterator[Any]:
        """The module while forward hooks are on its layers, for one thread."""
        with self._lock, self.torch.no_grad():
            handles = [
                self.module.get_submodule(layer).register_forward_hook(hook)
                for layer, hook in hooks.items()
            ]
            try:
                yield self.module
            finally:
                for handle in handles:
                    handle.remove()

    def _array(self, output: Any) -> np.ndarray | str:
        output = tensor_in(self.torch, output)
        if not isinstance(output, self.torch.Tensor):
            return type(output).__name__
        if not output.is_floating_point():
            return f"tensor of type {output.dtype}"
        array = output.detach().float().cpu().numpy()
        # copied: the next layer may work in place
        return np.array(np.moveaxis(array, 1, -1) if array.ndim == 4 else array)
