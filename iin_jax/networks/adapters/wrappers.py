"""What stands around a module and around a tensor, opened and closed again.

torch itself comes as an argument, as in ``module``.
"""

import copy
import dataclasses
from typing import Any

PREFERRED = "logits"  # the output that counts where there are several
PREFIXES = ("_orig_mod.", "module.")  # what wrappers put before names of layers


def unwrapped(torch: Any, module: Any) -> Any:
    """The module inside of compiled, data-parallel and averaged ones.

    Hooks of a compiled module are never called, and a data-parallel one would spread a
    batch over devices.
    """
    wrappers = (
        torch.nn.DataParallel,
        torch.nn.parallel.DistributedDataParallel,
        torch.optim.swa_utils.AveragedModel,
    )
    while True:
        # torch.compile's class is private; the name of its inner module is not
        if "_orig_mod" in module._modules:
            module = module._modules["_orig_mod"]
        elif isinstance(module, wrappers):
            module = module.module
        else:
            return module


def unwrap_parts(torch: Any, module: Any) -> None:
    """Puts what ``unwrapped`` gives in place of every submodule."""
    for part in list(module.modules()):
        if isinstance(part, torch.jit.ScriptModule):
            continue
        for name, child in part.named_children():
            inner = unwrapped(torch, child)
            if inner is not child:
                setattr(part, name, inner)


def hookable_layers(torch: Any, module: Any) -> tuple[str, ...]:
    """Names of all submodules but traced and scripted ones, which take no hooks."""
    return tuple(
        name
        for name, part in module.named_modules()
        if name and not isinstance(part, torch.jit.ScriptModule)
    )


def plain_name(layer: str) -> str:
    """A layer's name without what compiled and data-parallel modules put into it."""
    while layer.startswith(PREFIXES):
        layer = layer.partition(".")[2]
    return layer.replace("._orig_mod", "")


def tensor_in(torch: Any, output: Any) -> Any:
    """The float tensor in a dataclass, if it is clear which one counts.

    Anything else is given back as it is.
    """
    key = _key(torch, output)
    return output if key is None else _fields(output)[key]


def with_tensor(torch: Any, output: Any, tensor: Any) -> Any:
    """The same output with another tensor in place of ``tensor_in``."""
    key = _key(torch, output)
    if key is None:
        return tensor
    changed = copy.copy(output)
    object.__setattr__(changed, key, tensor)  # frozen ones too
    if isinstance(changed, dict):  # as transformers' outputs are, besides
        changed[key] = tensor
    return changed


def _key(torch: Any, output: Any) -> str | None:
    floats = [
        name
        for name, value in _fields(output).items()
        if isinstance(value, torch.Tensor) and value.is_floating_point()
    ]
    if PREFERRED in floats:
        return PREFERRED
    return floats[0] if len(floats) == 1 else None


def _fields(output: Any) -> dict[str, Any]:
    if not dataclasses.is_dataclass(output):
        return {}
    return {
        field.name: getattr(output, field.name) for field in dataclasses.fields(output)
    }
