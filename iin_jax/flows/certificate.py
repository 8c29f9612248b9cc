"""Measures whether a flow really inverts and really knows its log-determinant.

It measures too whether the flow's compiled programs are right: jaxlib 0.10.2 compiles
some fused reductions wrongly on CPUs, at some shapes only.
"""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from iin_jax.flows.base import Bijector
from iin_jax.flows.chain import Chain
from iin_jax.flows.flow import FlowBlock, jitted_forward, jitted_inverse
from iin_jax.linen import apply
from iin_jax.types import Array, Latents, Tree

FULL_JACOBIAN_DIM = 128  # largest N at which all latents are differentiated
SOME_JACOBIAN_DIM = 1024  # largest N of a Jacobian of the whole flow, not of blocks
SOME_LATENTS = 32  # most latents differentiated above FULL_JACOBIAN_DIM
UNCOMPILED_ROWS = 16  # rows of a compiled result that are computed again, uncompiled
COMPILED_BOUND = 1e-3  # largest relative difference of the two that is rounding


def certify_flow(flow: Bijector, variables: Tree, z: Latents) -> dict:
    """Largest errors of inverse and log-determinant on given latents.

    Errors are relative to max(1, |value|). The log-determinant is compared with
    ``slogdet`` of the Jacobian by forward differentiation: on all latents if N <= 128,
    on 32 if N <= 1024, beyond that on 2, block by block. The compiled T and
    its log-determinant are compared with uncompiled ones on 16 latents, and a warning
    says if they differ by more than rounding; the round trip holds the inverse to them.

    Args:
      flow, variables: T, with a field or property ``dim``.
      z: (n, N), real latents.

    Returns:
      ``round_trip_max_abs``, ``log_det_max_abs``, ``dtype``, ``latents`` (n),
      ``log_det_latents`` (how many give the second figure), ``log_det_of``
      (``"flow"`` or ``"blocks"``) and ``compiled_max_abs``.
    """
    z = jnp.asarray(z)
    z_tilde, log_det = jitted_forward(flow, variables, z)
    z_back = jitted_inverse(flow, variables, z_tilde)
    forward = functools.partial(apply, flow, variables)
    compiled = compiled_error((z_tilde, log_det), forward, z)
    warn_if_miscompiled("T", compiled, COMPILED_BOUND)
    if flow.dim <= FULL_JACOBIAN_DIM:
        count, scope = len(z), "flow"
    elif flow.dim <= SOME_JACOBIAN_DIM:
        count, scope = min(len(z), SOME_LATENTS), "flow"
    else:
        count, scope = min(len(z), 2), "blocks"
    measure = _log_det_errors if scope == "flow" else _block_log_det_errors
    return {
        "round_trip_max_abs": relative_error(z_back, z),
        "log_det_max_abs": float(measure(flow, variables, z[:count]).max()),
        "dtype": str(z.dtype),
        "latents": len(z),
        "log_det_latents": count,
        "log_det_of": scope,
        "compiled_max_abs": compiled,
    }


def compiled_error(
    results: Any,
    function: Callable[[Array], Any],
    x: Array,
    rows: int = UNCOMPILED_ROWS,
) -> float:
    """Largest relative error of compiled results against uncompiled ones.

    Compilers choose kernels by shape, so the compiled results are those of all rows;
    what they are compared with needs some of the rows only, the first and the last
    among them, computed one operation at a time.

    Args:
      results: array or tuple of arrays (n, ...), ``function(x)`` compiled.
      function: (b, ...) -> one or more (b, ...), each row from its row alone.
      x: (n, ...).
      rows: most rows computed again.
    """
    part = np.unique(np.linspace(0, len(x) - 1, rows).astype(int))
    with jax.disable_jit():
        expected = function(jnp.asarray(np.asarray(x)[part]))
    pairs = zip(jax.tree.leaves(results), jax.tree.leaves(expected), strict=True)
    return max_of(*(relative_error(np.asarray(a)[part], b) for a, b in pairs))


def warn_if_miscompiled(name: str, error: float, bound: float) -> None:
    """Warns if compiled results differ from uncompiled ones by more than rounding."""
    if not error <= bound:  # NaN too
        warnings.warn(
            f"compiled results of {name} differ from uncompiled ones by {error:.1e}, "
            f"and rounding makes at most {bound:.0e}: this jaxlib compiles {name} "
            "wrongly here, so take another version, or for jaxlib 0.10 on CPUs set "
            "XLA_FLAGS=--xla_cpu_experimental_ynn_fusion_type=",
            stacklevel=3,
        )


def max_of(*errors: float) -> float:
    """The largest error; NaN if one is NaN, unlike Python's ``max``."""
    return float(np.max(errors))


def relative_error(actual, expected) -> float:
    """max |actual - expected| / max(1, |expected|)."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    scale = np.maximum(1.0, np.abs(expected))
    return float((np.abs(actual - expected) / scale).max())


@functools.partial(jax.jit, static_argnums=0)
def _log_det_errors(flow, variables, z):
    def error(vector):
        jacobian = jax.jacfwd(lambda x: flow.apply(variables, x)[0])(vector)
        log_det = flow.apply(variables, vector)[1]
        return _relative_to_slogdet(log_det, jacobian)

    return jax.lax.map(error, z, batch_size=32)


def _parts(flow: Bijector) -> list[Bijector]:
    """The bijectors that a flow is a chain of, blocks in one piece."""
    if not isinstance(flow, Chain) or isinstance(flow, FlowBlock):
        return [flow]
    return [part for bijector in flow.bijectors() for part in _parts(bijector)]


def _block_log_det_errors(flow, variables, z):
    errors = []
    for index in range(len(_parts(flow.bind(dict(variables))))):
        z, error = _one_block(flow, index, variables, z)
        errors.append(error)
    return jnp.stack(errors)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _one_block(flow, index, variables, z):
    def block(vector):
        return flow.apply(
            variables, vector, method=lambda bound, x: _parts(bound)[index](x)
        )

    def error(vector):
        jacobian = jax.jacfwd(lambda x: block(x)[0])(vector)
        return _relative_to_slogdet(block(vector)[1], jacobian)

    return jax.vmap(block)(z)[0], jax.lax.map(error, z)


def _relative_to_slogdet(log_det, jacobian):
    expected = jnp.linalg.slogdet(jacobian)[1]
    return jnp.abs(log_det - expected) / jnp.maximum(1.0, jnp.abs(expected))
