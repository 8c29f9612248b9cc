"""What several tests share: tiny flows, perturbed parameters, the shared data."""

import contextlib
import gc
import os
import tempfile
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # PyTorch's idle threads spin
# every small program runs a few times: XLA's optimisations take longer than they save
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# the older code generator compiles in three fifths of the time
QUICK_COMPILER = "xla_cpu_disable_new_fusion_emitters=true"
os.environ.setdefault("XLA_FLAGS", f"--xla_backend_extra_options={QUICK_COMPILER}")
# a sixth of the time went into records of where each operation stands, and garbage
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")
os.environ.setdefault("JAX_TRACEBACK_FILTERING", "off")
gc.set_threshold(100_000, 50, 100)
# without it a run starts over, and imports everything twice
os.environ.setdefault("GLIBC_TUNABLES", "")
# many tests, and the processes that they start, compile the same programs
_COMPILED = tempfile.TemporaryDirectory(prefix="iin_jax_tests_")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", _COMPILED.name)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import jax
import jax.numpy as jnp
import numpy as np
import pytest

jax.config.update("jax_num_cpu_devices", 2)  # chex's pmap variants need two

import iin_jax
from iin_jax.networks import Autoencoder, AutoencoderNetwork

ROOT = Path(__file__).parent.parent


def perturbed(variables, scale: float = 0.3, seed: int = 0):
    """Adds noise to every parameter: fresh layers are near identity."""
    leaves, structure = jax.tree.flatten(variables["params"])
    rng = np.random.default_rng(seed)
    noisy = [
        leaf + scale * rng.standard_normal(leaf.shape).astype(leaf.dtype)
        for leaf in leaves
    ]
    return {**variables, "params": jax.tree.unflatten(structure, noisy)}


@contextlib.contextmanager
def float64():
    """JAX knows float64 inside; a function for it has another name in every version."""
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", False)


def normal(shape, seed: int = 0):
    """Standard normal float32 array."""
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.standard_normal(shape), jnp.float32)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and reference values; tests skip without it."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("no ../shared folder with reference data")
    return folder


@pytest.fixture(scope="session")
def autoencoder() -> AutoencoderNetwork:
    """A tiny untrained autoencoder, 8x8 colour images, N = 8."""
    module = Autoencoder(8, 8, 3, 2, 4)
    images = jnp.tanh(normal((64, 8, 8, 3)))
    variables = jax.jit(module.init)(jax.random.key(0), images, normal((64, 8), 1))
    return AutoencoderNetwork(module, perturbed(variables, 0.05))


@pytest.fixture(scope="session")
def interpreter(autoencoder) -> iin_jax.Interpreter:
    """A perturbed flow on the tiny autoencoder."""
    flow = iin_jax.InterpretationFlow(8, 2, 16, 1)
    variables = perturbed(flow.init(jax.random.key(0), normal((64, 8))), 0.1)
    layout = iin_jax.FactorLayout({"digit": 3, "color": 2, "residual": 3})
    return iin_jax.Interpreter(flow, variables, layout, autoencoder)


@pytest.fixture(scope="session")
def images():
    """Eight random images for the tiny autoencoder."""
    return jnp.tanh(normal((8, 8, 8, 3), 5))
