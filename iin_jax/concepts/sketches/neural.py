"""The style transformer, with a style that is fitted to the sketch.

Ghiasi et al. 2017 (see ``networks.backbones.style_transformer``) predict the style
vector of a picture by a second network. Here it is fitted, to what style is since
Gatys, Ecker and Bethge, *Image Style Transfer Using Convolutional Neural Networks*,
CVPR 2016: the Gram matrices of a pretrained network's features, of SqueezeNet's here.
"""

import dataclasses
import functools
import math
import os

import jax
import jax.numpy as jnp
import numpy as np
import optax

from iin_jax.concepts.sketches.ink import (
    background,
    brightness,
    in_hues,
    is_grey,
    with_moments,
)
from iin_jax.linen import apply
from iin_jax.networks.backbones.style_transformer import STRIDE
from iin_jax.networks.pretrained import PretrainedNetwork
from iin_jax.networks.registry import load
from iin_jax.networks.styles import StyleNetwork, load_style_network
from iin_jax.types import Array, Images, Tree
from iin_jax.weights import tree_digest

BATCH = 8  # images per call, filled up
LAYERS = ("features.1", "features.4", "features.7")  # where Gram matrices are compared
CONTENT = "features.7"  # where images are compared with what they were


@dataclasses.dataclass(frozen=True)
class Neural:
    """A style network's idea of a sketch; needs its weights, and SqueezeNet's.

    Images are enlarged, stylised, and what that changes is brought back to their size,
    so that the resizing alone changes nothing. The background stays, and ink takes the
    mean and deviation of the sketch's. A grey sketch changes the brightness of coloured
    images alone.

    It is no identity: an image in its own manner changes by 0.026 on average, of a
    range of 2, for 8 MNIST digits at 32 pixels (0.014 to 0.038; single pixels by up to
    0.64), by 0.052 for 8 Fashion-MNIST images at 28 (0.027 to 0.079; up to 0.96) and by
    0.074 for 4 digits at 16. Strokes of a few pixels change in brightness more than in
    width, filled shapes get gradients rather than a sketch's stripes.

    Attributes:
      pixels: least side at which the style network works; below 128 it leaves grids.
      steps: of the fit of the style to the sketch.
      rate: first learning rate of the fit.
      contents: number of the images, drawn by the seed, that the style is fitted on.
      content_weight: of staying near the images, against being like the sketch.
      seed: of the draw.
      weights: file of the style transformer; None: by name, see
        ``networks.styles.load_style_network``.
      squeezenet: file of SqueezeNet 1.1; None: by name, see ``networks.load``.
    """

    pixels: int = 128
    steps: int = 40
    rate: float = 0.1
    contents: int = 4
    content_weight: float = 1.0
    seed: int = 0
    weights: str | os.PathLike | None = None
    squeezenet: str | os.PathLike | None = None

    def __post_init__(self) -> None:
        least = {"pixels": 8 * STRIDE, "steps": 1, "contents": 1}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ValueError(
                    f"{name} of the neural styliser is at least {value}; got "
                    f"{getattr(self, name)}"
                )

    @property
    def settings(self) -> str:
        """What the results depend on, as text."""
        fields = dataclasses.asdict(self)
        del fields["weights"], fields["squeezenet"]
        networks = self._styles.variables, self._features.variables
        return f"neural 1 {fields} {[tree_digest(tree) for tree in networks]}"

    @property
    def most(self) -> int:
        """Images that are stylised unless more are asked for."""
        return 1000 if jax.default_backend() == "cpu" else 5000

    def __call__(self, images: Images, sketch: Array, /) -> Images:
        """Stylised images, (n, H, W, C) in [-1, 1]; see ``Styliser``.

        Raises:
          ValueError: weights that are missing, or of another network.
        """
        images, sketch = np.asarray(images, np.float32), np.asarray(sketch, np.float32)
        colored, grey = images.shape[-1] == 3, is_grey(sketch)
        plain = np.asarray(brightness(images)) if colored and grey else images
        sketch = sketch[..., : plain.shape[-1]]
        style = self.fitted(plain, sketch)
        result = np.empty_like(images)
        for start in range(0, len(images), BATCH):
            part = plain[start : start + BATCH]
            filled = np.concatenate([part, np.repeat(part[:1], BATCH - len(part), 0)])
            changed = self._drawn(self._variables, filled, sketch, style)[: len(part)]
            if colored and grey:
                changed = in_hues(images[start : start + BATCH], changed)
            result[start : start + BATCH] = np.asarray(changed)
        return result

    def fitted(self, images: Images, sketch: Array) -> Array:
        """The style vector of a sketch, (100,).

        Args:
          images: (n, H, W, C) in [-1, 1], of which some are stylised for the fit.
          sketch: (H, W, C) in [-1, 1].
        """
        chosen = np.random.default_rng([self.seed, 0x57E]).permutation(len(images))
        contents = jnp.asarray(images[np.sort(chosen[: self.contents])])
        fixed = self._fixed(self._variables, contents, sketch)
        # the mean of styles that were fitted to pictures: from there all are near
        style = jnp.asarray(np.mean(list(self._styles.styles.values()), axis=0))
        state = self._tx.init(style)
        # a loop of Python: in one of XLA, CPUs run convolutions on a single core
        for _ in range(self.steps):
            style, state = self._step(
                self._variables, style, state, contents, sketch, fixed
            )
        return style

    @functools.cached_property
    def _styles(self) -> StyleNetwork:
        return load_style_network(self.weights)

    @functools.cached_property
    def _features(self) -> PretrainedNetwork:
        return load("squeezenet1_1", self.squeezenet, image_size=self.pixels)

    @property
    def _variables(self) -> Tree:
        styles, features = self._styles.variables, self._features.variables
        return {"styles": styles, "features": features}

    @functools.cached_property
    def _tx(self) -> optax.GradientTransformation:
        return optax.adam(optax.cosine_decay_schedule(self.rate, self.steps))

    @functools.cached_property
    def _drawn(self):
        @jax.jit
        def drawn(variables: Tree, images: Images, sketch: Array, style: Array):
            contracted = self._contracted(variables, images)
            return self._in_style(variables, images, contracted, sketch, style)

        return drawn

    @functools.cached_property
    def _fixed(self):
        @jax.jit
        def fixed(variables: Tree, contents: Images, sketch: Array):
            """What does not change in a fit: of contents, and Gram matrices."""
            contracted = self._contracted(variables, contents)
            content = self._seen(variables, contents)[CONTENT]
            target = {
                name: _gram(x)[0]
                for name, x in self._seen(variables, sketch[None]).items()
            }
            return contracted, content, target

        return fixed

    @functools.cached_property
    def _step(self):
        @jax.jit
        def step(variables, style, state, contents, sketch, fixed):
            gradient = jax.grad(self._loss)(style, variables, contents, sketch, fixed)
            updates, state = self._tx.update(gradient, state)
            return optax.apply_updates(style, updates), state

        return step

    def _loss(self, style, variables, contents, sketch, fixed) -> Array:
        """How unlike the sketch the contents are in a style, and unlike themselves."""
        contracted, content, target = fixed
        drawn = self._in_style(variables, contents, contracted, sketch, style)
        seen = self._seen(variables, drawn)
        manner = sum(_unlike(_gram(seen[name]), target[name]) for name in LAYERS)
        return manner / len(LAYERS) + self.content_weight * _unlike(
            seen[CONTENT], content
        )

    def _contracted(self, variables: Tree, images: Images) -> Array:
        return self._styles.contracted(variables["styles"], self._enlarged(images))

    def _in_style(
        self,
        variables: Tree,
        images: Images,
        contracted: Array,
        sketch: Array,
        style: Array,
    ) -> Images:
        """Images (B, H, W, C) in a style, of the sketch's colours, in [-1, 1]."""
        drawn = self._styles.expanded(variables["styles"], contracted, style)
        change = drawn - self._enlarged(images)
        change = jax.image.resize(change, (*images.shape[:3], 3), "linear")
        if images.shape[-1] == 1:
            change = change.mean(axis=-1, keepdims=True)
        result = images + change
        ground = jax.vmap(background)
        result += (ground(images) - ground(result))[:, None, None]
        return with_moments(jnp.clip(result, -1.0, 1.0), sketch)

    def _enlarged(self, images: Images) -> Images:
        """Images (B, h, w, 3) of at least ``pixels``, with sides the network takes."""
        sides = images.shape[1:3]
        scale = max(1.0, self.pixels / min(sides))
        height, width = (math.ceil(side * scale / STRIDE) * STRIDE for side in sides)
        colored = jnp.broadcast_to(images, (*images.shape[:3], 3))
        return jax.image.resize(colored, (len(images), height, width, 3), "linear")

    def _seen(self, variables: Tree, images: Images) -> dict[str, Array]:
        """SqueezeNet's features of images (B, H, W, C), by layer."""
        network = self._features
        x = jnp.broadcast_to(images, (*images.shape[:3], 3))
        x = network.preprocessing(x, self.pixels)
        outputs = apply(network.module, variables["features"], x, until=LAYERS[-1])
        return {name: outputs[name] for name in LAYERS}


def _gram(x: Array) -> Array:
    """Mean products of channels over all positions, (B, H, W, C) -> (B, C, C)."""
    return jnp.einsum("bhwc,bhwd->bcd", x, x) / (x.shape[1] * x.shape[2])


def _unlike(x: Array, target: Array) -> Array:
    """Mean square difference relative to the target's mean square, one number."""
    return jnp.square(x - target).mean() / jnp.maximum(jnp.square(target).mean(), 1e-12)
