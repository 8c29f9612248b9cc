"""The figures of a benchmark as Markdown."""

from collections.abc import Iterable
from typing import Any

from experiments.benchmark.cases import STEPS

NAMES: dict[str, str] = {
    "jax": "JAX",
    "torch_eager": "torch eager",
    "torch_compile": "torch.compile",
}


def markdown(results: dict[str, Any]) -> str:
    """Everything that one wants to see first; the rest is in the JSON file."""
    parts = [_head(results), _times(results), _sides(results), _where(results)]
    return "\n\n".join(part for part in parts if part)


def _head(results: dict[str, Any]) -> str:
    options, sides = results["options"], results["sides"]
    versions = {k: v for side in sides.values() for k, v in side["versions"].items()}
    described = ", ".join(f"{name} {version}" for name, version in versions.items())
    proof = "; ".join(
        f"{NAMES[side]}: loss {found['loss']:.1e}, gradients {found['gradients']:.1e}"
        for side, found in results["equality"].items()
    )
    return (
        f"{described}; {sides['jax']['device']}, {results['cores']} cores; products in "
        f"{options['precision']} precision, PyTorch's Adam: {options['adam']}.\n"
        f"Largest errors against JAX, relative to max(1, |value|): {proof}.\n"
        "Milliseconds per call: median [least - most] of "
        f"{options['repetitions']} measurements in turns."
    )


def _times(results: dict[str, Any]) -> str:
    sides = list(results["sides"])
    others = [side for side in sides if side != "jax"]
    head = ["case", "batch", *(f"{NAMES[side]}, ms" for side in sides)]
    head += [f"{NAMES[side]} / JAX" for side in others]
    rows = []
    for found in _by_case(results):
        ours = found["jax"]
        row = [ours["case"], _batch(ours), *(_spread(found[side]) for side in sides)]
        for side in others:
            ratio = found[side]["median_seconds"] / ours["median_seconds"]
            row.append(f"{ratio:.2f}")
        rows.append(row)
    return _table(head, rows)


def _sides(results: dict[str, Any]) -> str:
    head = ["side", "compile, s", "memory at start, MB", "at its peak, MB"]
    head += ["peak of a matrix product, GFLOP/s", "threads"]
    rows = []
    for side, found in results["sides"].items():
        own = [row for row in results["measurements"] if row["side"] == side]
        threads = sorted({row["threads"] for row in own})
        rows.append(
            [
                NAMES[side],
                f"{found['compile_seconds']:.1f}",
                f"{found['memory_at_start_bytes'] / 1e6:.0f}",
                f"{found['peak_memory_bytes'] / 1e6:.0f}",
                f"{found['matmul_flops'] / 1e9:.0f}",
                " or ".join(map(str, threads)),
            ]
        )
    return _table(head, rows)


def _where(results: dict[str, Any]) -> str:
    """Each step as products at the measured peak, the optimiser, and the rest."""
    updates = {
        row["side"]: row["median_seconds"]
        for row in results["measurements"]
        if row["case"] == "update"
    }
    head = ["where the time goes", "batch", "side", "products at peak, ms"]
    head += ["optimiser, ms", "rest, ms", "share of peak"]
    rows = []
    for row in results["measurements"]:
        if row["case"] == "update":
            continue
        total = row["median_seconds"]
        products = row["flops"] / results["sides"][row["side"]]["matmul_flops"]
        update = updates.get(row["side"]) if row["case"] in STEPS else 0.0
        rest = None if update is None else total - products - update
        shown = [_ms(products), _ms(update), _ms(rest), f"{products / total:.0%}"]
        rows.append([row["case"], _batch(row), NAMES[row["side"]], *shown])
    return _table(head, rows) if rows else ""


def _by_case(results: dict[str, Any]) -> Iterable[dict[str, dict[str, Any]]]:
    found: dict[tuple[str, int], dict[str, dict[str, Any]]] = {}
    for row in results["measurements"]:
        found.setdefault((row["case"], row["batch"]), {})[row["side"]] = row
    order = list(dict.fromkeys(case for case, _ in found))
    keys = sorted(found, key=lambda key: (order.index(key[0]), key[1]))
    return [found[key] for key in keys]


def _batch(row: dict[str, Any]) -> str:
    return "-" if row["case"] == "update" else str(row["batch"])


def _spread(row: dict[str, Any]) -> str:
    least, most = min(row["seconds"]), max(row["seconds"])
    return f"{_ms(row['median_seconds'])} [{_ms(least)} - {_ms(most)}]"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:#.3g}".rstrip(".")


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
