"""A frozen network, its interpretation network T and the factors' names, together."""

import dataclasses
import functools
import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from iin_jax.arrays import at_least_float32
from iin_jax.directions import QUANTILES
from iin_jax.edits import Edits
from iin_jax.factors import FactorLayout
from iin_jax.files.hints import short
from iin_jax.files.json_files import (
    read_description,
    read_json,
    write_description,
)
from iin_jax.files.paths import local_path
from iin_jax.flows import StartedFlow
from iin_jax.flows.certificate import (
    certify_flow,
    compiled_error,
    max_of,
    relative_error,
    warn_if_miscompiled,
)
from iin_jax.flows.descriptions import described_flow, flow_from
from iin_jax.flows.flow import jitted_forward, jitted_inverse
from iin_jax.flows.linear_start import start_before
from iin_jax.latents.batches import mapped
from iin_jax.losses import gaussian_nll
from iin_jax.networks import NETWORKS, Network, load_network
from iin_jax.networks.registry import write_network
from iin_jax.types import Array, Images, Latents, PerExample, Tree
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
LATENTS = 1024  # latents per call of the flow alone
UNCOMPILED_IMAGES = 4  # images that E and G are run on uncompiled
# largest difference from compiled results that is rounding, TF32 and bfloat16 included
NETWORK_COMPILED_BOUND = 5e-2


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Interpreter(Edits):
    """E, T, G and the layout: reads a latent as named factors, and edits it.

    Edits of images (``swap``, ``interpolate``, ``sample``, ``move``, ``axes`` and how
    plausible they are) stand in ``edits.Edits``.

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
        start = start_before(self.flow.flow)
        return dataclasses.replace(self, flow=start, variables=constants)

    def encode(self, images: Images) -> Array:
        """images -> z, in the network's own shape; a posterior's mean."""
        network = self._network()
        network.check_images(images)
        return mapped(network.encode, images)

    def decode(self, z: Array) -> Array:
        """z -> what the network makes of it: images in [-1, 1], or logits."""
        return mapped(self._decode, self._flat(z))

    def translate(self, z: Array) -> Latents:
        """T: z -> z_tilde (B, N)."""
        return mapped(self._translate, self._flat(z), most=LATENTS)

    def to_factors(self, z: Array) -> dict[str, Latents]:
        """z -> name -> (B, N_k)."""
        return self.layout.split(self.translate(z))

    def from_factors(self, parts: Mapping[str, Latents]) -> Array:
        """The inverse of ``to_factors``; z in the network's own shape if it has one."""
        return self.untranslate(self.layout.merge(parts))

    def untranslate(self, z_tilde: Latents) -> Array:
        """Inverse of T: z_tilde (B, N) -> z."""
        z = mapped(self._untranslate, at_least_float32(z_tilde), most=LATENTS)
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

    def log_prob(self, z: Array) -> PerExample:
        """log density of z under T and a standard normal prior, in nats, (B,)."""

        def log_prob(z: Latents) -> PerExample:
            z_tilde, log_det = jitted_forward(self.flow, self.variables, z)
            return -gaussian_nll(z_tilde, log_det)

        return mapped(log_prob, self._flat(z), most=LATENTS)

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

    def _translate(self, z: Latents) -> Latents:
        return jitted_forward(self.flow, self.variables, z)[0]

    def _untranslate(self, z_tilde: Latents) -> Latents:
        return jitted_inverse(self.flow, self.variables, z_tilde)

    def _latents(self, images: Images) -> Latents:
        """images -> z, flat."""
        return self._flat(self._network().encode(images))

    def _decode(self, z: Latents) -> Array:
        network = self._network()
        return network.decode(z.reshape(-1, *network.latent_shape))


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
