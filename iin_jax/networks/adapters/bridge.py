"""A PyTorch module as pure JAX functions; the one file that imports torchax.

torch itself comes as an argument, as in ``module``.
"""

import contextlib
import importlib
import os
import sys
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from iin_jax.files.faults import first_line
from iin_jax.networks.adapters.module import FrozenModule
from iin_jax.networks.adapters.wrappers import tensor_in, with_tensor
from iin_jax.networks.convolution import convolve, depthwise
from iin_jax.types import Array, Images, Tree

# overloads that torchax 0.0.13 names and PyTorch 2.13 no longer has
NAMED_OVERLOADS = {
    "all": ("dimname", "dimname_out"),
    "index_add": ("dimname",),
    "index_copy": ("dimname",),
    "index_copy_": ("dimname",),
    "index_fill": ("Dimname_Scalar", "Dimname_Tensor"),
    "index_fill_": ("Dimname_Scalar", "Dimname_Tensor"),
    "norm": (
        "names_ScalarOpt_dim",
        "names_ScalarOpt_dim_dtype",
        "names_dtype_out",
        "names_out",
    ),
    "prod": ("dim_Dimname",),
    "std": ("names_dim", "names_out", "correction_names", "correction_names_out"),
    "std_mean": ("names_dim", "correction_names"),
    "unbind": ("Dimname",),
}
DEVICE = "jax"  # torchax's, in PyTorch
SETTING = "jax_pjrt_client_create_options"  # importing torchax changes both
TELEMETRY = "ENABLE_RUNTIME_UPTIME_TELEMETRY"


class BridgedModule:
    """The forward pass of a frozen module over JAX arrays.

    The module's own Python code runs once per shape, over tensors that hold traced
    arrays; compiled programs call neither it nor PyTorch. Images and outputs are
    float32, those with four axes channels last, as those of ``FrozenModule``.

    Attributes:
      variables: name -> array of all parameters, buffers and plain tensors.
    """

    def __init__(self, frozen: FrozenModule):
        self._frozen = frozen
        self._torch = frozen.torch
        self._environment = _environment(frozen.torch)
        self.variables = {
            name: jnp.asarray(tensor.detach().cpu().numpy())
            for name, tensor in _tensors(frozen.torch, frozen.module).items()
        }

    def outputs(
        self, variables: Tree, images: Images, layers: Iterable[str]
    ) -> dict[str, Array]:
        """images (B, H, W, C), as the module wants them -> what layers return."""
        values = {}

        def hook_of(layer: str) -> Callable[..., None]:
            def hook(module: Any, inputs: Any, output: Any) -> None:
                values[layer] = self._array(output)

            return hook

        layers = tuple(layers)
        self._run(variables, images, {layer: hook_of(layer) for layer in layers})
        return {layer: values[layer] for layer in layers}

    def resumed(self, variables: Tree, layer: str, z: Array, images: Images) -> Array:
        """f of images with z (B, ...) in place of what the layer returns."""
        value = jnp.moveaxis(z, -1, 1) if z.ndim == 4 else z

        def hook(module: Any, inputs: Any, output: Any) -> Any:
            tensor = self._environment.j2t_iso(jnp.asarray(value))
            return with_tensor(self._torch, output, tensor)

        return self._run(variables, images, {layer: hook})

    def _run(
        self,
        variables: Tree,
        images: Images,
        hooks: Mapping[str, Callable[..., Any]],
    ) -> Array:
        torch, environment = self._torch, self._environment
        arrays = {name: jnp.asarray(value) for name, value in variables.items()}
        pixels = jnp.moveaxis(jnp.asarray(images), -1, 1)
        with (
            self._frozen.hooked(hooks) as module,
            _plain_attention(torch),
            _short_integers(),
            _device_module(torch),
            # made here: a key of another trace must not be split in this one
            environment.override_property(prng=jax.random.key(0)),
            environment,
            torch.device(DEVICE),  # where constants of the module are made
        ):
            tensors, x = environment.j2t_iso((arrays, pixels))
            output = torch.func.functional_call(module, tensors, (x,))
            return self._array(output)

    def _array(self, output: Any) -> Array:
        tensor = tensor_in(self._torch, output)
        array = self._environment.t2j_iso(tensor).astype(jnp.float32)
        return jnp.moveaxis(array, 1, -1) if array.ndim == 4 else array


