"""The PyTorch side: the published method, written for PyTorch as well as we can.

Module names are those of published checkpoints, which load strictly. Both halves of a
batch of pairs go through the flow at once, which is faster than one after the other.
"""

import itertools
import math
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from experiments.benchmark.arrays import read_arrays
from experiments.benchmark.settings import (
    BACKBONES,
    PROOF_BATCH,
    PROOF_PHOTOS,
    Case,
    Problem,
    Task,
    cores,
)
from experiments.benchmark.worker import Run, Side, best_rate, peak_rss
from iin_jax.networks import ARCHITECTURES
from iin_jax.networks.pretrained import IMAGENET
from iin_jax.weights import load_tree
from iin_jax.weights.renames import rename_back

RATE = 1e-4  # learning rate; the time of a step does not depend on it
LOG_2PI = math.log(2.0 * math.pi)
DRAWS = 64  # batches of random indices, made beforehand


class ActNorm(nn.Module):
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


class Coupling(nn.Module):
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


class Shuffle(nn.Module):
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


class Flow(nn.Module):
    """T: blocks of ActNorm, two couplings and a shuffle."""

    def __init__(self, problem: Problem):
        super().__init__()

        def block() -> nn.ModuleDict:
            parts = [ActNorm(problem.dim), Coupling(problem), Shuffle(problem.dim)]
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


