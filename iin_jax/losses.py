"""Composable likelihoods: arrays in, one value per example out.

A *term* is a callable from the results of one step (a class in ``iin_jax.outputs``) to
one value per example, shape (B,). ``weighted_sum`` combines terms into a term. A *loss*
of T is a function of the layout that returns a term: ``fit(..., loss=loss)``, and
likewise in ``interpret`` and ``train_flow``. ``TERMS`` names the terms that settings
can add.

All densities are full: the constants in 2 pi and log(1 - sigma^2) are included, so the
values are negative log-likelihoods in nats and compare across layouts and sigmas. They
are densities, so a negative value is no mistake: see ``bits_per_dim``. A term of equal
arguments is the same object, so that what is compiled is found again.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax.core
import jax.numpy as jnp
import numpy as np

from iin_jax.batch import batch_mean, device_mean
from iin_jax.factors import RESIDUAL, FactorLayout
from iin_jax.outputs import AutoencoderOutputs, PairOutputs, SampleOutputs
from iin_jax.types import Array, Latents, PerExample, Shared

LOG_2PI = math.log(2.0 * math.pi)

Outputs = Any  # the frozen dataclass that holds one step's results
Term = Callable[[Outputs], PerExample]
Loss = Callable[[FactorLayout], Term]


def gaussian_nll(z_tilde: Latents, log_det: PerExample) -> PerExample:
    """Negative log-likelihood of z under T and a standard normal prior, in nats.

    ``|z_tilde|^2 / 2 + N log(2 pi) / 2 - log_det`` (paper, eq. 3).

    Args:
      z_tilde: (B, N).
      log_det: (B,), of the map from z to z_tilde.

    Returns:
      (B,).

    Raises:
      ValueError: shapes disagree.
    """
    if log_det.shape != z_tilde.shape[:-1]:
        raise ValueError(
            f"log_det must have one value per latent, shape {z_tilde.shape[:-1]}; got "
            f"{log_det.shape}"
        )
    quadratic = 0.5 * jnp.square(z_tilde).sum(-1)
    return quadratic + 0.5 * z_tilde.shape[-1] * LOG_2PI - log_det


def pair_nll(
    za_tilde: Latents,
    zb_tilde: Latents,
    log_det_a: PerExample,
    log_det_b: PerExample,
    shared: Shared,
    layout: FactorLayout,
    sigma: float | Array = 0.975,
) -> PerExample:
    """Negative log-likelihood of a pair, in nats: of a, plus that of b given a.

    A factor that the pair shares is ``N(sigma * a, 1 - sigma^2)`` given a; any other
    factor of b is standard normal (paper, eq. 7-9; a mask in place of one index).

    Args:
      za_tilde, zb_tilde: (B, N), columns in layout order.
      log_det_a, log_det_b: (B,).
      shared: bool (B, K+1), columns in layout order.
      layout: names and sizes; the sizes sum to N.
      sigma: similarity in (0, 1): a scalar, (B,) one per pair, (1, K+1) one per factor,
        or (B, K+1). It counts only where ``shared`` is True.

    Returns:
      (B,).

    Raises:
      ValueError: shapes disagree, or a concrete sigma lies outside (0, 1).
    """
    batch = za_tilde.shape[0]
    if za_tilde.shape != zb_tilde.shape or za_tilde.shape[-1] != layout.dim:
        raise ValueError(
            f"a pair's latents must both have shape (B, {layout.dim}) for "
            f"{layout}; got {za_tilde.shape} and {zb_tilde.shape}"
        )
    if log_det_b.shape != (batch,):
        raise ValueError(f"log_det_b must have shape {(batch,)}; got {log_det_b.shape}")
    if shared.shape != (batch, len(layout)) or shared.dtype != bool:
        raise ValueError(
            f"shared must be bool of shape {(batch, len(layout))}, one column per "
            f"factor; got {shared.dtype} of shape {shared.shape}"
        )
    sigma = _sigma_per_factor(sigma, batch, len(layout))
    per_factor = jnp.where(shared, sigma, 0.0)
    rho = per_factor[:, layout.factor_of_dim]
    variance = 1.0 - jnp.square(rho)
    conditional = 0.5 * (
        jnp.square(zb_tilde - rho * za_tilde) / variance + jnp.log(variance) + LOG_2PI
    )
    return gaussian_nll(za_tilde, log_det_a) + conditional.sum(-1) - log_det_b


@functools.lru_cache
def pair_term(layout: FactorLayout) -> Term:
    """``pair_nll`` as a term of ``PairOutputs``."""

    def term(outputs: PairOutputs) -> PerExample:
        return pair_nll(
            outputs.z_tilde_a,
            outputs.z_tilde_b,
            outputs.log_det_a,
            outputs.log_det_b,
            outputs.shared,
            layout,
            outputs.sigma,
        )

    return term


def mixture_loss(wrong: float) -> Loss:
    """The loss of pairs of which a share is wrong, and nobody knows which.

    ``-log((1 - wrong) p(a) p(b | a) + wrong p(a) p(b))``: a pair that is unlike counts
    as two latents that share nothing, in place of pulling its halves together.
    ``fit`` then counts a start's similarities, which wrong pairs lower, over the right
    pairs alone, and so the learned ones.

    Args:
      wrong: share of wrong pairs, in [0, 1).

    Raises:
      ValueError: a share outside [0, 1).
    """
    if not 0.0 <= wrong < 1.0:
        raise ValueError(f"wrong is a share of the pairs in [0, 1); got {wrong}")
    return functools.partial(_mixture, wrong)


def wrong_share(term: Term) -> float:
    """The share of wrong pairs that a term allows for, in [0, 1).

    Args:
      term: of ``PairOutputs``; of a ``WeightedSum`` the parts.

    Returns:
      The largest ``wrong`` of its mixtures; 0 without any.
    """
    parts = [part for _, _, part in summed(term).parts]
    return max((x.wrong for x in parts if isinstance(x, MixtureTerm)), default=0.0)


def _mixture(wrong: float, layout: FactorLayout) -> "WeightedSum":
    return weighted_sum({"pairs": (1.0, MixtureTerm(wrong, layout))})


@dataclasses.dataclass(frozen=True)
class MixtureTerm:
    """The term of ``mixture_loss``: ``PairOutputs`` to (B,), in nats.

    Attributes:
      wrong: share of wrong pairs, in [0, 1).
      layout: the factors.
    """

    wrong: float
    layout: FactorLayout

    def __call__(self, outputs: PairOutputs) -> PerExample:
        """``-log((1 - wrong) p(a) p(b | a) + wrong p(a) p(b))``, for each pair."""
        right = pair_term(self.layout)
        apart = dataclasses.replace(outputs, shared=jnp.zeros_like(outputs.shared))
        as_right = math.log1p(-self.wrong) - right(outputs)
        if self.wrong == 0.0:
            return -as_right
        return -jnp.logaddexp(as_right, math.log(self.wrong) - right(apart))


def gaussian_term(outputs: SampleOutputs) -> PerExample:
    """``gaussian_nll`` as a term of ``SampleOutputs``."""
    return gaussian_nll(outputs.z_tilde, outputs.log_det)


@functools.lru_cache
def independence_term(layout: FactorLayout) -> Term:
    """What factors of a batch still have in common linearly; for any outputs of T.

    Half the sum of squared covariances between dimensions of different factors, over
    the latents of the global batch: to second order the mutual information of jointly
    normal factors of unit variance, in nats. One value for all examples; with n latents
    in a batch, independent factors score about ``pairs of dimensions / n``.
    """
    factor = np.asarray(layout.factor_of_dim)
    apart = factor[:, None] != factor[None]

    def term(outputs: PairOutputs | SampleOutputs) -> PerExample:
        z_tilde = outputs.z_tilde
        centred = z_tilde - batch_mean(z_tilde)
        covariance = device_mean(centred.T @ centred / len(centred))
        value = 0.25 * jnp.square(jnp.where(apart, covariance, 0.0)).sum()
        return jnp.broadcast_to(value, _examples(outputs))

    return term


@functools.lru_cache
def cycle_term(layout: FactorLayout) -> Term:
    """How much of a donor's factor is lost on the way through G and E.

    Swaps one concept of each pair (the concepts in turn, by the example's place in the
    batch), decodes, encodes and translates again: half the mean squared difference of
    that factor to the donor's, per dimension. For pairs, and networks that put out
    images; each step then runs G and E on B images.

    Raises:
      ValueError: the layout has no concept, or the step has no such network.
    """
    factor = np.asarray(layout.factor_of_dim)
    filled = [i for i, name in enumerate(layout.concepts) if layout[name]]
    if not filled:
        raise ValueError(f"a cycle swaps a concept; {layout.as_dict()} has none")
    concept_masks = np.stack([factor == index for index in filled])

    def term(outputs: PairOutputs) -> PerExample:
        translate, invert = outputs.translate, outputs.invert
        encode, decode = outputs.encode, outputs.decode
        if not (translate and invert and encode and decode):
            raise ValueError(
                "the cycle term looks through a network's E and G: train with one that "
                "puts out images (interpret, or train_flow with network=...)"
            )
        count = len(outputs.z_tilde_a)
        swapped = concept_masks[np.arange(count) % len(concept_masks)]
        edited = jnp.where(swapped, outputs.z_tilde_b, outputs.z_tilde_a)
        reencoded = translate(encode(decode(invert(edited))))
        error = jnp.where(swapped, jnp.square(reencoded - edited), 0.0)
        return 0.5 * error.sum(-1) / swapped.sum(-1)

    return term


def pair_loss(layout: FactorLayout) -> "WeightedSum":
    """The loss of pairs: ``pair_nll`` alone, called "pairs" in logs."""
    return weighted_sum({"pairs": (1.0, pair_term(layout))})


def sample_loss(layout: FactorLayout) -> "WeightedSum":
    """The loss of single latents: ``gaussian_nll`` alone, called "samples" in logs.

    Raises:
      ValueError: the layout has concepts.
    """
    if layout.concepts:
        raise ValueError(
            "single latents tell no concepts apart: without pairs the layout is "
            f"{{{RESIDUAL!r}: {layout.dim}}}; got {layout.as_dict()}"
        )
    return weighted_sum({"samples": (1.0, gaussian_term)})


def with_terms(loss: Loss, weights: Mapping[str, float]) -> Loss:
    """A loss with more terms.

    Args:
      loss: what is added to; it returns a ``WeightedSum``.
      weights: name in ``TERMS`` -> weight.

    Raises:
      ValueError: an unknown name.
    """
    unknown = [name for name in weights if name not in TERMS]
    if unknown:
        raise ValueError(f"a term is one of {list(TERMS)}; got {unknown[0]!r}")

    def extended(layout: FactorLayout) -> WeightedSum:
        base = summed(loss(layout))
        added = {name: (w, TERMS[name](layout)) for name, w in weights.items()}
        return WeightedSum((*base.parts, *weighted_sum(added).parts))

    return extended if weights else loss


def summed(term: Term) -> "WeightedSum":
    """A term as a sum: itself if it is one, else one part under its name, or "term"."""
    if isinstance(term, WeightedSum):
        return term
    return weighted_sum({getattr(term, "__name__", "term"): (1.0, term)})


def _examples(outputs: PairOutputs | SampleOutputs) -> tuple[int]:
    paired = isinstance(outputs, PairOutputs)
    return (len(outputs.shared if paired else outputs.z_tilde),)


def unsupervised_term(outputs: PairOutputs) -> PerExample:
    """Mean of ``gaussian_nll`` over the two halves, as a term of ``PairOutputs``."""
    a = gaussian_nll(outputs.z_tilde_a, outputs.log_det_a)
    return 0.5 * (a + gaussian_nll(outputs.z_tilde_b, outputs.log_det_b))


def reconstruction_nll(outputs: AutoencoderOutputs) -> PerExample:
    """L1 and LPIPS under a learned scale: ``sum((|x - x'| + d) / e^gamma + gamma)``.

    Summed over pixels and channels; d, the distance of the images, counts at each.
    Without it, in nats up to the Laplacian's constant log 2.

    Source: the published setting; Dai and Wipf, 2019, on learned scales.
    """
    error = jnp.abs(outputs.images - outputs.reconstructions)
    error += jnp.reshape(outputs.perceptual, (-1, 1, 1, 1))
    nll = error * jnp.exp(-outputs.log_scale) + outputs.log_scale
    return nll.sum(axis=(1, 2, 3))


def squared_reconstruction(outputs: AutoencoderOutputs) -> PerExample:
    """``reconstruction_nll`` for Gaussian errors in place of Laplacian ones.

    ``sum((x - x')^2 / (2 e^(2 gamma)) + d / e^gamma + gamma)``, for the first steps at
    high learning rates, where L1 may stay at an image that is background alone. gamma
    means the same in both. Without d, in nats up to log(2 pi) / 2 per number.
    """
    scale = jnp.exp(-outputs.log_scale)
    error = 0.5 * jnp.square(scale * (outputs.images - outputs.reconstructions))
    distance = scale * jnp.reshape(outputs.perceptual, (-1, 1, 1, 1))
    return (error + distance + outputs.log_scale).sum(axis=(1, 2, 3))


def perceptual_term(outputs: AutoencoderOutputs) -> PerExample:
    """LPIPS of images and reconstructions, for sums with a weight of its own.

    ``reconstruction_nll`` contains LPIPS already, under the learned scale.
    """
    return outputs.perceptual


def kl_to_standard_normal(outputs: AutoencoderOutputs) -> PerExample:
    """KL of the diagonal Gaussian posterior to N(0, 1), in nats, summed over N."""
    mean, log_var = outputs.mean, outputs.log_var
    return 0.5 * (jnp.square(mean) + jnp.exp(log_var) - 1.0 - log_var).sum(-1)


@dataclasses.dataclass(frozen=True)
class WeightedSum:
    """A term that is a weighted sum of named terms; see ``weighted_sum``."""

    parts: tuple[tuple[str, float, Term], ...]

    def __call__(self, outputs: Outputs) -> PerExample:
        first, *others = (weight * term(outputs) for _, weight, term in self.parts)
        return sum(others, start=first)

    def terms(self, outputs: Outputs) -> dict[str, PerExample]:
        """name -> (B,), each part without its weight, for logging."""
        return {name: term(outputs) for name, _, term in self.parts}


def weighted_sum(parts: Mapping[str, tuple[float, Term]]) -> WeightedSum:
    """Combines terms: name -> (weight, term). The result is a term again.

    Raises:
      ValueError: no parts, or a weight that is not finite.
    """
    if not parts:
        raise ValueError("weighted_sum needs at least one term")
    for name, (weight, _) in parts.items():
        if not math.isfinite(weight):
            raise ValueError(
                f"the weight of term {name!r} must be finite; got {weight}"
            )
    return WeightedSum(tuple((name, w, term) for name, (w, term) in parts.items()))


# name -> a function of the layout that gives the term; registering is assignment
TERMS: dict[str, Loss] = {"independence": independence_term, "cycle": cycle_term}


def bits_per_dim(nll: Any, dim: int) -> Any:
    """nats -> bits per dimension, ``nll / (N log 2)``.

    Differential entropies have no zero: a narrow density has negative bits. Only
    differences mean something, so read the value beside ``gaussian_reference``.
    """
    return nll / (dim * math.log(2.0))


def gaussian_reference(train: Latents, test: Latents) -> float:
    """Bits per dimension that a Gaussian fitted to ``train`` gives ``test``.

    What any flow has to beat, where there are many latents: full covariance (maximum
    likelihood, plus 1e-6 of the mean variance on the diagonal), in float64. For few
    latents it is too easy to beat; see ``concepts.whitening``.

    Args:
      train, test: latents (n, N).
    """
    fitted, judged = np.asarray(train, np.float64), np.asarray(test, np.float64)
    dim = fitted.shape[1]
    mean, covariance = fitted.mean(0), np.cov(fitted.T, bias=True).reshape(dim, dim)
    covariance += np.eye(dim) * max(1e-6 * np.trace(covariance) / dim, 1e-12)
    cholesky = np.linalg.cholesky(covariance)
    whitened = np.linalg.solve(cholesky, (judged - mean).T)
    log_det = -np.log(np.diag(cholesky)).sum()
    nll = 0.5 * (whitened**2).sum(0).mean() + 0.5 * dim * LOG_2PI - log_det
    return float(bits_per_dim(nll, dim))


def check_sigma(sigma: Any) -> None:
    """Raises ValueError if a concrete similarity lies outside (0, 1)."""
    if isinstance(sigma, jax.core.Tracer):
        return
    values = np.asarray(sigma, np.float32)  # as it is used: 1 - 1e-9 is 1 there
    if not ((values > 0.0) & (values < 1.0)).all():
        bad = values[~((values > 0.0) & (values < 1.0))].flat[0]
        raise ValueError(f"sigma is a similarity in (0, 1), ends excluded; got {bad}")


def _sigma_per_factor(sigma: float | Array, batch: int, factors: int) -> Array:
    check_sigma(sigma)
    sigma = jnp.asarray(sigma)
    if sigma.ndim == 0:
        return sigma.reshape(1, 1)
    if sigma.shape == (batch,):
        return sigma.reshape(batch, 1)
    if sigma.ndim == 2 and sigma.shape[0] in (1, batch) and sigma.shape[1] == factors:
        return sigma
    raise ValueError(
        f"sigma must be a scalar or of shape ({batch},), (1, {factors}) or "
        f"({batch}, {factors}); got {sigma.shape}"
    )
