"""What the benchmark measures, as values, and how many products each case takes.

Both sides read this, so it imports neither framework.
"""

import dataclasses
import itertools
from pathlib import Path
from typing import Literal, get_args

Case = Literal[
    "pair_step",
    "pair_step_drawn",
    "pair_step_encoders",
    "unsupervised_step",
    "update",
    "forward",
    "inverse",
    "encode",
    "squeezenet1_1",
    "resnet50",
]
SideName = Literal["jax", "torch_eager", "torch_compile"]

ALL_CASES: tuple[Case, ...] = get_args(Case)
# Multiplications per image of 224 pixels, by pretrained network, from torchvision.
BACKBONES: dict[Case, int] = {"squeezenet1_1": 349_000_000, "resnet50": 4_089_000_000}
CASES: tuple[Case, ...] = tuple(case for case in ALL_CASES if case not in BACKBONES)
PAIR_STEPS: tuple[Case, ...] = ("pair_step", "pair_step_drawn", "pair_step_encoders")
STEPS: tuple[Case, ...] = (*PAIR_STEPS, "unsupervised_step")
SIDES: tuple[SideName, ...] = get_args(SideName)
PROOF_BATCH = 25
PROOF_PHOTOS = 2


@dataclasses.dataclass(frozen=True)
class BenchmarkOptions:
    """Everything that the command line sets.

    Attributes:
      batches: Batch sizes: pairs in a training step, latents or images otherwise.
      cases: What is timed. pair_step: on given posteriors; pair_step_drawn: the step
        that users run, pairs drawn from cached latents; pair_step_encoders: the
        encoder runs on both images; unsupervised_step; update: the optimiser alone;
        forward and inverse of the flow; encode. Left out unless named: squeezenet1_1
        and resnet50, inference from images to logits, which need torchvision too.
      repetitions: Measurements per case, batch and side, taken in turns.
      seconds: Length of one measurement, about.
      compile: Whether torch.compile is timed too (minutes of compilation).
      compile_mode: The mode argument of torch.compile.
      adam: PyTorch's Adam: fused (one pass over memory) or default.
      precision: Matrix products in highest (float32) or default (TF32 on GPUs).
      device: auto (what both frameworks see) or cpu.
      small: A tiny flow and encoder: everything runs, the figures mean nothing.
      out: A JSON file for every figure, written anew after each case.
    """

    batches: tuple[int, ...] = (1, 25, 256, 1024)
    cases: tuple[Case, ...] = CASES
    repetitions: int = 5
    seconds: float = 1.0
    compile: bool = True
    compile_mode: Literal["default", "reduce-overhead", "max-autotune"] = "default"
    adam: Literal["fused", "default"] = "fused"
    precision: Literal["highest", "default"] = "highest"
    device: Literal["auto", "cpu"] = "auto"
    small: bool = False
    out: Path | None = None

    @property
    def sides(self) -> tuple[SideName, ...]:
        """The sides that are timed, in turns, in this order."""
        return SIDES if self.compile else SIDES[:2]

    @property
    def problem(self) -> "Problem":
        """Sizes of flow and encoder, and the pretrained networks."""
        problem = SMALL if self.small else Problem()
        named = tuple(case for case in BACKBONES if case in self.cases)
        return dataclasses.replace(problem, backbones=named)


