"""Measures whether a flow really inverts and really knows its log-determinant."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from iin_jax.flows.base import Bijector
from iin_jax.flows.chain import Chain
from iin_jax.flows.flow import FlowBlock, jitted_forward, jitted_inverse
from iin_jax.types import Latents, Tree

FULL_JACOBIAN_DIM = 128  # largest N at which all latents are differentiated
SOME_JACOBIAN_DIM = 1024  # largest N of a Jacobian of the whole flow, not of blocks
SOME_LATENTS = 32  # most latents differentiated above FULL_JACOBIAN_DIM


def certify_flow(flow: Bijector, variables: Tree, z: Latents) -> dict:
    """Largest errors of inverse and log-determinant on given latents.

    Errors are relative to max(1, |value|). The log-determinant is compared with
    ``slogdet`` of the Jacobian by forward differentiation: on all latents if N <= 128,
    on 32 if N <= 1024, beyond that on 2, block by block.

    Args:
      flow, variables: T, with a field or property ``dim``.
      z: (n, N), real latents.

    Returns:
      ``round_trip_max_abs``, ``log_det_max_abs``, ``dtype``, ``latents`` (n),
      ``log_det_latents`` (how many give the second figure) and ``log_det_of``
      (``"flow"`` or ``"blocks"``).
    """
    z = jnp.asarray(z)
    z_back = jitted_inverse(flow, variables, jitted_forward(flow, variables, z)[0])
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
    }


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
