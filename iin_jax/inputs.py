"""What a fit is given, checked: one clear line for whatever cannot work."""

import warnings
from typing import Any

import numpy as np

from iin_jax.arrays import to_numpy
from iin_jax.concepts.explicit_pairs import ExplicitPairs
from iin_jax.concepts.whitening import Whitening
from iin_jax.factors import RESIDUAL, FactorLayout
from iin_jax.flows import Bijector
from iin_jax.flows.feature_map import FeatureMapFlow, check_map
from iin_jax.flows.linear_start import DEAD_SPREAD
from iin_jax.interpreter import check_fits
from iin_jax.latents import check_finite
from iin_jax.networks import Network
from iin_jax.prepared import PreparedLatents


def check_pairs(za, zb, shared: np.ndarray, layout: FactorLayout) -> None:
    """Raises ValueError for arrays that are no pairs of latents of a layout."""
    if za.shape != zb.shape or shared.shape[:1] != za.shape[:1]:
        raise ValueError(
            f"za, zb and shared must be of one length, za and zb of one shape; got "
            f"{za.shape}, {zb.shape} and {shared.shape}"
        )
    if shared.dtype != bool or shared.shape != (len(za), len(layout)):
        raise ValueError(
            f"shared must be bool of shape {(len(za), len(layout))}, one column per "
            f"factor of {layout}; got {shared.dtype} of shape {shared.shape}"
        )


def check_layout(
    layout: FactorLayout, concepts: tuple[str, ...], network: Network
) -> None:
    """Raises ValueError unless a layout names the concepts and has the sizes of N."""
    expected = (*concepts, RESIDUAL)
    if layout.names != expected:
        raise ValueError(
            f"the layout's factors must be the labels, in order, then the residual: "
            f"{list(expected)}; got {list(layout.names)}"
        )
    check_fits(int(np.prod(network.latent_shape)), layout, network)


def check_flow(
    flow: Bijector | None, latent_shape: tuple[int, ...] | None = None
) -> None:
    """Raises ValueError for a flow over maps that cannot be or does not fit.

    Args:
      flow: T; None: the default.
      latent_shape: of one latent, where a network is known.
    """
    if not isinstance(flow, FeatureMapFlow):
        return
    check_map(*flow.map_shape)
    fitting = (flow.map_shape, (flow.positions, flow.channels))
    if latent_shape is not None and tuple(latent_shape) not in fitting:
        what = "vectors" if len(latent_shape) == 1 else "of another shape"
        raise ValueError(
            f"the flow acts on maps {flow.map_shape}, and the network's latents are "
            f"{what}, {tuple(latent_shape)}: cut it where f has such a map, or give a "
            "flow of that shape"
        )


def check_channels(layout: FactorLayout, positions: int | None) -> None:
    """Raises ValueError unless the factors are groups of a map's channels."""
    if positions is None:
        return
    broken = [name for name, size in layout.as_dict().items() if size % positions]
    if broken:
        raise ValueError(
            f"a factor of a map is a group of channels, so sizes are multiples of its "
            f"{positions} positions; got {broken[0]!r} with {layout[broken[0]]}"
        )


def latents_of(z: Any, name: str) -> np.ndarray:
    """Latents of any framework as float32 (n, N), all finite; spatial ones flat."""
    z = to_numpy(z, np.float32)
    if z.ndim < 2 or z.size == 0:
        raise ValueError(
            f"{name} must be (n, N) or (n, H, W, C) with n >= 1; got shape {z.shape}"
        )
    z = z.reshape(len(z), -1)
    check_finite(z, f"{name} latent")
    return z


def warn_of_crossing(
    source: ExplicitPairs, train: PreparedLatents, unseen: PreparedLatents | None
) -> None:
    """Warns of pairs that a split has divided, and of how many."""
    sides = [part.source for part in (train, unseen) if part is not None]
    kept = sum(len(s.a) for s in sides if isinstance(s, ExplicitPairs))
    if kept < len(source.a):
        warnings.warn(
            f"{len(source.a) - kept} of {len(source.a)} pairs are left out, since one "
            "half is of a held-out image and the other is not (held_out sets the "
            "share)",
            stacklevel=3,
        )


def warn_of_small_set(train: PreparedLatents, dim: int) -> None:
    """Warns of fewer images or pairs than dimensions."""
    source, count, what = train.source, train.images, "images"
    if isinstance(source, ExplicitPairs) and len(source.a) < count:
        count, what = len(source.a), "pairs"
    dim = dim // (train.positions or 1)
    if count < dim:
        warnings.warn(
            f"{count} {what} for {dim} dimensions: the linear start stands on a "
            "covariance that is shrunk towards independence",
            stacklevel=4,
        )


def warn_of_self_pairs(source: ExplicitPairs) -> None:
    """Warns of pairs of one image with itself that do not share the residual."""
    same = source.image[source.a] == source.image[source.b]
    unshared = int((same & ~source.shared[:, -1]).sum())
    if unshared:
        warnings.warn(
            f"{unshared} of {len(same)} pairs are of one image with itself and do not "
            "share the residual: leave them out, or let them share it",
            stacklevel=3,
        )


def warn_of_idle_pairs(source: ExplicitPairs) -> None:
    """Warns of pairs that say nothing of where a factor lies, and how many they are.

    Raises:
      ValueError: all pairs share nothing, or all share every factor.
    """
    count = len(source.shared)
    nothing = int((~source.shared.any(axis=1)).sum())
    everything = int(source.shared.all(axis=1).sum())
    for idle, what in ((nothing, "share nothing"), (everything, "share every factor")):
        if idle == count:
            raise ValueError(
                f"all {count} pairs {what}, so nothing tells the factors apart: a pair "
                "has to share some factor and not another"
            )
        if idle:
            warnings.warn(
                f"{idle} of {count} pairs {what}: they count for the density alone, "
                "and say nothing of where a factor lies",
                stacklevel=3,
            )


def check_several_images(images: int) -> None:
    """Raises ValueError for a single image."""
    if images < 2:
        raise ValueError(
            "all latents are of one image: a concept needs several that differ"
        )


def warn_of_constants(z: np.ndarray, *, carried: bool) -> None:
    """Warns of components that never vary; raises ValueError if none does.

    Args:
      z: (n, N).
      carried: T carries them unchanged.
    """
    spread, largest = z.std(axis=0), np.abs(z).max(axis=0)
    constant = np.flatnonzero(spread <= DEAD_SPREAD * largest)
    if constant.size == z.shape[1]:
        raise ValueError(
            f"no component of the {len(z)} latents varies: they are all alike, and "
            "there is nothing to interpret"
        )
    if constant.size:
        warnings.warn(
            f"{constant.size} of {z.shape[1]} latent components never vary (first: "
            f"{constant[0]}); "
            + (
                "T carries them unchanged, in the residual"
                if carried
                else "a flow has no density there: drop them, add noise, or begin with "
                "start='closed_form'"
            ),
            stacklevel=3,
        )


def warn_of_dependence(whitening: Whitening) -> None:
    """Warns of directions in which latents never vary, beside constant components."""
    still = whitening.axes[:, whitening.never_vary]
    constant = np.square(still).sum(axis=1) > 1 - 1e-6  # wholly among these directions
    dependent = still.shape[1] - int(constant.sum())
    if dependent:
        warnings.warn(
            f"{dependent} of {len(whitening.mean)} latent components are copies or "
            "sums of others: T carries what never varies unchanged, in the residual",
            stacklevel=4,
        )
