"""A module of a JAX framework whose layers are watched, as a ``Network``."""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.core.tracers import current_trace
from jax.ad_checkpoint import checkpoint_name
from jax.extend.core import ClosedJaxpr, Literal

from iin_jax.files.faults import first_line
from iin_jax.networks.adapters.cutting import output_kind, probe_module
from iin_jax.networks.adapters.network import CutNetwork, prepared
from iin_jax.networks.pretrained import Preprocessing
from iin_jax.types import Array, Images, Tree

HIDDEN = "value inside of a transformation such as jit, remat, scan or vmap"

# (name of a layer, what it returns) -> what the forward pass goes on with
Watch = Callable[[str, Any], Any]


@dataclasses.dataclass(frozen=True)
class ForwardPass:
    """What one abstract forward pass on two images tells of f.

    Attributes:
      output: its shape, or the word for what is no float array.
      calls: layer -> the same for every call, in the order in which layers finish.
      around: layers that return one float array, once, but are not all that f depends
        on.
      random: whether f depends on random streams.
      rounding: largest relative rounding error of the numbers in it.
    """

    output: jax.ShapeDtypeStruct | str
    calls: Mapping[str, list[jax.ShapeDtypeStruct | str]]
    around: frozenset[str]
    random: bool
    rounding: float


