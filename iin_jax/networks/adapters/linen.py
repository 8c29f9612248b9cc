"""Any Flax Linen module as a ``Network``."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import meta, unfreeze

from iin_jax.linen import apply
from iin_jax.networks.adapters.traced import (
    Watch,
    WatchedModule,
    WatchedNetwork,
    cut_module,
    shape_of_images,
)
from iin_jax.networks.pretrained import Preprocessing
from iin_jax.types import Array, Tree


def from_linen(
    module: nn.Module,
    variables: Mapping[str, Any],
    layer: str,
    *,
    image_shape: tuple[int, int, int] | None = None,
    preprocessing: Preprocessing | None = None,
    output: str | None = None,
    kwargs: Mapping[str, Any] | None = None,
) -> WatchedNetwork:
    """Any Flax Linen module as a frozen network, cut behind one of its submodules.

    The module is called with images (B, H, W, C) and returns logits (B, classes) or
    images. E reads what the submodule's ``__call__`` returns. G is the forward pass of
    a grey image with that replaced by z, so f can be cut only where nothing leads
    around the layer: this is read from the program of one abstract forward pass. Both
    are pure, compiled and differentiable.

    z is (H, W, C), (C,), or (tokens, C). Layers inside of ``nn.remat``, ``nn.jit`` or
    ``nn.scan`` cannot be reached.

    Args:
      module: the module, unbound.
      variables: what ``module.init`` returned, trained: ``{"params", ...}``.
      layer: path of a submodule, as in ``variables``: ``"backbone/conv2"``; dots do.
      image_shape: (H, W, C) that the module takes. None: that of the preprocessing.
      preprocessing: from RGB in [-1, 1] to what the module takes; square images of any
        size are then resized, and images that the module returns brought back by its
        inverse. None: images go in as they are.
      output: ``"images"`` or ``"logits"``; None: told from the shape of the output.
      kwargs: what else the module's call takes, such as ``{"train": False}``.

    Raises:
      ValueError: no module or no variables of it; images that do not go through it, or
        not without random numbers or changes of variables; an output that is neither,
        or depends on the other images of a batch; a layer that does not exist or at
        which f cannot be cut.
    """
    if not isinstance(module, nn.Module):
        raise ValueError(
            f"from_linen takes a flax.linen.Module; got {type(module).__name__}"
        )
    if not isinstance(variables, Mapping) or not all(
        isinstance(tree, Mapping) for tree in variables.values()
    ):
        raise ValueError(
            "variables are what module.init returns, {'params': {...}, ...}; got "
            f"{type(variables).__name__}"
        )
    settings = dict(kwargs or {})

    def call(variables: Tree, streams: Any, images: Array, watch: Watch) -> Any:
        with nn.intercept_methods(_interceptor(watch)):
            return apply(module, variables, images, **settings)

    shape = shape_of_images(image_shape, preprocessing)
    arrays = jax.tree.map(jnp.asarray, meta.unbox(unfreeze(dict(variables))))
    return cut_module(
        WatchedModule("linen", call, arrays, shape), layer, preprocessing, output
    )


def _interceptor(watch: Watch) -> Callable[..., Any]:
    """Shows ``watch`` what the calls of submodules return."""
    running: set[tuple[str, ...]] = set()

    def intercept(
        call: Callable[..., Any],
        arguments: tuple[Any, ...],
        settings: dict[str, Any],
        context: nn.module.InterceptorContext,
    ) -> Any:
        path = context.module.path
        # a class may call what it overrides: that is no call of its own
        if context.method_name != "__call__" or not path or path in running:
            return call(*arguments, **settings)
        running.add(path)
        try:
            output = call(*arguments, **settings)
        finally:
            running.remove(path)
        return watch("/".join(path), output)

    return intercept
