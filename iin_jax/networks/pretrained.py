"""A backbone with weights, cut at a named layer, as a ``Network``."""

import dataclasses
import functools
import os
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from iin_jax.files.hints import nearest
from iin_jax.linen import apply, module_fields
from iin_jax.networks.backbones.base import Backbone, NothingLeft
from iin_jax.networks.base import Network, check_image_values
from iin_jax.types import Array, Images, Tree
from iin_jax.weights import WeightsFile
from iin_jax.weights.renames import Table, matched, rename, shapes_in
from iin_jax.weights.state_dicts import without_prefix


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """From images in [-1, 1] to what the weights were trained on.

    Attributes:
      size: H = W, in pixels.
      mean, std: per channel, in the network's channel order and range.
      maximum: of the network's range: 1 for [0, 1], 255 for [0, 255].
      channel_order: ``"RGB"`` or ``"BGR"``.
      antialias: average over pixels when images are made smaller.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    maximum: float = 1.0
    channel_order: str = "RGB"
    antialias: bool = True

    def __call__(self, images: Images, size: int) -> Images:
        """images (B, H, W, 3), RGB in [-1, 1] -> (B, size, size, 3)."""
        if images.shape[1:3] != (size, size):
            shape = (len(images), size, size, images.shape[-1])
            images = jax.image.resize(
                images, shape, "bilinear", antialias=self.antialias
            )
        x = (images + 1.0) * (self.maximum / 2.0)
        if self.channel_order == "BGR":
            x = x[..., ::-1]
        return (x - jnp.asarray(self.mean)) / jnp.asarray(self.std)


DIGESTS = {  # first eight digits of a SHA-256 -> all
    digest[:8]: digest
    for digest in (
        "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
        "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
    )
}
EXACT_BYTES = {"0676ba61": 102_530_333, "397923af": 553_433_881, "f37072fd": 46_830_571}

IMAGENET = Preprocessing(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclasses.dataclass(frozen=True)
class Release:
    """One way in which weights of an architecture are published.

    Attributes:
      table: renames from the file's names; it also tells releases apart.
      preprocessing: from images in [-1, 1] to what the weights were trained on.
      file: the publisher's file; None: no known address.
      settings: fields of the backbone in which this release differs.
    """

    table: Table
    preprocessing: Preprocessing
    file: WeightsFile | None = None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A backbone by name.

    Attributes:
      module: the backbone, with the settings of most releases.
      layer: where it is cut unless told otherwise.
      releases: all known; the first with a file is fetched by name.
    """

    module: Backbone
    layer: str
    releases: tuple[Release, ...]

    @property
    def file(self) -> WeightsFile | None:
        """The publisher's file of the weights that the name stands for."""
        files = (release.file for release in self.releases)
        return next((file for file in files if file is not None), None)

    def matched(self, names: Mapping[str, Any]) -> int:
        """How many names in a file the table knows that knows most."""
        return max(matched(names, release.table) for release in self.releases)

    def release_of(self, names: Mapping[str, Any]) -> Release:
        """The release whose table knows most of the names in a file."""
        return max(self.releases, key=lambda release: matched(names, release.table))


def torchvision_file(name: str, mebibytes: float) -> WeightsFile:
    """A file of torchvision's.

    Its publisher states the size in MiB, and the first eight digits of the SHA-256 in
    the name; all digits are checked where they are known.
    """
    stated = name.removesuffix(".pth").rsplit("-", 1)[1]
    url = f"https://download.pytorch.org/models/{name}"
    return WeightsFile(
        name, url, DIGESTS.get(stated, stated), EXACT_BYTES.get(stated), mebibytes
    )


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class PretrainedNetwork(Network):
    """A pretrained network, cut behind ``layer``; z is that layer's output.

    Images of any square size are brought to ``image_size``. z is (H, W, C), (C,), or
    (tokens, C) for a transformer.

    Attributes:
      name: of the architecture.
      module: the backbone.
      variables: ``{"params", "batch_stats"}``.
      layer: one of ``layers()``.
      preprocessing: what the weights want.
      size: H = W that E works at.
    """

    name: str
    module: Backbone
    variables: Tree
    layer: str
    preprocessing: Preprocessing
    size: int

    channels = 3
    output = "logits"

    def __post_init__(self):
        sizes = self.module.sizes(self.variables["params"])
        if sizes is not None and self.size not in sizes:
            raise ValueError(
                f"these weights of {self.name} fit images of {sizes[0]} to {sizes[-1]} "
                f"pixels, not {self.size}; give such an image_size, to which images of "
                "other sizes are resized"
            )
        if self.layer not in self.layers():
            raise ValueError(
                f"{self.name} has no layer {self.layer!r} to be cut at"
                f"{nearest(self.layer, self.layers())}"
            )

    @property
    def architecture(self) -> str:
        return self.name

    @property
    def image_size(self) -> tuple[int, int]:
        return self.size, self.size

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return self.layers()[self.layer]

    def layers(self) -> dict[str, tuple[int, ...]]:
        """Every layer, in order: each depends on the one before it alone."""
        return self._shapes

    @property
    def cut(self) -> str:
        return self.layer

    def cut_at(self, layer: str) -> "PretrainedNetwork":
        """The same network, cut elsewhere.

        Raises:
          ValueError: no such layer; the message names the nearest ones.
        """
        return dataclasses.replace(self, layer=layer)

    def encode_pure(self, variables: Tree, images: Images) -> Array:
        x = self.preprocessing(images, self.size)
        return apply(self.module, variables, x, until=self.layer)[self.layer]

    def decode_pure(self, variables: Tree, z: Array) -> Array:
        outputs = apply(self.module, variables, z, after=self.layer)
        return list(outputs.values())[-1] if outputs else z

    def features_pure(
        self, variables: Tree, images: Images, layers: Iterable[str] | None = None
    ) -> dict[str, Array]:
        order = list(self.layers())
        names = order if layers is None else list(layers)
        if not names:
            return {}
        x = self.preprocessing(images, self.size)
        last = max(names, key=order.index)
        outputs = apply(self.module, variables, x, until=last)
        return {name: outputs[name] for name in names}

    def check_images(self, images: Images) -> None:
        shape = tuple(np.shape(images))
        if len(shape) != 4 or shape[-1] != 3 or shape[1] != shape[2]:
            raise ValueError(
                f"images must be square, of shape (B, H, H, 3); got {shape}: crop them"
            )
        check_image_values(images)

    def settings(self) -> dict[str, Any]:
        return {
            "layer": self.layer,
            "size": self.size,
            "preprocessing": dataclasses.asdict(self.preprocessing),
            "module": module_fields(self.module),
        }

    @functools.cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        image = jax.ShapeDtypeStruct((1, self.size, self.size, 3), jnp.float32)
        names: list[str] = []

        def run(variables: Tree, x: Images) -> list[Array]:
            outputs = apply(self.module, variables, x)
            names.extend(outputs)  # in order: JAX sorts the keys of dictionaries
            return list(outputs.values())

        try:
            outputs = jax.eval_shape(run, self.variables, image)
        except NothingLeft as error:
            raise ValueError(
                f"images of {self.size}x{self.size} are too small for {self.name}: "
                f"{error}"
            ) from error
        shapes = [tuple(x.shape[1:]) for x in outputs]
        return dict(zip(names, shapes, strict=True))