class Watching:
    """What layers return in one forward pass, recorded and replaced.

    Attributes:
      layers: those that are recorded; None: all, with a mark in the program.
      replacing: layer -> z (B, ...), channels last, to go on with.
      channels_first: whether the module's arrays are of one example, (C, H, W).
      words: layer -> for every call, what a value is; ``""`` for one float array.
      output: the same for what the module returns.
      types: of all float arrays.
    """

    def __init__(
        self,
        layers: Iterable[str] | None,
        replacing: Mapping[str, Array],
        channels_first: bool,
    ):
        self.layers = None if layers is None else frozenset(layers)
        self.replacing = dict(replacing)
        self.channels_first = channels_first
        self.words: dict[str, list[str]] = {}
        self.output = ""
        self.types: set[Any] = set()

    def begin(
        self, replacing: Mapping[str, Array], calls: dict[str, list[Array]]
    ) -> Watch:
        """Watches a forward pass, which fills ``calls`` with float32 arrays."""
        outermost = current_trace()

        def watch(layer: str, output: Any) -> Any:
            wanted = self.layers is None or layer in self.layers or layer in replacing
            if not wanted:
                return output
            word = _word(output) if current_trace() == outermost else HIDDEN
            self.words.setdefault(layer, []).append(word)
            arrays = calls.setdefault(layer, [])
            if word:
                return output
            self.types.add(output.dtype)
            if layer in replacing:
                return self._inside(replacing[layer]).astype(output.dtype)
            if self.layers is None:
                output = checkpoint_name(output, _mark(layer))
            arrays.append(self._outside(output))
            return output

        return watch

    def end(self, output: Any) -> Array | None:
        """What the module returns, in float32; None if it is no float array."""
        self.output = _word(output)
        if self.output:
            return None
        self.types.add(output.dtype)
        return self._outside(output)

    def _inside(self, z: Array) -> Array:
        return jnp.moveaxis(z, -1, 0) if self.channels_first and z.ndim == 3 else z

    def _outside(self, x: Array) -> Array:
        last = jnp.moveaxis(x, 0, -1) if self.channels_first and x.ndim == 3 else x
        return jnp.asarray(last, jnp.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class WatchedModule:
    """A module of a JAX framework as a pure function that shows its layers.

    Whether something leads around a layer is read from the program of one abstract
    forward pass, and needs no trying. It is refused where one primitive or one compiled
    function mixes what the layer returns with what does not depend on it.

    Attributes:
      kind: the framework.
      call: (variables, streams, images, watch) -> output; a forward pass that goes on
        with ``watch(layer, output)`` wherever a submodule returns.
      variables: the module's arrays.
      streams: states of its random streams.
      image_shape: (H, W, C).
      single: whether ``call`` takes one image (C, H, W), and not (B, H, W, C).
      names: submodules that are known before a forward pass.
    """

    kind: str
    call: Callable[[Tree, Any, Array, Watch], Any]
    variables: Tree
    image_shape: tuple[int, int, int]
    streams: Any = ()
    single: bool = False
    names: tuple[str, ...] = ()

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*self.forward_pass.calls, *self.names]))

    @property
    def rounding(self) -> float:
        return self.forward_pass.rounding

    def __call__(self, images: Images) -> np.ndarray:
        return np.asarray(self._jit_resume(self.variables, images, {}))

    def outputs(self, images: Images, layers: Iterable[str]) -> dict[str, list[Any]]:
        wanted = set(layers)
        calls = self.forward_pass.calls
        called = {layer: calls[layer] for layer in calls if layer in wanted}
        return called | {name: [] for name in self.names if name in wanted - set(calls)}

    def resumed(self, layer: str, z: Array, images: Images) -> np.ndarray:
        return np.asarray(self._jit_resume(self.variables, images, {layer: z}))

    def passed_around(self, layer: str) -> bool:
        return layer in self.forward_pass.around

    def run(
        self, variables: Tree, streams: Any, images: Images, watching: "Watching"
    ) -> tuple[Any, dict[str, list[Array]]]:
        """f's output, and what the layers return that are watched.

        Args:
          variables, streams: as the module's own.
          images: (B, H, W, C), as the module wants them.
          watching: which layers, and what replaces what they return.
        """

        def batched(images: Array, replacing: Mapping[str, Array]) -> Any:
            calls: dict[str, list[Array]] = {}
            watch = watching.begin(replacing, calls)
            output = self.call(variables, streams, images, watch)
            return watching.end(output), calls

        def one(image: Array, replacing: Mapping[str, Array]) -> Any:
            return batched(jnp.moveaxis(image, -1, 0), replacing)

        run = jax.vmap(one) if self.single else batched
        return run(images, watching.replacing)

    @functools.cached_property
    def forward_pass(self) -> ForwardPass:
        """What one abstract forward pass tells.

        Raises:
          ValueError: images do not go through the module.
        """
        watching = Watching(None, {}, self.single)
        image = jax.ShapeDtypeStruct((2, *self.image_shape), jnp.float32)
        run = functools.partial(self.run, watching=watching)
        trace = jax.make_jaxpr(run, return_shape=True)
        try:
            program, shapes = trace(self.variables, self.streams, image)
        except Exception as error:  # a module fails with whatever it runs into
            raise ValueError(
                f"images of shape {self.image_shape} do not go through the module: "
                f"{_reason(error)}; give the image_shape=(H, W, C) of its images, and "
                "as kwargs what its call takes beside them to evaluate, such as "
                "{'train': False} or {'deterministic': True}"
            ) from error
        first_stream = len(jax.tree.leaves(self.variables))
        streams = slice(first_stream, first_stream + len(jax.tree.leaves(self.streams)))
        return _told(program, shapes, watching, streams)

    @functools.cached_property
    def _jit_resume(self) -> Callable[..., Array]:
        def resume(variables: Tree, images: Images, replacing: dict[str, Array]) -> Any:
            watching = Watching((), replacing, self.single)
            return self.run(variables, self.streams, images, watching)[0]

        return jax.jit(resume)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class WatchedNetwork(CutNetwork):
    """A module of a JAX framework, cut behind ``layer``.

    G is the forward pass of a grey image with z in place of what the layer returns; the
    compiler removes what only the layer itself needs.

    Attributes:
      module: f.
    """

    module: WatchedModule

    @property
    def architecture(self) -> str:
        return self.module.kind

    @property
    def variables(self) -> Tree:
        return self.module.variables

    def outputs_pure(
        self, variables: Tree, x: Array, layers: Iterable[str]
    ) -> dict[str, Array]:
        layers = tuple(layers)
        watching = Watching(layers, {}, self.module.single)
        _, calls = self.module.run(variables, self.module.streams, x, watching)
        return {layer: calls[layer][0] for layer in layers}

    def resumed_pure(self, variables: Tree, z: Array) -> Array:
        grey = jnp.zeros((len(z), *self.image_shape), jnp.float32)
        x = prepared(self.preprocessing, grey, self.image_shape)
        watching = Watching((), {self.layer: z}, self.module.single)
        return self.module.run(variables, self.module.streams, x, watching)[0]


