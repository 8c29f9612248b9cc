"""Packaging of iin_jax; dependencies are those of requirements.txt."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

setup(
    name="iin_jax",
    version="0.1.0",
    description="Invertible interpretation networks for frozen representations, in JAX",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    packages=[*find_packages(include=["iin_jax*"]), "iin_jax.runs.shipped"],
    package_dir={"iin_jax.runs.shipped": "experiments/configs"},
    package_data={"iin_jax.report": ["templates/*.html"]},
    python_requires=">=3.11",
    install_requires=(HERE / "requirements.txt").read_text(encoding="utf-8").split(),
    extras_require={
        "bridge": ["torch>=2.6", "torchax>=0.0.13"],
        "cuda": ["jax[cuda12]"],
        "prepare": ["importlib_resources>=6.0", "tensorflow>=2.16"],
        "tpu": ["jax[tpu]"],
        "torch": ["torch>=2.6"],
        "test": [
            "equinox>=0.13.2",
            "importlib_resources>=6.0",
            "jupytext>=1.16",
            "nbmake>=1.5",
            "pyright[nodejs]>=1.1.390",
            "pytest>=8.0",
            "pytest-xdist>=3.7",
            "ruff>=0.9",
        ],
    },
)