class Encoder(nn.Module):
    """E: images (B, C, H, W) -> mean and log-variance, (B, N) each."""

    def __init__(self, problem: Problem):
        super().__init__()
        size = problem.image_size // 2**problem.num_down

        def layers(*parts: nn.Module) -> nn.ModuleDict:
            return nn.ModuleDict({"sub_layers": nn.ModuleList(parts)})

        self.feature_layers: Any = nn.ModuleList(
            layers(nn.Conv2d(width, out, 4, 2, 1, bias=False), ActNorm(out))
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


def pair_loss(flow: Flow, z: Tensor, rho: Tensor) -> Tensor:
    """Mean over pairs; z (2B, N), first all a; rho (B, N), 0 if not shared."""
    z_tilde, log_det = flow(z)
    a, b = z_tilde.chunk(2)
    variance = 1.0 - rho.square()
    squares = a.square() + (b - rho * a).square() / variance + variance.log()
    return (0.5 * squares + LOG_2PI).sum(1).mean() - 2.0 * log_det.mean()


def logits(network: nn.Module, images: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1] through a network trained on ImageNet."""
    mean = images.new_tensor(IMAGENET.mean).view(1, 3, 1, 1)
    std = images.new_tensor(IMAGENET.std).view(1, 3, 1, 1)
    return network(((images + 1.0) / 2.0 - mean) / std)


def latent_loss(flow: Flow, z: Tensor) -> Tensor:
    """Mean over latents (2B, N)."""
    z_tilde, log_det = flow(z)
    return (0.5 * (z_tilde.square() + LOG_2PI)).sum(1).mean() - log_det.mean()


class TorchSide(Side):
    """Eager, or with all but sampling and optimiser through ``torch.compile``."""

    def __init__(self, task: Task):
        super().__init__(task)
        warnings.filterwarnings("ignore")
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.on_gpu = self.device.type == "cuda"
        checkpoint = torch.load(Path(task.folder) / "flow.ckpt", weights_only=True)
        self.state = checkpoint["model"]
        self.flow = Flow(task.problem).to(self.device)
        self.encoder = Encoder(task.problem).requires_grad_(False).to(self.device)
        self.encoder.load_state_dict(self._read("encoder"))
        self.data = self._read("data")
        for images in self.data.keys() & {"images", "photos"}:
            self.data[images] = self.data[images].permute(0, 3, 1, 2).contiguous()
        sizes = torch.tensor(
            list(task.problem.factor_sizes.values()), device=self.device
        )
        shared = self.data["shared"].repeat_interleave(sizes, dim=1)
        self.data["rho"] = task.problem.sigma * shared
        wrap = self._compiled if task.side == "torch_compile" else lambda f: f
        self.pair_loss, self.unsupervised_loss = map(wrap, (pair_loss, latent_loss))
        self.forward, self.inverse = map(wrap, (Flow.forward, Flow.inverse))
        self.encode, self.logits = map(wrap, (Encoder.forward, logits))
        self._set_precision(task.precision)

    def describe(self) -> dict[str, Any]:
        return {
            "versions": {"torch": torch.__version__},
            "platform": "gpu" if self.on_gpu else "cpu",
            "device": torch.cuda.get_device_name() if self.on_gpu else "cpu",
        }

    def set_threads(self, count: int) -> None:
        torch.set_num_threads(count)

    def results(self) -> dict[str, np.ndarray]:
        self._set_precision("highest")
        self._restore()
        data = {name: array[:PROOF_BATCH] for name, array in self.data.items()}
        mean, log_var, rho = self._pairs(self.data["proof_rows"])
        z = mean + torch.exp(0.5 * log_var) * self.data["proof_noise"]
        found = {"loss": self.pair_loss(self.flow, z, rho)}
        found["loss"].backward()
        with torch.no_grad():
            found["forward"], found["log_det"] = self.forward(self.flow, z)
            found["inverse"] = self.inverse(self.flow, data["z_tilde"])
            found["encode"] = self.encode(self.encoder, data["images"])[0]
            for name in self.task.problem.backbones:
                images = self.data["photos"][:PROOF_PHOTOS]
                found[f"logits/{name}"] = self.logits(self._backbone(name), images)
        self._set_precision(self.task.precision)
        for name, parameter in self.flow.named_parameters():
            if parameter.grad is not None:
                found[f"gradient/{name}"] = parameter.grad
        return {name: x.detach().cpu().numpy() for name, x in found.items()}

    def build(self, case: Case, batch: int) -> Run:
        self._restore()
        if case == "forward":
            z = self.data["mean"].repeat(-(-batch // len(self.data["mean"])), 1)[:batch]
            return self._calls(lambda: self.forward(self.flow, z))
        if case == "inverse":
            codes = self.data["z_tilde"][:batch]
            return self._calls(lambda: self.inverse(self.flow, codes))
        if case == "encode":
            images = self.data["images"][:batch]
            return self._calls(lambda: self.encode(self.encoder, images))
        if case in BACKBONES:
            network, photos = self._backbone(case), self.data["photos"][:batch]
            return self._calls(lambda: self.logits(network, photos))
        if case == "update":
            for parameter in self.flow.parameters():
                parameter.grad = torch.full_like(parameter, 1e-3)
            return self._steps(None)
        return self._steps(self._loss(case, batch))

    def matmul(self) -> float:
        self.set_threads(cores())
        size = self.task.problem.matmul
        matrix = torch.randn(size, size, device=self.device)

        def multiply() -> None:
            torch.matmul(matrix, matrix)
            self._wait()

        return best_rate(multiply, size)

    def peak_memory(self) -> int:
        return torch.cuda.max_memory_allocated() if self.on_gpu else peak_rss()

    def _loss(self, case: Case, batch: int) -> Callable[[], Tensor]:
        """The loss of one step of a case, with new samples at every call."""
        mean, log_var, rho = self._pairs(slice(batch))
        images = self.data["images"][: 2 * batch]
        count = len(self.data["index_a"])
        draws = torch.randint(count, (DRAWS, batch), device=self.device)
        turns = itertools.cycle(draws)

        def encoded() -> Tensor:
            with torch.no_grad():
                posterior = self.encode(self.encoder, images)
            return self.pair_loss(self.flow, sample(*posterior), rho)

        def drawn() -> Tensor:
            mean, log_var, rho = self._pairs(next(turns))
            return self.pair_loss(self.flow, sample(mean, log_var), rho)

        losses: dict[str, Callable[[], Tensor]] = {
            "pair_step": lambda: self.pair_loss(self.flow, sample(mean, log_var), rho),
            "pair_step_drawn": drawn,
            "pair_step_encoders": encoded,
            "unsupervised_step": lambda: self.unsupervised_loss(
                self.flow, sample(mean, log_var)
            ),
        }
        return losses[case]

    def _pairs(self, rows: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and log-variance (2B, N) of both halves, and rho (B, N)."""
        data = self.data
        both = torch.cat([data["index_a"][rows], data["index_b"][rows]])
        return data["mean"][both], data["log_var"][both], data["rho"][rows]

    def _steps(self, loss: Callable[[], Tensor] | None) -> Run:
        """Steps of the optimiser, with new gradients unless ``loss`` is None."""
        fused = True if self.task.adam == "fused" else None
        optimizer = torch.optim.Adam(
            self.flow.parameters(), lr=RATE, betas=(0.5, 0.9), fused=fused
        )

        def run(calls: int) -> None:
            value = torch.zeros(())
            for _ in range(calls):
                if loss is not None:
                    optimizer.zero_grad(set_to_none=True)
                    value = loss()
                    value.backward()
                optimizer.step()
            self._wait()
            if not torch.isfinite(value):
                raise FloatingPointError("the loss is not finite")

        return run

    def _calls(self, function: Callable[[], Any]) -> Run:
        @torch.no_grad()
        def run(calls: int) -> None:
            for _ in range(calls):
                function()
                self._wait()

        return run

    def _backbone(self, name: str) -> nn.Module:
        """torchvision's network with our weights, brought back to its names."""
        # without torchvision's compiled operators this registration fails on import
        sys.modules.setdefault("torchvision._meta_registrations", ModuleType("none"))
        from torchvision import models

        model = models.get_model(name, weights=None).eval().requires_grad_(False)
        table = ARCHITECTURES[name].releases[0].table
        tree = load_tree(Path(self.task.folder) / f"{name}.safetensors")
        arrays = rename_back(tree, table, model.state_dict())
        state = {key: torch.from_numpy(array) for key, array in arrays.items()}
        missing = model.load_state_dict(state, strict=False)
        if missing.unexpected_keys or any(
            not key.endswith("num_batches_tracked") for key in missing.missing_keys
        ):
            raise ValueError(f"our {name} does not fit torchvision's: {missing}")
        return model.to(self.device)

    def _restore(self) -> None:
        self.flow.load_state_dict(self.state)
        self.flow.zero_grad(set_to_none=True)

    def _wait(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize()

    def _read(self, name: str) -> dict[str, Tensor]:
        arrays = read_arrays(self.task.folder, name)
        return {k: torch.from_numpy(x).to(self.device) for k, x in arrays.items()}

    def _compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        torch._dynamo.config.recompile_limit = 1000  # beyond it, it would run eagerly
        return torch.compile(function, dynamic=False, mode=self.task.compile_mode)

    def _set_precision(self, precision: str) -> None:
        fast = precision == "default"
        torch.set_float32_matmul_precision("high" if fast else "highest")
        torch.backends.cudnn.allow_tf32 = fast
