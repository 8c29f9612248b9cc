"""The style transformer with published weights."""

import dataclasses
import functools
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from iin_jax.files.paths import local_path
from iin_jax.linen import apply
from iin_jax.networks.backbones.style_transformer import (
    STRIDE,
    STYLE,
    StyleTransformer,
)
from iin_jax.networks.base import check_image_values
from iin_jax.types import Array, Images, Tree
from iin_jax.weights import Rename, read_arrays, rename, weights_folders

FILE = "style_transformer_separable.safetensors"
VECTORS = "style_vector/"  # beginning of the names of the styles in a file
PARAMETERS = "style_params/"  # beginning of those of the style norms

# names in TensorFlow's graph -> ours
CONTRACT, EXPAND = r"transformer/contract/conv(\d)", r"transformer/expand/(conv\d)"
RESIDUAL = r"transformer/residual/(residual\d)"
TABLE = (
    Rename(f"{CONTRACT}/weights", r"params/contract/conv\1/kernel"),
    Rename(f"{CONTRACT}/BatchNorm/Const", r"params/contract/norm\1/scale"),
    Rename(f"{CONTRACT}/BatchNorm/beta", r"params/contract/norm\1/bias"),
    Rename(f"{CONTRACT}/BatchNorm/moving_mean", r"batch_stats/contract/norm\1/mean"),
    Rename(f"{CONTRACT}/BatchNorm/moving_variance", r"batch_stats/contract/norm\1/var"),
    Rename(
        rf"{RESIDUAL}/dilate_(conv\d)/(\w+)wise_weights", r"params/expand/\1_\2/\3wise"
    ),
    Rename(rf"{EXPAND}/dilate_conv/(\w+)wise_weights", r"params/expand/\1/\2wise"),
    *(
        Rename(
            rf"{PARAMETERS}{layer}/StyleNorm/{theirs}/{kind}",
            rf"params/expand/{target}/norm/{ours}/{array}",
        )
        for layer, target in (
            (rf"{RESIDUAL}/(conv\d)", r"\1_\2"),
            (f"{EXPAND}/conv", r"\1"),
        )
        for theirs, ours in (("Conv", "shift"), ("Conv_1", "scale"))
        for kind, array in (("weights", "kernel"), ("biases", "bias"))
    ),
)


@dataclasses.dataclass(frozen=True, eq=False)
class StyleNetwork:
    """The style transformer with its weights; frozen.

    Attributes:
      variables: ``{"params", "batch_stats"}``.
      styles: name -> style vector (100,) that came with the weights.
    """

    variables: Tree = dataclasses.field(repr=False)
    styles: dict[str, np.ndarray] = dataclasses.field(repr=False)
    module = StyleTransformer()

    def __call__(self, images: Images, style: Array) -> Images:
        """Images in a style, (B, H, W, 3) in [-1, 1].

        Args:
          images: (B, H, W, 3), RGB in [-1, 1]; H and W are multiples of 4. Below 128
            pixels results show grids and smears.
          style: (100,), or one per image (B, 100).

        Raises:
          ValueError: other shapes, or values outside [-1, 1].
        """
        shape, of_style = tuple(np.shape(images)), tuple(np.shape(style))
        sides = shape[1:3] if len(shape) == 4 and shape[3] == 3 else (1,)
        if any(side % STRIDE or not side for side in sides):
            raise ValueError(
                f"the style transformer takes images (B, H, W, 3) with sides that are "
                f"multiples of {STRIDE}; got {shape}"
            )
        if of_style not in ((STYLE,), (shape[0], STYLE)):
            raise ValueError(
                f"a style has shape ({STYLE},), or ({shape[0]}, {STYLE}) for one per "
                f"image; got {of_style}"
            )
        check_image_values(images)
        return self._jitted(self.variables, jnp.asarray(images), jnp.asarray(style))

    def contracted(self, variables: Tree, images: Images) -> Array:
        """What styles act on: images (B, H, W, 3) in [-1, 1] -> (B, H/4, W/4, 128)."""
        unit = (images + 1.0) / 2.0
        return apply(self.module, variables, unit, method="contracted")

    def expanded(self, variables: Tree, features: Array, style: Array) -> Images:
        """``contracted`` images in a style, (B, H, W, 3) in [-1, 1]."""
        unit = apply(self.module, variables, features, style, method="expanded")
        return 2.0 * unit - 1.0

    def stylised(self, variables: Tree, images: Images, style: Array) -> Images:
        """``__call__`` as a pure function of the weights; checks nothing."""
        return self.expanded(variables, self.contracted(variables, images), style)

    @functools.cached_property
    def _jitted(self):
        return jax.jit(self.stylised)


def load_style_network(weights: str | os.PathLike | None = None) -> StyleNetwork:
    """The style transformer, frozen.

    Args:
      weights: file with TensorFlow's names and layouts, and any styles as
        ``style_vector/NAME``, in a format that ``weights.read_arrays`` knows. None:
        ``style_transformer_separable.safetensors`` in the folders of
        ``$IIN_JAX_WEIGHTS``, then in the cache folder.

    Raises:
      ValueError: weights that are missing, damaged or of another network.
    """
    path = _find() if weights is None else local_path(weights)
    arrays = read_arrays(path)
    styles = {
        name.removeprefix(VECTORS): arrays.pop(name)
        for name in sorted(arrays)
        if name.startswith(VECTORS)
    }
    wrong = [name for name, style in styles.items() if style.shape != (STYLE,)]
    if wrong:
        raise ValueError(
            f"{path}: {VECTORS}{wrong[0]} has another shape than ({STYLE},)"
        )
    arrays = {name: _as_dense(name, array) for name, array in arrays.items()}
    variables = rename(arrays, TABLE, _template(), "the style transformer", path=path)
    return StyleNetwork(jax.tree.map(jnp.asarray, variables), styles)


def _find() -> Path:
    for folder in weights_folders():
        if (folder / FILE).is_file():
            return folder / FILE
    raise ValueError(
        f"the weights of the style transformer, {FILE}, are in none of "
        f"{', '.join(map(str, weights_folders()))}; put the file there, or its folder "
        "into IIN_JAX_WEIGHTS"
    )


def _as_dense(name: str, array: np.ndarray) -> np.ndarray:
    """Style norms are 1x1 convolutions of one pixel in the file, (1, 1, 100, C)."""
    is_kernel = name.startswith(PARAMETERS) and array.shape[:2] == (1, 1)
    return array.reshape(array.shape[2:]) if is_kernel else array


def _template() -> Tree:
    image = jax.ShapeDtypeStruct((1, 2 * STRIDE, 2 * STRIDE, 3), jnp.float32)
    style = jax.ShapeDtypeStruct((STYLE,), jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    return jax.eval_shape(StyleTransformer().init, key, image, style)
