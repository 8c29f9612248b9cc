"""The PyTorch side: eager, or through ``torch.compile``.

It imports nothing of ``iin_jax`` at first: JAX would count in its process's memory.
"""

import itertools
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from experiments.benchmark.arrays import read_arrays
from experiments.benchmark.cases import (
    BACKBONES,
    PROOF_BATCH,
    PROOF_PHOTOS,
    Case,
    Task,
)
from experiments.benchmark.contract import (
    ADAM_GRADIENTS,
    RATE,
    Run,
    Side,
    best_rate,
    peak_rss,
)
from experiments.benchmark.torch_model import (
    TorchEncoder,
    TorchFlow,
    backbone,
    latent_loss,
    logits,
    pair_loss,
    sample,
)

DRAWS = 64  # batches of random indices, drawn beforehand


class TorchSide(Side):
    """Eager, or with all but sampling and optimiser through ``torch.compile``."""

    def __init__(self, task: Task):
        super().__init__(task)
        warnings.filterwarnings("ignore")
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.on_gpu = self.device.type == "cuda"
        checkpoint = torch.load(Path(task.folder) / "flow.ckpt", weights_only=True)
        self.state = checkpoint["model"]
        self.flow = TorchFlow(task.problem).to(self.device)
        self.encoder = TorchEncoder(task.problem).requires_grad_(False).to(self.device)
        self.encoder.load_state_dict(self._read("encoder"))
        self.data = self._read("data")
        # Each network gets its fastest layout: the encoder gains 10 % with channels
        # first, the pretrained networks up to 90 % with channels last.
        self.data["images"] = self.data["images"].permute(0, 3, 1, 2).contiguous()
        if "photos" in self.data:
            self.data["photos"] = self.data["photos"].permute(0, 3, 1, 2)
        sizes = torch.tensor(
            list(task.problem.factor_sizes.values()), device=self.device
        )
        shared = self.data["shared"].repeat_interleave(sizes, dim=1)
        self.data["rho"] = task.problem.sigma * shared
        wrap = self._compiled if task.side == "torch_compile" else lambda f: f
        self.pair_loss, self.unsupervised_loss = map(wrap, (pair_loss, latent_loss))
        self.forward, self.inverse = map(wrap, (TorchFlow.forward, TorchFlow.inverse))
        self.encode, self.logits = map(wrap, (TorchEncoder.forward, logits))
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
        results = {"loss": self.pair_loss(self.flow, z, rho)}
        results["loss"].backward()
        results["adam"] = self._adam_steps()
        with torch.no_grad():
            results["forward"], results["log_det"] = self.forward(self.flow, z)
            results["inverse"] = self.inverse(self.flow, data["z_tilde"])
            results["unsupervised_loss"] = self.unsupervised_loss(self.flow, z)
            results["encode"] = torch.cat(self.encode(self.encoder, data["images"]), 1)
            for name in self.task.problem.backbones:
                images = self.data["photos"][:PROOF_PHOTOS]
                results[f"logits/{name}"] = self.logits(self._backbone(name), images)
        self._set_precision(self.task.precision)
        for name, parameter in self.flow.named_parameters():
            if parameter.grad is not None:
                results[f"gradient/{name}"] = parameter.grad
        return {name: x.detach().cpu().numpy() for name, x in results.items()}

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

    def matmul(self, threads: int) -> float:
        self.set_threads(threads)
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
        optimizer = self._optimizer(self.flow.parameters())

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

    def _optimizer(self, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        fused = True if self.task.adam == "fused" else None
        return torch.optim.Adam(parameters, lr=RATE, betas=(0.5, 0.9), fused=fused)

    def _adam_steps(self) -> Tensor:
        parameter = torch.zeros(ADAM_GRADIENTS.shape[1], device=self.device)
        optimizer = self._optimizer([parameter.requires_grad_()])
        for gradient in torch.from_numpy(ADAM_GRADIENTS).to(self.device):
            parameter.grad = gradient
            optimizer.step()
        return parameter / RATE

    def _calls(self, function: Callable[[], Any]) -> Run:
        @torch.no_grad()
        def run(calls: int) -> None:
            for _ in range(calls):
                function()
                self._wait()

        return run

    def _backbone(self, name: str) -> nn.Module:
        path = Path(self.task.folder) / f"{name}.safetensors"
        network = backbone(name, path).to(self.device)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

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
        config: Any = torch._dynamo.config
        renamed = hasattr(config, "recompile_limit")  # its name since PyTorch 2.6
        # Beyond the limit, functions would run eagerly.
        setattr(config, "recompile_limit" if renamed else "cache_size_limit", 1000)
        return torch.compile(function, dynamic=False, mode=self.task.compile_mode)

    def _set_precision(self, precision: str) -> None:
        fast = precision == "default"
        torch.set_float32_matmul_precision("high" if fast else "highest")
        torch.backends.cudnn.allow_tf32 = fast
