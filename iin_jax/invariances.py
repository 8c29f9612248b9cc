"""What a layer of a classifier no longer distinguishes (Rombach et al., ECCV 2020).

A conditional flow T translates the latent of an autoencoder, given the representation
that a classifier has of the image, to what the representation does not say:
``v = T(z | representation)``. With v drawn from N(0, 1) and decoded, one sees images
that are alike to the classifier: what varies among them it has thrown away.
"""

import dataclasses
import functools
import os
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from iin_jax.files.json_files import read_description, write_description
from iin_jax.files.paths import local_path
from iin_jax.flows.conditional import ConditionalFlow
from iin_jax.latents import LatentCache, encode_all
from iin_jax.latents.batches import mapped
from iin_jax.latents.representations import Context, context_of, representation
from iin_jax.linen import apply, module_fields
from iin_jax.networks import Network
from iin_jax.training.conditional_training import ContextLatents, train_conditional
from iin_jax.types import Array, Images, Key, Latents, Tree
from iin_jax.weights import load_tree_checked, save_tree, tree_digest
from iin_jax.weights.descriptions import (
    check_levels,
    described_by,
    free_ending,
    remove_others,
    with_ending,
)

HELD_OUT = 0.1  # share of the images that are not trained on
DESCRIPTION, ARRAYS, FORMAT = "invariances.json", "invariances.safetensors", 1
FEWEST = 20  # least number of images
COMPARED = 1000  # most images, and pairs of them, behind a measured distance


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Invariances:
    """A conditional flow between an autoencoder and a layer; see ``invariances``.

    Attributes:
      autoencoder: puts out images.
      classifier: what is asked about.
      layer: one of ``classifier.layers()``.
      flow, variables: T.
      context: of the representations at the layer.
      record: held-out bits per dimension of T (``bits_per_dim``), of its closed form
        (``start_bits_per_dim``), and the kept ``step``.
    """

    autoencoder: Network
    classifier: Network
    layer: str
    flow: ConditionalFlow
    variables: Tree
    context: Context
    record: dict[str, float]

    def __repr__(self) -> str:
        return (
            f"Invariances of {self.layer!r}, context of {self.context.axes.shape[1]} "
            f"numbers\n  classifier: {self.classifier}\n"
            f"  autoencoder: {self.autoencoder}"
        )

    def save(self, path: str | os.PathLike) -> None:
        """Writes a folder: ``invariances.json`` and a safetensors file.

        The two networks are not in it; ``load`` is given them.

        Raises:
          ValueError: an address such as ``gs://...``.
          OSError: the folder cannot be written.
        """
        folder = local_path(path)
        folder.mkdir(parents=True, exist_ok=True)
        ending = free_ending(folder / DESCRIPTION)
        arrays = self._arrays()
        description = {
            "format": FORMAT,
            "layer": self.layer,
            "flow": module_fields(self.flow),
            "record": self.record,
            "digest": tree_digest(arrays),
            "networks": _digests(self.autoencoder, self.classifier),
            "ending": ending,
        }
        save_tree(folder / with_ending(ARRAYS, ending), arrays)
        write_description(folder / DESCRIPTION, description)
        remove_others(folder, ending, ARRAYS)

    @classmethod
    def load(
        cls, path: str | os.PathLike, autoencoder: Network, classifier: Network
    ) -> "Invariances":
        """Reads what ``save`` wrote.

        Args:
          path: the folder.
          autoencoder, classifier: the networks that it was learned on.

        Raises:
          ValueError: nothing there, of an unknown format or damaged, or other networks.
        """
        folder = local_path(path)
        file = folder / DESCRIPTION
        if not file.exists():
            raise ValueError(f"no invariances in {path}: there is no {DESCRIPTION}")
        description = read_description(file)
        with described_by(file):
            if description["format"] != FORMAT:
                raise ValueError(f"it has format {description['format']}")
            flow = ConditionalFlow(**description["flow"])
            arrays = with_ending(ARRAYS, description["ending"])
            digest, networks = description["digest"], dict(description["networks"])
            layer, record = description["layer"], description["record"]
        for name, given in _digests(autoencoder, classifier).items():
            if given != networks.get(name):
                raise ValueError(f"the invariances of {path} are of another {name}")
        tree = load_tree_checked(folder / arrays, digest)
        with described_by(file):
            check_levels(description["flow"], len(jax.tree.leaves(tree)))
            context = Context(tree["context"]["mean"], tree["context"]["axes"])
            variables = jax.tree.map(jnp.asarray, tree["flow"])
        return cls(autoencoder, classifier, layer, flow, variables, context, record)

    def _arrays(self) -> Tree:
        return {"flow": self.variables, "context": dataclasses.asdict(self.context)}

    def representation(self, images: Images) -> Array:
        """images (B, H, W, C) in [-1, 1] -> the layer's output, flat, (B, R)."""
        return representation(self.classifier, self.layer, images)

    def reconstructed(self, images: Images) -> Images:
        """What the autoencoder makes of images, (B, H, W, C) in [-1, 1]."""
        z = mapped(self.autoencoder.encode, images)
        return jnp.clip(mapped(self.autoencoder.decode, z), -1.0, 1.0)

    def translate(self, images: Images) -> Latents:
        """images -> v (B, N), what their representation does not say of them."""
        z = mapped(self.autoencoder.encode, images).reshape(len(images), -1)
        context = self.context(self.representation(images))
        return _forward(self.flow, self.variables, z, context)

    def sample(self, images: Images, key: Key, count: int = 8) -> Images:
        """Images that the layer should not tell from the given ones.

        Args:
          images: (B, H, W, C) in [-1, 1].
          key: of the draws.
          count: samples for each image.

        Returns:
          (count, B, H, W, C) in [-1, 1].
        """
        if count < 1:
            raise ValueError(f"count is at least 1; got {count}")
        context = self.context(self.representation(images))
        shape = (count, len(images), self.flow.dim)
        return self.decoded(jax.random.normal(key, shape), context)

    def decoded(self, v: Array, context: Array) -> Images:
        """Images of v (count, B, N) under the contexts (B, M).

        Raises:
          ValueError: as many contexts as there are v, and no others, of M numbers.
        """
        count, batch, dim = v.shape
        if jnp.shape(context) != (batch, self.context.axes.shape[1]):
            raise ValueError(
                f"v is of {batch} images, so the context has shape "
                f"{(batch, self.context.axes.shape[1])}; got {jnp.shape(context)}"
            )
        flat, beside = v.reshape(-1, dim), jnp.tile(context, (count, 1))
        z = _inverse(self.flow, self.variables, flat, beside)
        shape = self.autoencoder.latent_shape
        images = mapped(self.autoencoder.decode, z.reshape(-1, *shape))
        images = jnp.clip(images, -1.0, 1.0)
        return images.reshape(count, batch, *images.shape[1:])

    def distance(self, images: Images, key: Key, count: int = 4) -> dict[str, float]:
        """How far samples are from their images in the representation.

        Distances are Euclidean, over the mean distance of two images drawn at random.

        Args:
          images: (B, H, W, C) in [-1, 1], B >= 2, none that T was trained on.
          key: of the samples and the pairs.
          count: samples for each image.

        Returns:
          ``samples``: of samples and their images; ``reconstructions``: of what the
          autoencoder makes of the images, below which no sample can be expected.

        Raises:
          ValueError: one image, or images that the layer does not tell apart.
        """
        _check_several(images)
        images = images[:COMPARED]
        own = np.asarray(self.representation(images), np.float64)
        order = np.asarray(jax.random.permutation(key, len(images)))
        random = _apart(own[order], own[np.roll(order, 1)])
        if not random > 0.0:
            raise ValueError(f"layer {self.layer!r} tells none of these images apart")

        def of(others: Images) -> float:
            return _apart(np.asarray(self.representation(others)), own) / random

        samples = [of(each) for each in self.sample(images, key, count)]
        again = of(self.reconstructed(images))
        return {"samples": float(np.mean(samples)), "reconstructions": again}

    def freedom(
        self,
        images: Images,
        measure: Callable[[Images], Any],
        key: Key,
        count: int = 8,
    ) -> float:
        """How freely a property varies among samples that the layer takes for one.

        Args:
          images: (B, H, W, C) in [-1, 1], B >= 2.
          measure: images -> the property, (b,) or (b, d).
          key: of the samples.
          count: samples for each image, at least 2.

        Returns:
          Variance over the samples of an image, in the mean over images, over the
          variance among what the autoencoder makes of the images: 0 where the layer
          fixes the property, 1 where it says nothing of it.

        Raises:
          ValueError: one image or one sample, or a property that no image varies in.
        """
        _check_several(images)
        if count < 2:
            raise ValueError(f"a variance needs a count of at least 2; got {count}")
        among = _property(measure, self.reconstructed(images))
        drawn = self.sample(images, key, count)
        samples = np.stack([_property(measure, each) for each in drawn])
        within = samples.var(axis=0, ddof=1).mean(axis=0).sum()
        variance = among.var(axis=0, ddof=1).sum()
        if not variance > 0.0:
            raise ValueError("the property is the same for all images")
        return float(within / variance)


