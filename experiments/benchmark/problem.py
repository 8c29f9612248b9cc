"""Weights and data of a benchmark, written once as files that both sides read."""

import functools
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark.arrays import write_arrays
from experiments.benchmark.cases import PROOF_BATCH, Problem, Task
from iin_jax.concepts import pairs_from_labels
from iin_jax.convert import save_published_flow
from iin_jax.factors import FactorLayout
from iin_jax.flows import InterpretationFlow
from iin_jax.networks import ARCHITECTURES
from iin_jax.networks.trained.autoencoder import Autoencoder
from iin_jax.types import Array, Tree
from iin_jax.weights import load_tree, save_tree
from iin_jax.weights.torch_files import load_torch_file

COLORS = 64
MIN_PAIRS = 4096
INIT_LATENTS = 1024  # latents that initialise the flow's ActNorms
CANDIDATES = 2048  # pairs among which the proof chooses
CHUNKS = 16  # parts in which the candidates are processed


def flow_of(problem: Problem, precision: str = "highest") -> InterpretationFlow:
    """The flow that is timed."""
    sizes = (problem.dim, problem.num_blocks, problem.hidden_dim, problem.hidden_depth)
    return InterpretationFlow(*sizes, precision=precision)


def layout_of(problem: Problem) -> FactorLayout:
    """Names and sizes of the factors that pairs may share."""
    return FactorLayout(problem.factor_sizes)


def autoencoder_of(problem: Problem) -> Autoencoder:
    """The autoencoder whose encoder is timed."""
    return Autoencoder(
        problem.dim,
        problem.image_size,
        problem.channels,
        problem.num_down,
        problem.base,
    )


def write(task: Task, batches: tuple[int, ...]) -> None:
    """Writes everything that the sides read into the task's folder.

    ``flow.safetensors`` and ``autoencoder.safetensors`` (its encoder) hold our
    variables, ``flow.ckpt`` and ``encoder.safetensors`` the same ones as PyTorch takes
    them, ``published.safetensors`` the arrays of ``flow.ckpt``, ``data.safetensors``
    latents, labels, pairs, images and noise. Each pretrained network has random weights
    in a file of its name.

    Args:
      task: folder and sizes.
      batches: timed batch sizes; they bound the number of pairs and images.
    """
    folder, problem = Path(task.folder), task.problem
    data = _data(problem, max(*batches, PROOF_BATCH))
    flow, z = flow_of(problem), data["mean"][:INIT_LATENTS]
    variables = _perturbed(flow.init(jax.random.key(0), z), seed=1)
    proof = _proof_pairs(flow, variables, data)
    write_arrays(folder / "data.safetensors", {**data, **proof})
    save_tree(folder / "flow.safetensors", variables)
    save_published_flow(folder / "flow.ckpt", flow, variables)
    state = load_torch_file(folder / "flow.ckpt")["model"]
    write_arrays(folder / "published.safetensors", state)
    module, images = autoencoder_of(problem), data["images"][:64]
    init = jax.jit(functools.partial(module.init, method="posterior"))
    variables = init(jax.random.key(2), images)
    variables = _perturbed(variables, seed=3)
    save_tree(folder / "autoencoder.safetensors", variables)
    state = encoder_state(variables["params"]["encoder"])
    write_arrays(folder / "encoder.safetensors", state)
    for seed, name in enumerate(problem.backbones):
        save_tree(folder / f"{name}.safetensors", _random_backbone(name, seed))


def read_variables(folder: str | Path, name: str) -> Tree:
    """Variables of ``"flow"``, ``"autoencoder"`` or a pretrained network."""
    return load_tree(Path(folder) / f"{name}.safetensors")


def encoder_state(params: Tree) -> dict[str, np.ndarray]:
    """An ``Encoder``'s parameters under the published names, convolutions as OIHW."""

    def kernel(name: str) -> np.ndarray:
        return np.asarray(params[name]["kernel"]).transpose(3, 2, 0, 1)

    last = sum(name.startswith("ActNorm_") for name in params)
    state = {
        "dense_encode.sub_layers.0.weight": kernel(f"Conv_{last}"),
        "dense_encode.sub_layers.0.bias": np.asarray(params[f"Conv_{last}"]["bias"]),
    }
    for layer in range(last):
        name, norm = f"feature_layers.{layer}.sub_layers", params[f"ActNorm_{layer}"]
        scale = np.exp(np.asarray(norm["log_scale"]))
        state[f"{name}.0.weight"] = kernel(f"Conv_{layer}")
        state[f"{name}.1.loc"] = np.asarray(norm["loc"]).reshape(1, -1, 1, 1)
        state[f"{name}.1.scale"] = scale.reshape(1, -1, 1, 1)
        state[f"{name}.1.initialized"] = np.array(1, np.uint8)
    return state