@dataclasses.dataclass(frozen=True)
class Problem:
    """Sizes of what is timed; the published ones.

    Attributes:
      dim, num_blocks, hidden_dim, hidden_depth: sizes of the flow.
      concepts: dimensions of each concept; the residual takes the rest.
      sigma: similarity of pairs.
      image_size, channels, num_down, base: sizes of the encoder.
      entries: number of cached latents.
      matmul: size of the square matrices that measure the peak.
      photo_size: H = W of the pretrained networks' images.
      backbones: pretrained networks that are timed.
    """

    dim: int = 64
    num_blocks: int = 12
    hidden_dim: int = 512
    hidden_depth: int = 2
    concepts: tuple[int, int] = (13, 17)
    sigma: float = 0.975
    image_size: int = 32
    channels: int = 3
    num_down: int = 4
    base: int = 64
    entries: int = 8192
    matmul: int = 2048
    photo_size: int = 224
    backbones: tuple[Case, ...] = ()

    @property
    def factor_sizes(self) -> dict[str, int]:
        """Names and sizes of the factors, in order."""
        digit, color = self.concepts
        rest = self.dim - digit - color
        return {"digit": digit, "color": color, "residual": rest}

    @property
    def widths(self) -> list[int]:
        """Channels of the images, then after each of the encoder's convolutions."""
        doubled = [self.base * min(2**level, 16) for level in range(self.num_down)]
        return [self.channels, *doubled]

    @property
    def flow_products(self) -> int:
        """Multiplications that the flow's matrices make of one latent."""
        half, hidden = self.dim // 2, self.hidden_dim
        network = 2 * half * hidden + self.hidden_depth * hidden**2
        return self.num_blocks * 4 * network  # two couplings of two networks a block

    @property
    def encoder_products(self) -> int:
        """Multiplications that the encoder's convolutions make of one image."""
        size, total = self.image_size, 0
        for width, out_width in itertools.pairwise(self.widths):
            size //= 2
            total += size**2 * 16 * width * out_width
        return total + size**2 * self.widths[-1] * 2 * self.dim


SMALL = Problem(
    dim=8,
    num_blocks=1,
    hidden_dim=16,
    hidden_depth=1,
    concepts=(2, 2),
    image_size=8,
    num_down=2,
    base=4,
    entries=512,
    matmul=128,
    photo_size=64,
)


@dataclasses.dataclass(frozen=True)
class Task:
    """What a worker process gets to know.

    Attributes:
      side: the framework and how it runs.
      folder: where the files of ``problem.write`` lie.
      problem: sizes.
      precision, adam, compile_mode: the fields of ``BenchmarkOptions``.
    """

    side: SideName
    folder: str
    problem: Problem
    precision: str
    adam: str
    compile_mode: str


def task_from(fields: dict) -> Task:
    """Rebuilds a task from ``dataclasses.asdict`` that went through JSON."""
    problem = dict(fields["problem"])
    problem["concepts"] = tuple(problem["concepts"])
    problem["backbones"] = tuple(problem["backbones"])
    return Task(**{**fields, "problem": Problem(**problem)})


def flops(case: Case, batch: int, problem: Problem) -> int:
    """Floating-point operations of a case's matrix products and convolutions.

    A product of a vector and a matrix of n entries is 2 n operations. A gradient takes
    twice those of the forward pass; a step passes both halves of its pairs. The encoder
    is not differentiated.
    """
    latent, image = 2 * problem.flow_products, 2 * problem.encoder_products
    if case == "update":
        return 0
    if case in BACKBONES:
        share = (problem.photo_size / 224) ** 2
        return round(batch * 2 * BACKBONES[case] * share)
    if case == "encode":
        return batch * image
    if case in STEPS:
        encoded = 2 * image if case == "pair_step_encoders" else 0
        return batch * (2 * 3 * latent + encoded)
    return batch * latent


def check(options: BenchmarkOptions) -> None:
    """Raises ValueError for settings that nothing can be measured with."""
    if not options.batches or min(options.batches) < 1:
        raise ValueError(
            f"--batches are numbers >= 1, at least one; got {list(options.batches)}"
        )
    if not options.cases:
        raise ValueError(f"--cases must name some of {', '.join(ALL_CASES)}")
    if options.repetitions < 1 or options.seconds <= 0:
        raise ValueError(
            "--repetitions must be at least 1 and --seconds positive; got "
            f"{options.repetitions} and {options.seconds}"
        )
    if options.out is not None and not options.out.absolute().parent.is_dir():
        raise ValueError(f"--out: there is no folder {options.out.absolute().parent}")
    if options.out is not None and options.out.is_dir():
        raise ValueError(f"--out is a file; {options.out} is a folder")