def build_pretrained(
    name: str, architecture: Architecture, settings: dict[str, Any], variables: Tree
) -> PretrainedNetwork:
    """The network that ``PretrainedNetwork.settings`` describes."""
    return PretrainedNetwork(
        name,
        architecture.module.clone(**_tuples(settings["module"])),
        variables,
        settings["layer"],
        Preprocessing(**_tuples(settings["preprocessing"])),
        settings["size"],
    )


def _tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that went through JSON, which makes lists of tuples."""
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in fields.items()
    }


def from_arrays(
    name: str,
    architecture: Architecture,
    arrays: Mapping[str, np.ndarray],
    layer: str | None = None,
    image_size: int | None = None,
    *,
    path: str | os.PathLike | None = None,
) -> PretrainedNetwork:
    """A network from the arrays of a published file.

    The number of classes is the file's; a part before all names that a trainer has put
    there, such as ``model.``, is dropped.

    Args:
      name, architecture: what the file should hold.
      arrays: name in the file -> array.
      layer: where to cut; None: the architecture's own choice.
      image_size: H = W that E works at; None: that of the weights.
      path: the file, for messages.

    Raises:
      ValueError: arrays that do not fit, as far as a line holds; an unknown layer; an
        image size that is too small or, for a transformer, not that of its weights.
    """
    arrays = without_prefix(arrays, architecture.matched)
    release = architecture.release_of(arrays)
    module = architecture.module.clone(**release.settings)
    size = release.preprocessing.size
    side = (module.sizes(arrays) or (size,))[0]  # no sizes: shapes are equal at any
    template = _template(module, side)
    classes = _classes(module, side, template, shapes_in(arrays, release.table))
    if classes != module_fields(module)["num_classes"]:
        module = module.clone(num_classes=classes)
        template = _template(module, side)
    variables = rename(arrays, release.table, template, name, path=path)
    return PretrainedNetwork(
        name,
        module,
        jax.tree.map(jnp.asarray, variables),
        layer or architecture.layer,
        release.preprocessing,
        image_size or size,
    )


def _template(module: Backbone, side: int) -> Tree:
    """Shapes of a backbone's arrays, for images of H = W = ``side``."""
    image = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    return jax.eval_shape(module.init, key, image)


def _classes(
    module: Backbone, side: int, template: Tree, shapes: Mapping[str, tuple[int, ...]]
) -> int:
    """The number of classes in a file; the module's own if the file does not tell.

    Args:
      module: the backbone.
      side: H = W of its images.
      template: shapes of its arrays.
      shapes: our name -> shape of what the file holds.
    """
    usual: int = module_fields(module)["num_classes"]
    ours = _shapes(template)
    if all(shapes.get(name, shape) == shape for name, shape in ours.items()):
        return usual
    others = _shapes(_template(module.clone(num_classes=usual + 1), side))
    heads = [name for name, shape in ours.items() if others[name] != shape]
    counts = {shapes[name][-1] for name in heads if shapes.get(name)}
    return counts.pop() if len(counts) == 1 else usual


def _shapes(tree: Tree) -> dict[str, tuple[int, ...]]:
    flat: dict[str, Any] = traverse_util.flatten_dict(dict(tree), sep="/")
    return {name: tuple(array.shape) for name, array in flat.items()}
