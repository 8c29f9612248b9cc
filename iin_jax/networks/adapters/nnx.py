"""Any Flax NNX module as a ``Network``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax

from iin_jax.files.faults import first_line
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

if TYPE_CHECKING:
    from flax import nnx


def from_nnx(
    module: "nnx.Module",
    layer: str,
    *,
    image_shape: tuple[int, int, int] | None = None,
    preprocessing: Preprocessing | None = None,
    output: str | None = None,
    kwargs: Mapping[str, Any] | None = None,
) -> WatchedNetwork:
    """Any Flax NNX module as a frozen network, cut behind one of its submodules.

    As ``from_linen``; the module is copied and put into evaluation mode by ``eval()``,
    and what was copied from stays untouched.

    Args:
      module: called with images (B, H, W, C), returns logits (B, classes) or images.
      layer: path of a submodule, as one would write it: ``"blocks.2.conv"``; slashes
        do.
      image_shape: (H, W, C) that the module takes. None: that of the preprocessing.
      preprocessing: as in ``from_linen``.
      output: ``"images"`` or ``"logits"``; None: told from the shape of the output.
      kwargs: what else the module's call takes, such as ``{"train": False}``.

    Raises:
      ValueError: no module, or one that cannot be copied; images that do not go through
        it; an output that is neither, is random, or depends on the other images of a
        batch; a layer that does not exist or at which f cannot be cut.
    """
    from flax import nnx  # here, since importing it takes half a second

    if not isinstance(module, nnx.Module):
        raise ValueError(
            f"from_nnx takes a flax.nnx.Module; got {type(module).__name__}"
        )
    try:
        module = nnx.clone(module)
    except Exception as error:  # its parts fail with whatever they run into
        raise ValueError(f"the module cannot be copied: {first_line(error)}") from error
    module.eval()
    settings = dict(kwargs or {})
    definition, streams, state = nnx.split(module, nnx.RngState, ...)
    leaves, structure = jax.tree_util.tree_flatten_with_path(state)
    names = [_name(path) for path, _ in leaves]
    stream_leaves, stream_structure = jax.tree.flatten(streams)

    def call(variables: Tree, streams: Any, images: Array, watch: Watch) -> Any:
        # unflattened anew: what holds an array may change under its own trace alone
        streams = jax.tree.unflatten(stream_structure, streams)
        state = jax.tree.unflatten(structure, [variables[name] for name in names])
        copied = nnx.merge(definition, streams, state)
        with watched(_layers(copied), watch):
            return copied(images, **settings)

    frozen = WatchedModule(
        "nnx",
        call,
        {name: array for name, (_, array) in zip(names, leaves, strict=True)},
        shape_of_images(image_shape, preprocessing),
        streams=stream_leaves,
        names=tuple(_layers(module)),
    )
    return cut_module(frozen, layer, preprocessing, output)


def _layers(module: "nnx.Module") -> dict[str, "nnx.Module"]:
    """Path -> every submodule that can be called."""
    from flax import nnx

    return {
        ".".join(map(str, path)): part
        for path, part in nnx.iter_graph(module)
        if path and isinstance(part, nnx.Module) and callable(part)
    }


def _name(path: tuple[Any, ...]) -> str:
    """Name of an array of a state, without the variable that holds it."""
    keys = (getattr(key, "key", getattr(key, "name", key)) for key in path)
    return ".".join(map(str, keys)).removesuffix(".value")