def invariances(
    autoencoder: Network,
    classifier: Network,
    layer: str,
    images: Images,
    *,
    flow: ConditionalFlow | None = None,
    steps: int = 1000,
    batch_size: int = 256,
    seed: int = 0,
    progress: bool = True,
) -> Invariances:
    """Learns what a layer of a classifier no longer distinguishes.

    A tenth of the images is held out; the state is kept that does best on it, the
    closed form among them: z given the representation as a Gaussian whose mean is
    linear in it. A warning says so if no step of training did better.

    Args:
      autoencoder: a network that puts out images; it shows what is left open.
      classifier: the network that is asked about; it takes the same images.
      layer: one of ``classifier.layers()``.
      images: (n, H, W, C) in [-1, 1], n >= 20.
      flow: T, of N dimensions; None: of the usual size.
      steps: of the training.
      batch_size: latents per step, over all devices.
      seed: of everything random.
      progress: shows a bar.

    Raises:
      ValueError: an autoencoder that puts out no images or has a latent of one number,
        an unknown layer, a representation that never varies or is random, too few
        images, a flow of another N.
    """
    if autoencoder.output != "images":
        raise ValueError(
            "invariances are shown by an autoencoder; this network puts out "
            f"{autoencoder.output}"
        )
    images = np.asarray(images)
    if len(images) < FEWEST:
        raise ValueError(f"invariances need {FEWEST} images; got {len(images)}")
    dim = int(np.prod(autoencoder.latent_shape))
    if dim < 2:
        raise ValueError("an autoencoder of one latent number leaves nothing open")
    if flow is not None and flow.dim != dim:
        raise ValueError(
            f"the autoencoder's latents have {dim} numbers, the flow acts on {flow.dim}"
        )
    context, values = context_of(classifier, layer, images, seed)
    label = "encode" if progress else None
    cache = encode_all(autoencoder, images.__getitem__, len(images), progress=label)
    train, unseen = _split(cache, values, seed)
    flow = ConditionalFlow(dim) if flow is None else flow
    variables, record = train_conditional(
        flow,
        train,
        unseen,
        steps=steps,
        batch_size=batch_size,
        seed=seed,
        progress="invariances" if progress else None,
    )
    if record["step"] == 0:
        warnings.warn(
            f"none of {steps} steps of training did better on held-out images than the "
            "closed form: T is linear",
            stacklevel=2,
        )
    arguments = (autoencoder, classifier, layer, flow, variables, context, record)
    return Invariances(*arguments)