def _data(problem: Problem, batch: int) -> dict[str, np.ndarray]:
    """Cached latents, their pairs, and images for batches of up to ``batch``."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, np.float32)

    entries = np.arange(problem.entries)
    digit = rng.permutation(entries % 10)
    color = rng.permutation(entries % COLORS)
    mixing = np.eye(problem.dim) + 0.3 * normal(problem.dim, problem.dim)
    mean = normal(problem.entries, problem.dim) @ mixing.astype(np.float32)
    labels = {"digit": digit, "color": color}
    pairs = pairs_from_labels(labels, max(batch, MIN_PAIRS))
    shape = (problem.image_size, problem.image_size, problem.channels)
    return {
        "mean": mean,
        "log_var": -3.0 + normal(*mean.shape),
        **labels,
        "index_a": pairs.a.astype(np.int64),
        "index_b": pairs.b.astype(np.int64),
        "shared": pairs.shared,
        "images": np.tanh(normal(2 * batch, *shape)),
        **_photos(problem, batch, rng),
        "z_tilde": normal(batch, problem.dim),
    }


def _photos(
    problem: Problem, batch: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Images of the pretrained networks, (n, H, W, 3) in [-1, 1], if any is timed."""
    if not problem.backbones:
        return {}
    shape = (batch, problem.photo_size, problem.photo_size, 3)
    return {"photos": rng.uniform(-1, 1, shape).astype(np.float32)}


def _proof_pairs(
    flow: InterpretationFlow, variables: Tree, data: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Pairs and noise far from every kink of a LeakyReLU.

    Where an activation is zero to rounding, two right programs may disagree about its
    sign, and then their gradients differ by a jump.

    Returns:
      ``proof_rows`` (P,), indices of pairs, and ``proof_noise`` (2P, N), first all a.
    """

    @jax.jit
    def margin(z: Array) -> Array:
        hidden = flow.apply(
            variables,
            z,
            capture_intermediates=lambda module, _: (
                isinstance(module, nn.Dense) and module.features == flow.hidden_dim
            ),
            mutable="intermediates",
        )[1]
        return jnp.stack([jnp.abs(x).min(1) for x in jax.tree.leaves(hidden)]).min(0)

    rng = np.random.default_rng(4)
    noise = rng.standard_normal((2, CANDIDATES, flow.dim), np.float32)
    margins = []
    for half, index in zip(noise, (data["index_a"], data["index_b"]), strict=True):
        rows = index[:CANDIDATES]
        z = data["mean"][rows] + np.exp(0.5 * data["log_var"][rows]) * half
        margins.append(np.concatenate([margin(x) for x in np.split(z, CHUNKS)]))
    best = np.argsort(np.minimum(*margins))[-PROOF_BATCH:]
    return {
        "proof_rows": best,
        "proof_noise": noise[:, best].reshape(-1, flow.dim),
    }


def _random_backbone(name: str, seed: int) -> Tree:
    """Random weights and statistics of a pretrained architecture."""
    module = ARCHITECTURES[name].module
    image = jnp.zeros((1, 64, 64, 3))
    key = jax.random.key(seed, impl="rbg")
    variables = _perturbed(jax.jit(module.init)(key, image), seed)
    rng = np.random.default_rng(seed)
    stats = jax.tree.map(
        lambda x: x + rng.uniform(0.0, 0.5, x.shape).astype(np.float32),
        variables.get("batch_stats", {}),
    )
    return {**variables, "batch_stats": stats} if stats else variables


def _perturbed(variables: Tree, seed: int) -> Tree:
    """Adds noise to every parameter: fresh ones hide mistakes."""
    leaves, structure = jax.tree.flatten(variables["params"])
    rng = np.random.default_rng(seed)
    noisy = [
        leaf + (0.2 * leaf.std() + 0.01) * rng.standard_normal(leaf.shape, np.float32)
        for leaf in map(np.asarray, leaves)
    ]
    return {**variables, "params": jax.tree.unflatten(structure, noisy)}
