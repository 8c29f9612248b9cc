"""Where a module of any framework can be cut, told on two pairs of unlike images."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from iin_jax.files.faults import first_line
from iin_jax.files.hints import nearest
from iin_jax.types import Array, Images

TOLERANCE = 1e-4  # |G(z) - f|, over f's spread between two images
# the same for f of an image alone and beside another: kernels round by size of batch
MATES_TOLERANCE = 1e-2
HALF_ROUNDING = 16  # rounding errors of 16-bit numbers that count as none, there


class Cuttable(Protocol):
    """A module f of some framework whose layers can be read and replaced.

    Images (B, H, W, C) are as the module wants them; what it and its layers return is
    float32, channels last. In place of what is no float array stands what it is.

    Attributes:
      layers: names of its submodules.
      rounding: relative rounding error of the numbers it calculates with.
    """

    @property
    def layers(self) -> tuple[str, ...]: ...

    @property
    def rounding(self) -> float: ...

    def __call__(self, images: Images) -> np.ndarray | str:
        """f of images."""
        ...

    def outputs(self, images: Images, layers: Iterable[str]) -> Mapping[str, list[Any]]:
        """What layers return, one array, shape or word per call.

        Layers stand in the order in which they finish; those that are never called are
        last.
        """
        ...

    def resumed(self, layer: str, z: Array, images: Images) -> np.ndarray | str:
        """f of images with z (B, ...) in place of what the layer returns."""
        ...

    def passed_around(self, layer: str) -> bool | None:
        """Whether f depends on more than what a layer returns; None: to be tried."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Probe:
    """Tells on two pairs of unlike images where f can be cut.

    Attributes:
      module: f.
      images, base: (2, H, W, C) each, as the module wants them.
      expected: f of ``images``.
      tolerance: largest difference to ``expected`` that counts as none.
    """

    module: Cuttable
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

        Where only trying tells, it takes one forward pass per layer, and one more.
        """
        cuts = self.cuts(self.module.layers)
        return {layer: x for layer, x in cuts.items() if not isinstance(x, str)}

    def named(self, layer: str) -> str:
        """A layer's name as the module spells it, with dots or with slashes."""
        plain = layer.replace("/", ".")
        spelled = (x for x in self.module.layers if x.replace("/", ".") == plain)
        return layer if layer in self.module.layers else next(spelled, layer)

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
        nearest_cut = self._nearest_cut(layer)
        hint = f"; it can be at {nearest_cut!r}" if nearest_cut else ""
        raise ValueError(f"the module cannot be cut at {layer!r}: {cut}{hint}")

    def _nearest_cut(self, layer: str) -> str | None:
        """The innermost module around a layer, or the next in the pass, that works."""
        calls = self.module.outputs(self.images, self.module.layers)
        order = list(calls)
        enclosing = [x for x in order if layer.startswith((f"{x}.", f"{x}/"))]
        candidates = sorted(enclosing, key=len, reverse=True)
        if calls[layer]:  # else it has no place in the pass
            place = order.index(layer)
            candidates += sorted(order, key=lambda x: abs(order.index(x) - place))
        works = (x for x in candidates if not isinstance(self.cuts([x])[x], str))
        return next(works, None)

    def _cut(self, layer: str, calls: list[np.ndarray | str]) -> tuple[int, ...] | str:
        if not calls:
            return "a forward pass calls it 0 times, compiled and scanned parts unseen"
        if len(calls) != 1:
            return f"a forward pass calls it {len(calls)} times, not once"
        z = calls[0]
        if isinstance(z, str):
            return f"its output is a {z}, not one array of floats"
        if z.ndim not in (2, 3, 4) or len(z) != len(self.images):
            return (
                f"its output for {len(self.images)} images has shape {z.shape}, not "
                "(B, C), (B, tokens, C) or (B, H, W, C)"
            )
        around = self.module.passed_around(layer)
        if around is None:
            resumed = self.module.resumed(layer, z, self.base)
            around = not _distance(resumed, self.expected) <= self.tolerance
        if around:
            return "the output depends on more than this layer's (a path around it)"
        return tuple(z.shape[1:])


def probe_module(
    module: Cuttable, prepare: Callable[[Images], Array], shape: tuple[int, ...]
) -> Probe:
    """Runs f on noise, on a ramp, and on their negatives at half the contrast.

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
    images, base = np.asarray(prepare(inputs)), np.asarray(prepare(-0.5 * inputs[::-1]))
    expected, repeated, other = module(images), module(images), module(base)
    spread = _distance(expected, other)
    if not np.isfinite(spread):
        raise ValueError("the module's output contains NaN or infinite values")
    if spread <= np.finfo(np.float32).eps * np.abs(expected).max():
        raise ValueError("the module's output is the same for unlike images")
    if not _distance(repeated, expected) <= TOLERANCE * spread:
        raise ValueError(
            "the module's output for the same images changes from call to call: is "
            "something random or counting in it in evaluation mode?"
        )
    _check_mates(module, images, np.asarray(expected), spread)
    return Probe(module, images, base, np.asarray(expected), TOLERANCE * spread)


def _check_mates(
    module: Cuttable, images: np.ndarray, expected: np.ndarray, spread: float
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


def _distance(a: np.ndarray | str, b: np.ndarray | str) -> float:
    with np.errstate(invalid="ignore"):  # infinity less infinity is told by its NaN
        return float(np.abs(np.asarray(a) - np.asarray(b)).max())


def output_kind(y: Any, shape: tuple[int, int, int], output: str | None) -> str:
    """``"images"`` or ``"logits"``, from f of two images.

    Args:
      y: array, its shape, or the word for what is neither.
      shape: (H, W, C) of an image.
      output: what it is said to be; None: told from the shape.

    Raises:
      ValueError: it is neither, or not what it is said to be.
    """
    if output not in (None, "images", "logits"):
        raise ValueError(f"output is 'images', 'logits' or None; got {output!r}")
    if isinstance(y, str):
        raise ValueError(
            f"the module returns a {y}: wrap it in a module that returns one array of "
            "floats, images or logits"
        )
    kind = None
    if y.ndim == 2:
        kind = "logits"
    elif y.shape[1:] == shape or (
        output == "images" and y.ndim == 4 and y.shape[-1] == shape[-1]
    ):
        kind = "images"
    if kind is None or len(y) != 2 or output not in (None, kind):
        images, logits = f"images {(2, *shape)}", "logits (2, classes)"
        expected = {"images": images, "logits": logits}.get(
            output or "", f"{logits} or {images}"
        )
        raise ValueError(
            f"for 2 images {(2, *shape)} the module's output has shape {y.shape}; "
            f"expected {expected}"
        )
    return kind
