"""A frozen network, its interpretation network T and the factors' names, together."""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from iin_jax.arrays import at_least_float32
from iin_jax.directions import (
    QUANTILES,
    WHOLE,
    Axes,
    Edited,
    Plausibility,
    mean_difference,
    principal_axes,
    share_below,
    tail_probabilities,
    two_sided,
)
from iin_jax.factors import FactorLayout
from iin_jax.files.hints import short
from iin_jax.files.json_files import (
    read_description,
    read_json,
    write_description,
)
from iin_jax.files.paths import local_path
from iin_jax.flows import LinearStart, StartedFlow
from iin_jax.flows.certificate import (
    certify_flow,
    compiled_error,
    max_of,
    relative_error,
    warn_if_miscompiled,
)
from iin_jax.flows.descriptions import described_flow, flow_from
from iin_jax.flows.flow import jitted_forward, jitted_inverse
from iin_jax.latents.batches import batch_slices, padded, padded_size
from iin_jax.losses import gaussian_nll
from iin_jax.networks import NETWORKS, Network, load_network
from iin_jax.networks.registry import write_network
from iin_jax.types import Array, Images, Key, Latents, PerExample, Tree
from iin_jax.weights import load_tree_checked, save_tree, tree_digest
from iin_jax.weights.descriptions import (
    check_levels,
    described_by,
    free_ending,
    remove_others,
    with_ending,
)

