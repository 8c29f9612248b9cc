"""The published method for PyTorch, written as well as we can.

Module names are those of published checkpoints, which load strictly. Both halves of a
batch of pairs go through the flow at once, which is faster than one after the other.
"""

import itertools
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from experiments.benchmark.cases import Problem

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LOG_2PI = math.log(2.0 * math.pi)


class TorchActNorm(nn.Module):
    """``y = scale * (x + loc)`` per channel, for (B, C) and (B, C, H, W)."""

    def __init__(self, channels: int):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.scale = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.register_buffer("initialized", torch.tensor(0, dtype=torch.uint8))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        loc, scale = self._like(x)
        return scale * (x + loc), self.scale.abs().log().sum()

    def inverse(self, y: Tensor) -> Tensor:
        loc, scale = self._like(y)
        return y / scale - loc

    def _like(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shape = (1, -1) + (1,) * (x.ndim - 2)
        return self.loc.view(shape), self.scale.view(shape)


def net(problem: Problem, *last: nn.Module) -> nn.ModuleDict:
    """The MLP that gives a coupling's shift, or with a tanh last its log-scale."""
    half, hidden = problem.dim // 2, problem.hidden_dim
    widths = [half, *[hidden] * (problem.hidden_depth + 1)]
    layers: list[nn.Module] = []
    for width, out in itertools.pairwise(widths):
        layers += [nn.Linear(width, out), nn.LeakyReLU(0.01)]
    return nn.ModuleDict(
        {"main": nn.Sequential(*layers, nn.Linear(hidden, half), *last)}
    )


class TorchCoupling(nn.Module):
    """Two affine couplings, one for each half; the halves leave swapped."""

    def __init__(self, problem: Problem):
        super().__init__()
        self.s: Any = nn.ModuleList([net(problem, nn.Tanh()) for _ in range(2)])
        self.t: Any = nn.ModuleList([net(problem) for _ in range(2)])

    def condition(self, index: int, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.s[index]["main"](x), self.t[index]["main"](x)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b = x.chunk(2, dim=1)
        log_scale_b, shift = self.condition(0, a)
        b = b * log_scale_b.exp() + shift
        log_scale_a, shift = self.condition(1, b)
        a = a * log_scale_a.exp() + shift
        return torch.cat([b, a], dim=1), (log_scale_b + log_scale_a).sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        b, a = y.chunk(2, dim=1)
        log_scale_a, shift = self.condition(1, b)
        a = (a - shift) * (-log_scale_a).exp()
        log_scale_b, shift = self.condition(0, a)
        return torch.cat([a, (b - shift) * (-log_scale_b).exp()], dim=1)


class TorchShuffle(nn.Module):
    """A fixed permutation of the channels."""

    forward_shuffle_idx: Tensor
    backward_shuffle_idx: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("forward_shuffle_idx", torch.arange(channels))
        self.register_buffer("backward_shuffle_idx", torch.arange(channels))

    def forward(self, x: Tensor) -> tuple[Tensor, float]:
        return x[:, self.forward_shuffle_idx], 0.0

    def inverse(self, y: Tensor) -> Tensor:
        return y[:, self.backward_shuffle_idx]


class TorchFlow(nn.Module):
    """T: blocks of ActNorm, two couplings and a shuffle."""

    def __init__(self, problem: Problem):
        super().__init__()

        def block() -> nn.ModuleDict:
            parts = [
                TorchActNorm(problem.dim),
                TorchCoupling(problem),
                TorchShuffle(problem.dim),
            ]
            return nn.ModuleDict({"flow": nn.ModuleList(parts)})

        blocks = nn.ModuleList([block() for _ in range(problem.num_blocks)])
        self.realnvp: Any = nn.ModuleDict({"flow": blocks})

    @property
    def parts(self) -> list[Any]:
        return [part for block in self.realnvp["flow"] for part in block["flow"]]

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        log_det = z.new_zeros(len(z))
        for part in self.parts:
            z, term = part(z)
            log_det = log_det + term
        return z, log_det

    def inverse(self, z_tilde: Tensor) -> Tensor:
        for part in reversed(self.parts):
            z_tilde = part.inverse(z_tilde)
        return z_tilde


class TorchEncoder(nn.Module):
    """E: images (B, C, H, W) -> mean and log-variance, (B, N) each."""

    def __init__(self, problem: Problem):
        super().__init__()
        size = problem.image_size // 2**problem.num_down

        def layers(*parts: nn.Module) -> nn.ModuleDict:
            return nn.ModuleDict({"sub_layers": nn.ModuleList(parts)})

        self.feature_layers: Any = nn.ModuleList(
            layers(nn.Conv2d(width, out, 4, 2, 1, bias=False), TorchActNorm(out))
            for width, out in itertools.pairwise(problem.widths)
        )
        self.dense_encode: Any = layers(
            nn.Conv2d(problem.widths[-1], 2 * problem.dim, size)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = images
        for layer in self.feature_layers:
            convolution, act_norm = layer["sub_layers"]
            x = nn.functional.leaky_relu(act_norm(convolution(x))[0], 0.2)
        encoded = self.dense_encode["sub_layers"][0](x)
        mean, log_var = encoded.flatten(1).chunk(2, dim=1)
        return mean, log_var.clamp(-30.0, 10.0)


def sample(mean: Tensor, log_var: Tensor) -> Tensor:
    """A sample of each posterior."""
    return mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)


def pair_loss(flow: TorchFlow, z: Tensor, rho: Tensor) -> Tensor:
    """Mean loss of pairs; z (2B, N), first all a; rho (B, N), 0 if not shared."""
    z_tilde, log_det = flow(z)
    a, b = z_tilde.chunk(2)
    variance = 1.0 - rho.square()
    squares = a.square() + (b - rho * a).square() / variance + variance.log()
    return (0.5 * squares + LOG_2PI).sum(1).mean() - 2.0 * log_det.mean()


def logits(network: nn.Module, images: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1] through a network trained on ImageNet."""
    mean = images.new_tensor(IMAGENET_MEAN).view(1, 3, 1, 1)
    std = images.new_tensor(IMAGENET_STD).view(1, 3, 1, 1)
    return network(((images + 1.0) / 2.0 - mean) / std)


def latent_loss(flow: TorchFlow, z: Tensor) -> Tensor:
    """Mean negative log-likelihood of latents (2B, N)."""
    z_tilde, log_det = flow(z)
    return (0.5 * (z_tilde.square() + LOG_2PI)).sum(1).mean() - log_det.mean()


def backbone(name: str, path: Path) -> nn.Module:
    """A network of torchvision with our weights, renamed to its names.

    Args:
      name: the architecture's name, in torchvision as in ``ARCHITECTURES``.
      path: file of our variables.

    Raises:
      ValueError: an array of torchvision's network got no weights.
    """
    # Without torchvision's compiled operators this registration fails on import.
    sys.modules.setdefault("torchvision._meta_registrations", ModuleType("none"))
    from torchvision import models

    from iin_jax.networks import ARCHITECTURES
    from iin_jax.weights import load_tree
    from iin_jax.weights.renames import rename_back

    model = models.get_model(name, weights=None).eval().requires_grad_(False)
    table = ARCHITECTURES[name].releases[0].table
    arrays = rename_back(load_tree(path), table, model.state_dict())
    state = {key: torch.from_numpy(array) for key, array in arrays.items()}
    missing, _ = model.load_state_dict(state, strict=False)
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    if missing:
        raise ValueError(f"torchvision's {name} has no weights for {missing}")
    return model