def _convolution(environment: Any, usual: Callable[..., Array]) -> Callable[..., Any]:
    """PyTorch's convolution, by the fast ways of ``convolution`` where they apply.

    Args:
      environment: from torch's tensors to arrays and back.
      usual: the same of arrays, for all other kinds.
    """

    def run(x: Any, kernel: Any, bias: Any, *settings: Any) -> Any:
        x, kernel, bias = environment.t2j_iso((x, kernel, bias))
        y = _fast(x, kernel, *settings)
        if y is None:
            y = usual(x, kernel, bias, *settings)
        elif bias is not None:
            y = y + bias[:, None, None]
        return environment.j2t_iso(y)

    return run


def _fast(
    x: Array,
    kernel: Array,
    strides: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Array | None:
    """Convolution of (B, C, H, W) with (O, C / groups, h, w); None: no fast way."""
    plain = x.ndim == 4 and not transposed and set(dilation) == {1}
    single = groups == x.shape[1] == kernel.shape[0]
    if not plain or not (groups == 1 or single):
        return None
    x, kernel = jnp.moveaxis(x, 1, -1), kernel.transpose(2, 3, 1, 0)
    pads = [(pad, pad) for pad in padding]
    if groups == 1:
        dimensions = ("NHWC", "HWIO", "NHWC")
        y = convolve(x, kernel, strides, pads, dimension_numbers=dimensions)
    else:
        y = depthwise(x, kernel, strides, pads)
    return jnp.moveaxis(y, -1, 1)


def _tensors(torch: Any, module: Any) -> dict[str, Any]:
    """name -> parameter, buffer or plain tensor; those of float64 as float32."""
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    for name, part in module.named_modules():
        for attribute, value in vars(part).items():
            if isinstance(value, torch.Tensor):
                tensors[f"{name}.{attribute}".lstrip(".")] = value
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }


@contextlib.contextmanager
def _plain_attention(torch: Any) -> Iterator[None]:
    """Attention in single operations: the fused one is PyTorch's own."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextlib.contextmanager
def _short_integers() -> Iterator[None]:
    """Without JAX's warnings of integers in 32 bits where PyTorch has 64."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Explicitly requested dtype")
        yield


def _environment(torch: Any) -> Any:
    """torchax's table of operations; nothing global is other than before.

    Raises:
      ValueError: torchax is not installed, or does not go with this PyTorch.
    """
    try:
        with _unchanged(torch), _plain_attention(torch), _named_overloads(torch):
            environment = importlib.import_module("torchax.tensor").Environment()
            registry = importlib.import_module("torchax.ops.ops_registry")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("torchax"):
            raise ValueError(f"torchax cannot be imported: {error}") from error
        raise ValueError(
            "torchax is not installed: pip install 'iin_jax[bridge]'"
        ) from error
    except Exception as error:  # it meets versions of PyTorch that it does not know
        raise ValueError(
            f"torchax does not go with PyTorch {torch.__version__}: {first_line(error)}"
        ) from error
    operation = torch.ops.aten.convolution
    usual = registry.all_aten_ops[operation].func
    environment.override_op_definition(operation, _convolution(environment, usual))
    return environment


@contextlib.contextmanager
def _unchanged(torch: Any) -> Iterator[None]:
    """Takes back what importing torchax changes elsewhere.

    JAX's settings, the environment, and a device that data-parallel modules of PyTorch
    would take for an accelerator. The name of PyTorch's spare kind of device stays.
    """
    setting, absent = getattr(jax.config, SETTING, None), TELEMETRY not in os.environ
    device = hasattr(torch, DEVICE)
    try:
        yield
    finally:
        if absent:
            os.environ.pop(TELEMETRY, None)
        if hasattr(jax.config, SETTING):
            jax.config.update(SETTING, setting)
        if not device and hasattr(torch, DEVICE):
            delattr(torch, DEVICE)
            sys.modules.pop(f"torch.{DEVICE}", None)


@contextlib.contextmanager
def _device_module(torch: Any) -> Iterator[None]:
    """PyTorch asks for the module of a device when it makes constants there."""
    if hasattr(torch, DEVICE):
        yield
        return
    name = f"torch.{DEVICE}"
    module = sys.modules[name] = types.ModuleType(name)
    setattr(torch, DEVICE, module)
    try:
        yield
    finally:
        delattr(torch, DEVICE)
        del sys.modules[name]


@contextlib.contextmanager
def _named_overloads(torch: Any) -> Iterator[None]:
    """Stands in for overloads that are gone, while torchax makes its tables."""
    added = []
    for operation, names in NAMED_OVERLOADS.items():
        packet = getattr(torch.ops.aten, operation)
        for name in names:
            if name not in packet.overloads():
                setattr(packet, name, getattr(packet, packet.overloads()[0]))
                added.append((packet, name))
    try:
        yield
    finally:
        for packet, name in added:
            delattr(packet, name)