def _digests(autoencoder: Network, classifier: Network) -> dict[str, str]:
    """What tells whether networks are those that a flow was learned on."""
    return {
        "autoencoder": tree_digest(autoencoder.variables),
        "classifier": tree_digest(classifier.variables),
    }


def _split(
    cache: LatentCache, context: np.ndarray, seed: int
) -> tuple[ContextLatents, ContextLatents]:
    """What is trained on, and what is held out."""
    latents = ContextLatents(cache.mean, cache.log_var, context)
    order = np.random.default_rng([seed, 0x14A]).permutation(len(context))
    count = max(2, round(HELD_OUT * len(order)))
    return latents.subset(np.sort(order[count:])), latents.subset(order[:count])


@functools.partial(jax.jit, static_argnums=0)
def _forward(
    flow: ConditionalFlow, variables: Tree, z: Latents, context: Array
) -> Latents:
    return apply(flow, variables, z, context)[0]


@functools.partial(jax.jit, static_argnums=0)
def _inverse(
    flow: ConditionalFlow, variables: Tree, v: Latents, context: Array
) -> Latents:
    return apply(flow, variables, v, context, method="inverse")


def _check_several(images: Images) -> None:
    if len(images) < 2:
        raise ValueError(f"at least two images are compared; got {len(images)}")


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    """Mean Euclidean distance of rows."""
    return float(np.linalg.norm(a - b, axis=1).mean())


def _property(measure: Callable[[Images], Any], images: Images) -> np.ndarray:
    """A measured property (b, d) in float64."""
    values = np.asarray(measure(images), np.float64)
    return values.reshape(len(values), -1)
