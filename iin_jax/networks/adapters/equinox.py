"""Any equinox module as a ``Network``; the one file here that imports equinox."""

from collections.abc import Mapping
from typing import Any

import jax

from iin_jax.networks.adapters.subclasses import watched
from iin_jax.networks.adapters.traced import (
    Watch,
    WatchedModule,
    WatchedNetwork,
    cut_module,
    shape_of_images,
)
from iin_jax.networks.pretrained import Preprocessing
from iin_jax.types import Array, Tree

NEEDS_EQUINOX = (
    "from_equinox needs equinox, which is not installed: pip install equinox"
)


def from_equinox(
    module: Any,
    layer: str,
    *,
    image_shape: tuple[int, int, int] | None = None,
    preprocessing: Preprocessing | None = None,
    output: str | None = None,
    kwargs: Mapping[str, Any] | None = None,
) -> WatchedNetwork:
    """Any equinox module as a frozen network, cut behind one of its submodules.

    As ``from_linen``; the module is used in inference mode, and mapped over a batch.
    Outside, arrays are channels last: z is (H, W, C), (C,), or (tokens, C).

    A module with state is wrapped in one that holds the state and returns the output
    alone.

    Args:
      module: called with one image (C, H, W), returns logits (classes,) or an image.
      layer: path of a submodule, as one would write it: ``"layers.2.conv"``; slashes
        do.
      image_shape: (H, W, C) that the module takes, channels last. None: that of the
        preprocessing.
      preprocessing: as in ``from_linen``.
      output: ``"images"`` or ``"logits"``; None: told from the shape of the output.
      kwargs: what else the module's call takes, such as ``{"key": None}``.

    Raises:
      ImportError: equinox is not installed.
      ValueError: no module; images that do not go through it; an output that is
        neither; a layer that does not exist or at which f cannot be cut.
    """
    equinox = _equinox()
    if not isinstance(module, equinox.Module):
        raise ValueError(
            f"from_equinox takes an equinox.Module; got {type(module).__name__}"
        )
    module = equinox.nn.inference_mode(module)
    settings = dict(kwargs or {})
    arrays, rest = equinox.partition(module, equinox.is_array)
    leaves, structure = jax.tree_util.tree_flatten_with_path(arrays)
    names = [_name(path) for path, _ in leaves]

    def call(variables: Tree, streams: Any, image: Array, watch: Watch) -> Any:
        arrays = jax.tree.unflatten(structure, [variables[name] for name in names])
        copied = equinox.combine(arrays, rest)
        with watched(_layers(equinox, copied), watch):
            return copied(image, **settings)

    frozen = WatchedModule(
        "equinox",
        call,
        {name: array for name, (_, array) in zip(names, leaves, strict=True)},
        shape_of_images(image_shape, preprocessing),
        single=True,
        names=tuple(_layers(equinox, module)),
    )
    return cut_module(frozen, layer, preprocessing, output)


def _equinox() -> Any:
    try:
        import equinox  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(NEEDS_EQUINOX) from error
    return equinox


def _layers(equinox: Any, module: Any) -> dict[str, Any]:
    """Path -> every submodule that can be called."""

    def inner(part: Any) -> bool:
        return part is not enclosing and isinstance(part, equinox.Module)

    layers, waiting = {}, [("", module)]
    while waiting:
        prefix, enclosing = waiting.pop()
        parts, _ = jax.tree_util.tree_flatten_with_path(enclosing, is_leaf=inner)
        for path, part in parts:
            if inner(part):
                name = f"{prefix}.{_name(path)}" if prefix else _name(path)
                waiting.append((name, part))
                if callable(part):
                    layers[name] = part
    return layers


def _name(path: tuple[Any, ...]) -> str:
    """The keys of a path, as attributes are written."""
    return ".".join(
        str(getattr(key, "name", getattr(key, "key", getattr(key, "idx", key))))
        for key in path
    )
