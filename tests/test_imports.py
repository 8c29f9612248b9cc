"""Imports point down only; torch is named in no other file than it may be."""

import ast
import functools
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import iin_jax
from tests.conftest import ROOT

# every part may import parts of lower rank, and its own
RANKS = {
    "types": 0,
    "files": 0,
    "command_line": 0,
    "arrays": 1,
    "linen": 2,
    "outputs": 2,
    "batch": 2,
    "factors": 2,
    "directions": 3,
    "regions": 2,
    "data": 2,
    "losses": 3,
    "adversarial": 3,
    "flows": 3,
    "weights": 3,
    "networks": 4,
    "latents": 5,
    "concepts": 5,
    "training": 6,
    "edits": 6,
    "interpreter": 7,
    "prepared": 7,
    "inputs": 8,
    "held_out_swaps": 8,
    "invariances": 8,
    "convert": 8,
    "fit": 9,
    "analysis": 9,
    "report": 10,
    "runs": 11,
    "experiments": 12,
}
TORCH_FILES = {
    "iin_jax/weights/torch_files.py",
    "iin_jax/networks/adapters/pytorch.py",
    "experiments/benchmark/bridges.py",  # the other side of a comparison
    "experiments/benchmark/modules.py",
    "experiments/benchmark/torch_model.py",
    "experiments/benchmark/torch_side.py",
}
BRIDGE_FILE = "iin_jax/networks/adapters/bridge.py"  # it imports torchax by name
SOURCES = [
    *sorted((ROOT / "iin_jax").rglob("*.py")),
    *(ROOT / "experiments").rglob("*.py"),
]


def part_of(module: str) -> str | None:
    first, *rest = module.split(".")
    if first == "experiments":
        return "experiments"
    return rest[0] if first == "iin_jax" and rest else None


@functools.cache
def imported(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    own = part_of(name)
    if name == "iin_jax.__init__":
        return
    modules = imported(path)
    if own != "experiments":
        from_root = {f"iin_jax.{name}" for name in iin_jax.__all__}
        parts = {f"iin_jax.{part}" for part in RANKS}
        assert not modules & (from_root - parts), modules
    for module in modules:
        other = part_of(module)
        if other not in RANKS or own == other:
            continue
        assert RANKS[other] < RANKS[own], f"{name} imports {module}"
    if own == "losses":
        assert not any(part_of(module) == "flows" for module in imported(path))
    if own == "flows":
        assert not any(part_of(module) == "factors" for module in imported(path))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_torch_and_no_tensorflow_at_run_time(path):
    if str(path.relative_to(ROOT)) in TORCH_FILES:
        return
    roots = {module.split(".")[0] for module in imported(path)}
    assert not roots & {"torch", "torchax", "torchvision", "timm", "tensorflow"}


def test_torchax_is_named_in_one_file_and_imported_late():
    named = [path for path in SOURCES if '"torchax.' in path.read_text()]
    assert [str(path.relative_to(ROOT)) for path in named] == [BRIDGE_FILE]


def test_imports_make_no_circle_and_nothing_run_is_imported():
    paths = {}
    for path in SOURCES:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        paths[name.removesuffix(".__init__")] = path
    graph = {
        name: {
            module if module in paths else module.rpartition(".")[0]
            for module in imported(path)
        }
        for name, path in paths.items()
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, which names a circle
    run = {name for name, path in paths.items() if "__main__" in path.read_text()}
    assert "experiments.benchmark.__main__" in run
    assert not run & set().union(*graph.values())


def test_every_part_has_a_rank():
    parts = {path.stem for path in (ROOT / "iin_jax").glob("*.py")} - {"__init__"}
    parts |= {path.parent.name for path in (ROOT / "iin_jax").glob("*/__init__.py")}
    assert parts <= set(RANKS)


LATE = (
    "torch",
    "torchax",
    "tensorflow",
    "sklearn",
    "matplotlib",
    "pandas",
    "scipy.stats",
    "skimage",
)


def test_public_names_exist_and_importing_waits_for_nothing_heavy():
    for name in iin_jax.__all__:
        assert getattr(iin_jax, name) is not None
    code = f"import sys, iin_jax.runs.command; print({{*{LATE}}} & set(sys.modules))"
    finished = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.strip() == "set()"