def cut_module(
    module: WatchedModule,
    layer: str,
    preprocessing: Preprocessing | None,
    output: str | None,
) -> WatchedNetwork:
    """A network that is cut behind a layer.

    Raises:
      ValueError: images do not go through the module; it is random; its output is
        neither logits nor images, or depends on the other images of a batch; a layer
        that does not exist or at which f cannot be cut.
    """
    shape, told = module.image_shape, module.forward_pass
    y = told.output
    kind = output_kind(y, shape, output)
    if told.random:
        raise ValueError(
            "the module's output depends on a random stream in evaluation mode: leave "
            "out what draws from it, or have it return a mean"
        )
    probe = probe_module(module, lambda x: prepared(preprocessing, x, shape), shape)
    layer = probe.named(layer)
    latent_shape = probe.shape_at(layer)
    output_shape = tuple(np.shape(y)[1:])
    return WatchedNetwork(
        probe, layer, latent_shape, shape, output_shape, kind, preprocessing, module
    )


def shape_of_images(
    image_shape: tuple[int, int, int] | None, preprocessing: Preprocessing | None
) -> tuple[int, int, int]:
    """(H, W, C) that a module takes; None: that of its preprocessing.

    Raises:
      ValueError: neither is given, or they do not fit.
    """
    if image_shape is None and preprocessing is not None:
        return preprocessing.size, preprocessing.size, len(preprocessing.mean)
    if image_shape is None or len(image_shape) != 3:
        raise ValueError(
            f"give the image_shape=(H, W, C) that the module takes; got {image_shape}"
        )
    height, width, channels = image_shape
    if preprocessing is not None and height != width:
        raise ValueError(
            f"under a preprocessing images are square; got image_shape={image_shape}"
        )
    return height, width, channels


def _told(
    program: ClosedJaxpr, shapes: Any, watching: Watching, streams: slice
) -> ForwardPass:
    """What a traced ``run`` tells; ``streams`` are arguments of its program."""
    output, arrays = shapes
    calls = {}
    for layer, words in watching.words.items():
        in_order = iter(arrays[layer])
        if HIDDEN in words:  # such code is run any number of times
            words = [HIDDEN]
        calls[layer] = [word or next(in_order) for word in words]
    rounding = max((float(jnp.finfo(x).eps) for x in watching.types), default=0.0)
    if output is None:
        return ForwardPass(watching.output, calls, frozenset(), False, rounding)
    once = [layer for layer, words in watching.words.items() if words == [""]]
    inputs, y = program.jaxpr.invars, program.jaxpr.outvars[0]
    around = {x for x in once if _reaches(program, inputs[-1:], y, without=_mark(x))}
    random = _reaches(program, inputs[streams], y)
    return ForwardPass(output, calls, frozenset(around), random, rounding)


def _reaches(
    program: ClosedJaxpr, start: Iterable[Any], end: Any, without: str = ""
) -> bool:
    """Whether a value depends on others in other ways than through a mark."""
    reached = set(start)
    for equation in program.jaxpr.eqns:
        if without and equation.params.get("name") == without:
            continue
        inputs = (x for x in equation.invars if not isinstance(x, Literal))
        if any(x in reached for x in inputs):
            reached.update(equation.outvars)
    return not isinstance(end, Literal) and end in reached


def _reason(error: Exception) -> str:
    """The first line of an error's message, without the address of a manual."""
    return re.sub(r"\.? \(https?://\S+\)", "", first_line(error))


def _mark(layer: str) -> str:
    """Name in a program of the value that a layer returns."""
    return f"returned by {layer}"


def _word(value: Any) -> str:
    """What a value is; ``""`` for a float array."""
    if not isinstance(value, jax.Array | np.ndarray):
        return type(value).__name__
    if not jnp.issubdtype(value.dtype, jnp.floating):
        return f"value of type {value.dtype}"
    return ""