DESCRIPTION, ARRAYS = "interpreter.json", "flow.safetensors"  # files of a saved one
NETWORK = "network.json"
FORMAT = 2
READ_FORMATS = (1, FORMAT)  # format 1: version 0.1, without linear starts
BATCH = 256  # images per call of the network
LATENTS = 1024  # latents per call of the flow alone
UNCOMPILED_IMAGES = 4  # images that E and G are run on uncompiled
# largest difference from compiled results that is rounding, TF32 and bfloat16 included
NETWORK_COMPILED_BOUND = 5e-2


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Interpreter:
    """E, T, G and the layout: reads a latent as named factors, and edits it.

    Every method is a pure function of its arguments. Images are (B, H, W, C) floats in
    [-1, 1]; latents are (B, N), or of the network's own shape, which is flattened.

    Attributes:
      flow: T, a ``Bijector`` with a field or property ``dim``; a ``StartedFlow`` if it
        has a linear start.
      variables: its ``{"params", "constants"}``.
      layout: names and sizes of the factors.
      network: what is interpreted; None if only latents are at hand.
      sigma: similarity T was trained with: a number, or a tuple of one per factor.
      held_out: quantiles of the log density of held-out latents, from the least to the
        greatest, which the whole latent of an edit is compared with; None: unknown.
    """

    flow: Any  # a Bijector with a field or property dim, which the class does not have
    variables: Tree
    layout: FactorLayout
    network: Network | None = None
    sigma: float | tuple[float, ...] | None = 0.975
    held_out: tuple[float, ...] | None = None

    def __post_init__(self):
        check_fits(self.flow.dim, self.layout, self.network)

    def __repr__(self) -> str:
        flow = " ".join(repr(self.flow).split())
        return (
            f"Interpreter of {self.flow.dim} dimensions, {self.layout}\n"
            f"  flow: {short(flow)}\n"
            f"  network: {self.network}\n"
            f"  sigma: {self.sigma}"
        )

    def with_network(self, network: Network) -> "Interpreter":
        """The same interpreter with a network attached.

        Raises:
          ValueError: the network's latents do not have N numbers.
        """
        return dataclasses.replace(self, network=network)

    @property
    def has_start(self) -> bool:
        """Whether T begins with a linear start."""
        return isinstance(self.flow, StartedFlow)

    def without_flow(self) -> "Interpreter":
        """The linear start T_0 alone: what the flow's training is compared with.

        Raises:
          ValueError: T has no linear start (``start="published"``).
        """
        if not isinstance(self.flow, StartedFlow):
            raise ValueError(
                "this T has no linear start; train with start='closed_form'"
            )
        constants = {"constants": self.variables["constants"]["start"]}
        start = LinearStart(self.flow.dim)
        return dataclasses.replace(self, flow=start, variables=constants)

    def encode(self, images: Images) -> Array:
        """images -> z, in the network's own shape; a posterior's mean."""
        network = self._network()
        network.check_images(images)
        return _mapped(network.encode, images)

    def decode(self, z: Array) -> Array:
        """z -> what the network makes of it: images in [-1, 1], or logits."""
        return _mapped(self._decode, self._flat(z))

    def translate(self, z: Array) -> Latents:
        """T: z -> z_tilde (B, N)."""
        return _mapped(self._translate, self._flat(z), most=LATENTS)

    def to_factors(self, z: Array) -> dict[str, Latents]:
        """z -> name -> (B, N_k)."""
        return self.layout.split(self.translate(z))

    def from_factors(self, parts: Mapping[str, Latents]) -> Array:
        """The inverse of ``to_factors``; z in the network's own shape if it has one."""
        return self.untranslate(self.layout.merge(parts))

    def untranslate(self, z_tilde: Latents) -> Array:
        """Inverse of T: z_tilde (B, N) -> z."""
        z = _mapped(self._untranslate, at_least_float32(z_tilde), most=LATENTS)
        if self.network is None:
            return z
        return z.reshape(len(z), *self.network.latent_shape)

    def with_held_out(self, z: Array) -> "Interpreter":
        """The same interpreter, which compares edits with these held-out latents.

        Args:
          z: (n, N), or of the network's own shape; n >= 1.
        """
        quantiles = np.quantile(self.log_prob(z), np.linspace(0.0, 1.0, QUANTILES))
        return dataclasses.replace(self, held_out=tuple(quantiles.tolist()))

    @overload
    def swap(
        self, images_a: Images, images_b: Images, names: Iterable[str]
    ) -> Array: ...
    @overload
    def swap(
        self,
        images_a: Images,
        images_b: Images,
        names: Iterable[str],
        *,
        plausibility: Literal[True],
    ) -> Edited: ...
    def swap(
        self,
        images_a: Images,
        images_b: Images,
        names: Iterable[str],
        *,
        plausibility: bool = False,
    ) -> Array | Edited:
        """a with b's named factors, decoded; (B, ...).

        An empty list of names edits nothing: the result is G(E(a)) up to rounding.

        Args:
          images_a, images_b: (B, H, W, C) in [-1, 1].
          names: factors.
          plausibility: returns ``Edited``, with how plausible each edit is.
        """
        mask = self.layout.mask(names)
        if plausibility:
            pair = self._checked_pair(images_a, images_b)
            z_a, z_b = (self.translate(self.encode(images)) for images in pair)
            return self._edited(jnp.where(mask, z_b, z_a))

        def edited(a: Images, b: Images) -> Array:
            z_tilde = jnp.where(mask, self._read(b), self._read(a))
            return self._decode(self._untranslate(z_tilde))

        return _mapped(edited, *self._checked_pair(images_a, images_b))

    def interpolate(
        self, images_a: Images, images_b: Images, names: Iterable[str], *, steps: int
    ) -> Array:
        """From a to b in the named factors, decoded; (steps, B, ...)."""
        names = names if isinstance(names, str) else tuple(names)
        self.layout.mask(names)

        def path(a: Images, b: Images) -> Array:
            ends = self._read(a), self._read(b)
            return self._decode_stack(
                self.layout.interpolate(*ends, names, steps=steps)
            )

        pair = self._checked_pair(images_a, images_b)
        return _mapped(path, *pair, most=max(1, BATCH // max(1, steps)), axis=1)

    @overload
    def sample(
        self, images: Images, names: Iterable[str], key: Key, *, count: int
    ) -> Array: ...
    @overload
    def sample(
        self,
        images: Images,
        names: Iterable[str],
        key: Key,
        *,
        count: int,
        plausibility: Literal[True],
    ) -> Edited: ...
    def sample(
        self,
        images: Images,
        names: Iterable[str],
        key: Key,
        *,
        count: int,
        plausibility: bool = False,
    ) -> Array | Edited:
        """The named factors drawn from N(0, 1), all others kept; (count, B, ...).

        With ``plausibility``, as in ``swap``.
        """
        if count < 1:
            raise ValueError(f"count is a number of samples >= 1; got {count}")
        mask = self.layout.mask(names)
        self._network().check_images(images)

        draws = jax.random.normal(key, (count, len(images), self.flow.dim))
        if plausibility:
            z_tilde = self.translate(self.encode(images))
            return self._edited(jnp.where(mask, draws, z_tilde))

        def drawn(images: Images, draws: Array) -> Array:
            draws = jnp.moveaxis(draws, 1, 0)
            return self._decode_stack(jnp.where(mask, draws, self._read(images)))

        by_image = jnp.moveaxis(draws, 0, 1)
        most = max(1, BATCH // count)
        return _mapped(drawn, images, by_image, most=most, axis=1)

    def direction(
        self,
        with_images: Images,
        without_images: Images,
        names: Iterable[str] | None = None,
    ) -> Array:
        """The direction in z_tilde that adds a property, (N,): a mean difference.

        Directions are arrays: their sums and multiples are directions too.

        Args:
          with_images, without_images: images with and without it, (n, H, W, C) and
            (m, H, W, C) in [-1, 1]; a few will do.
          names: factors that it may touch; None: all.

        Raises:
          ValueError: an empty set, or an unknown factor.
        """
        first, second = (
            self.translate(self.encode(images))
            if len(images)
            else np.empty((0, self.flow.dim), np.float32)
            for images in (with_images, without_images)
        )
        return mean_difference(first, second, self.layout, names)

    @overload
    def move(self, images: Images, direction: Array, steps: Any) -> Array: ...
    @overload
    def move(
        self,
        images: Images,
        direction: Array,
        steps: Any,
        *,
        plausibility: Literal[True],
    ) -> Edited: ...
    def move(
        self,
        images: Images,
        direction: Array,
        steps: Any,
        *,
        plausibility: bool = False,
    ) -> Array | Edited:
        """Images moved along a direction in z_tilde, decoded; (S, B, ...).

        Args:
          images: (B, H, W, C) in [-1, 1].
          direction: (N,), as ``direction`` or a row of ``axes`` gives it.
          steps: (S,), how far, in lengths of the direction; 0 is where an image is.
          plausibility: as in ``swap``.

        Raises:
          ValueError: a direction of another length, or steps that are no numbers (S,).
        """
        direction = jnp.asarray(direction, jnp.float32)
        if direction.shape != (self.flow.dim,):
            raise ValueError(
                f"a direction has {self.flow.dim} numbers; got shape {direction.shape}"
            )
        steps = np.asarray(steps, np.float32)
        if steps.ndim != 1 or not len(steps) or not np.isfinite(steps).all():
            raise ValueError(
                f"steps are finite numbers (S,), S >= 1; got shape {steps.shape}"
            )
        z_tilde = self.translate(self.encode(images))
        moved = z_tilde + steps[:, None, None] * direction
        return self._edited(moved) if plausibility else self._edited(moved).output

    def axes(self, name: str, images: Images, *, count: int) -> Axes:
        """Principal directions of a factor over images, for ``move``.

        Args:
          name: the factor.
          images: (n, H, W, C) in [-1, 1], n > count.
          count: number of directions.

        Returns:
          ``directions`` (count, N), each of length 1 and zero outside the factor, and
          ``explained`` (count,), the share of the factor's variance along each.

        Raises:
          ValueError: an unknown factor, or more directions than there are.
        """
        z_tilde = self.translate(self.encode(images))
        return principal_axes(z_tilde, self.layout, name, count)

    def plausibility(self, z_tilde: Latents) -> Plausibility:
        """How plausible points of z_tilde are, as tail probabilities in [0, 1].

        A value below 0.01 says that the edit leaves what T has seen: fewer than one in
        a hundred latents are as far from the middle.

        Args:
          z_tilde: (..., N).

        Returns:
          Factor -> two-sided tail probability of its norm under its prior, (...); and,
          where held-out latents are known, ``"z"`` -> that of the latent's log density
          among theirs.
        """
        z_tilde = at_least_float32(z_tilde)
        result = tail_probabilities(z_tilde, self.layout)
        if self.held_out is not None:
            flat = z_tilde.reshape(-1, self.flow.dim)
            density = self.log_prob(self.untranslate(flat))
            below = share_below(density, self.held_out)
            result[WHOLE] = two_sided(below).reshape(z_tilde.shape[:-1])
        return result

    def log_prob(self, z: Array) -> PerExample:
        """log density of z under T and a standard normal prior, in nats, (B,)."""

        def log_prob(z: Latents) -> PerExample:
            z_tilde, log_det = jitted_forward(self.flow, self.variables, z)
            return -gaussian_nll(z_tilde, log_det)

        return _mapped(log_prob, self._flat(z), most=LATENTS)

    def certify(self, images: Images) -> dict[str, Any]:
        """Measures, on real images, that interpreting changes nothing.

        Besides ``flows.certificate.certify_flow``'s entries: ``decode_max_abs``, the
        largest difference between G(E(x)) and G(T^-1(T(E(x)))), or for a classifier
        ``prediction_agreement``, the share of images whose prediction is the same; and
        ``network_compiled_max_abs``, the largest error of the compiled E and G against
        uncompiled ones on 4 images, of which a warning says if it is no rounding.
        """
        z = self.encode(images)
        result = certify_flow(self.flow, self.variables, self._flat(z))
        plain = np.asarray(self.decode(z))
        through = np.asarray(self.decode(self.untranslate(self.translate(z))))
        if self._network().output == "images":
            result["decode_max_abs"] = relative_error(through, plain)
        else:
            agree = plain.argmax(-1) == through.argmax(-1)
            result["prediction_agreement"] = float(agree.mean())
        error = self._network_compiled_error(images, z, plain)
        warn_if_miscompiled("the network", error, NETWORK_COMPILED_BOUND)
        return {**result, "network_compiled_max_abs": error}

    def save(self, path: str | os.PathLike) -> None:
        """Writes a folder: ``interpreter.json``, ``network.json``, safetensors files.

        Over an older interpreter it is whole or not at all.

        A network that no entry of ``NETWORKS`` rebuilds (one made from functions) is
        left out; attach it again after loading, with ``with_network``.

        Raises:
          ValueError: an address such as ``gs://...``, or a flow whose class is not in
            ``FLOWS``.
          OSError: the folder cannot be written.
        """
        folder = local_path(path)
        folder.mkdir(parents=True, exist_ok=True)
        ending = free_ending(folder / DESCRIPTION)
        description = {
            "format": FORMAT,
            **described_flow(self.flow),
            "layout": self.layout.as_dict(),
            "sigma": self.sigma,
            "held_out": self.held_out,
            "digest": tree_digest(self.variables),
            "network": None if self.network is None else self.network.architecture,
            "ending": ending,
        }
        save_tree(folder / with_ending(ARRAYS, ending), self.variables)
        if self.network is not None and self.network.architecture in NETWORKS:
            write_network(folder, self.network, with_ending(NETWORK, ending))
        write_description(folder / DESCRIPTION, description)
        remove_others(folder, ending, ARRAYS, NETWORK, "network.safetensors")

    def _network(self) -> Network:
        if self.network is None:
            raise ValueError(
                "this interpreter has no network; attach one with with_network(...)"
            )
        return self.network

    def _network_compiled_error(self, images: Images, z: Array, out: Array) -> float:
        """Largest error of z = E(images) and out = G(z) against uncompiled ones."""
        network = self._network()
        encode = functools.partial(network.encode_pure, network.variables)
        decode = functools.partial(network.decode_pure, network.variables)
        return max_of(
            compiled_error(z, encode, images, UNCOMPILED_IMAGES),
            compiled_error(out, decode, z, UNCOMPILED_IMAGES),
        )

    def _flat(self, z: Array) -> Latents:
        z = at_least_float32(z)
        z = z.reshape(z.shape[0], -1) if z.ndim > 2 else z
        if z.ndim != 2 or z.shape[1] != self.flow.dim:
            raise ValueError(
                f"latents have {self.flow.dim} numbers each; got {tuple(z.shape)}"
            )
        return z

    def _checked_pair(
        self, images_a: Images, images_b: Images
    ) -> tuple[Images, Images]:
        if len(images_a) != len(images_b):
            raise ValueError(
                f"an edit takes as many a as b; got {len(images_a)} and {len(images_b)}"
            )
        for images in (images_a, images_b):
            self._network().check_images(images)
        return images_a, images_b

    def _translate(self, z: Latents) -> Latents:
        return jitted_forward(self.flow, self.variables, z)[0]

    def _untranslate(self, z_tilde: Latents) -> Latents:
        return jitted_inverse(self.flow, self.variables, z_tilde)

    def _read(self, images: Images) -> Latents:
        """images -> z_tilde."""
        return self._translate(self._flat(self._network().encode(images)))

    def _decode(self, z: Latents) -> Array:
        network = self._network()
        return network.decode(z.reshape(-1, *network.latent_shape))

    def _edited(self, z_tilde: Array) -> Edited:
        """Edits (..., N), decoded in batches, and how plausible they are."""
        decoded = self.decode(self.untranslate(z_tilde.reshape(-1, self.flow.dim)))
        output = decoded.reshape(*z_tilde.shape[:-1], *decoded.shape[1:])
        return Edited(output, self.plausibility(z_tilde))

    def _decode_stack(self, z_tilde: Latents) -> Array:
        """(steps, B, N) -> (steps, B, ...)."""
        lead = z_tilde.shape[:2]
        decoded = self._decode(self._untranslate(z_tilde.reshape(-1, self.flow.dim)))
        return decoded.reshape(*lead, *decoded.shape[1:])


def load(path: str | os.PathLike) -> Interpreter:
    """Loads a folder that ``Interpreter.save`` wrote, or a finished run.

    Raises:
      ValueError: no interpreter there, an unknown format or architecture, or weights
        that are missing or differ from their digest.
    """
    folder = local_path(path)
    if (folder / "interpreter" / DESCRIPTION).is_file():
        folder = folder / "interpreter"
    file = folder / DESCRIPTION
    if not file.exists():
        raise ValueError(
            f"no interpreter in {path}: neither interpreter.json nor a finished run"
        )
    entries = read_json(file)
    number = entries.get("format") if isinstance(entries, dict) else FORMAT
    if number not in READ_FORMATS:  # so another version's, with a checksum of its own
        raise ValueError(
            f"{file} cannot be used: it has format {number}; this version reads "
            f"{FORMAT}"
        )
    description = read_description(file)
    with described_by(file):
        flow = flow_from(description)
        layout = FactorLayout(description["layout"])
        digest, sigma = description["digest"], description["sigma"]
        held_out = description.get("held_out")
        known = description["network"] in NETWORKS
        ending = description.get("ending", "")
    variables = load_tree_checked(folder / with_ending(ARRAYS, ending), digest)
    with described_by(file):
        check_levels(description["flow"], len(jax.tree.leaves(variables)))
    return Interpreter(
        flow,
        jax.tree.map(jnp.asarray, variables),
        layout,
        load_network(folder, with_ending(NETWORK, ending)) if known else None,
        tuple(sigma) if isinstance(sigma, list) else sigma,
        None if held_out is None else tuple(held_out),
    )


def check_fits(dim: int, layout: FactorLayout, network: Network | None) -> None:
    """Raises ValueError unless flow, layout and network agree on N."""
    if layout.dim != dim:
        raise ValueError(
            f"the sizes {layout.as_dict()} sum to {layout.dim}, but the latents have "
            f"{dim} dimensions"
        )
    if network is not None and int(np.prod(network.latent_shape)) != dim:
        raise ValueError(
            f"the network's latents have shape {network.latent_shape}, the flow acts "
            f"on {dim} numbers"
        )


def _mapped(
    function: Callable[..., Array], *arrays: Array, most: int = BATCH, axis: int = 0
) -> Array:
    """Maps a function over entries, in batches of few sizes; traced arrays as they are.

    Args:
      function: arrays (b, ...) -> array with the entries on its ``axis``.
      arrays: (B, ...) each.
      most: entries per call.
      axis: of the result.
    """
    count = len(arrays[0])
    size = padded_size(count, most)
    if size == count or any(isinstance(x, Tracer) for x in arrays):
        return jnp.asarray(function(*arrays))
    # on the host, since cuts of every length would be compiled too
    hosts, parts = [np.asarray(x) for x in arrays], []
    for part in batch_slices(count, size):
        result = np.asarray(function(*(padded(x[part], size) for x in hosts)))
        parts.append(np.moveaxis(result, axis, 0)[: part.stop - part.start])
    whole = np.moveaxis(np.concatenate(parts), 0, axis)
    return jax.device_put(np.ascontiguousarray(whole))
